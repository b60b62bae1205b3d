// Multi-object trackers: detections of one frame in, identities out. Specification: yolokkn/tracking/reference.py.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "yolokkn/views.h"

namespace yolokkn {

// Strict: a track only matches detections of its class. Agnostic: classes are ignored; a track has that of its last
// detection.
enum class ClassPolicy { kStrict, kAgnostic };

enum class TrackState : uint8_t { kTentative = 0, kTracked = 1, kLost = 2 };

struct SortSettings {
  double max_age = 30.0;  // nominal frames
  int64_t min_hits = 3;
  double iou_threshold = 0.3;
  double score_threshold = 0.25;
};

struct ByteTrackSettings {
  double track_high_thresh = 0.25;
  double track_low_thresh = 0.1;
  double new_track_thresh = 0.25;
  double track_buffer = 30.0;  // nominal frames
  double match_thresh = 0.8;
  bool fuse_score = true;
};

// Detections of one frame, N of them.
struct DetectionsView {
  MatrixView<const float> boxes;  // (N, 4) xyxy
  const float* scores = nullptr;
  const int32_t* class_ids = nullptr;
};

struct LiveTrack {
  float x1, y1, x2, y2;  // predicted or corrected, at the time of the last update
  int64_t track_id;      // -1 while tentative
  float score;           // of its last detection
  int32_t class_id;
  TrackState state;
  double age;  // nominal frames since it was last seen
};

// A tracker owns its ids, from 1. Calls from several threads take turns. An update allocates nothing once its buffers
// have grown. Rows that are not finite or have no area are ignored.
class Tracker {
 public:
  virtual ~Tracker() = default;
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  // Writes the identity of each detection, -1 where it belongs to no confirmed track. Without a timestamp, one nominal
  // frame has passed.
  void update(const DetectionsView& detections, std::optional<double> timestamp_s, std::span<int64_t> track_ids);
  void reset();
  std::vector<LiveTrack> tracks() const;

 protected:
  Tracker() = default;

 private:
  virtual void do_update(const DetectionsView& detections, std::optional<double> timestamp_s,
                         std::span<int64_t> track_ids) = 0;
  virtual void do_reset() = 0;
  virtual std::vector<LiveTrack> do_tracks() const = 0;

  mutable std::mutex mutex_;
};

std::unique_ptr<Tracker> make_sort(const SortSettings& settings, double frame_rate, ClassPolicy policy);
std::unique_ptr<Tracker> make_bytetrack(const ByteTrackSettings& settings, double frame_rate, ClassPolicy policy);

}  // namespace yolokkn
