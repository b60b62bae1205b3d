// Multi-object trackers: detections of one frame in, identities out. Specification: yolokkn/tracking/reference.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "yolokkn/box_models.h"
#include "yolokkn/mask_shape.h"
#include "yolokkn/views.h"

namespace yolokkn {

// Strict: a track only matches detections of its class. Agnostic: classes are ignored; a track has that of its last
// detection. Vote: classes are ignored; a track has the class that its detections' scores add up to most for.
enum class ClassPolicy { kStrict, kAgnostic, kVote };

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
  double new_track_thresh = 0.5;
  double track_buffer = 30.0;  // nominal frames
  double match_thresh = 0.8;
  bool fuse_score = true;
};

struct BotSortSettings : ByteTrackSettings {
  double proximity_thresh = 0.5;
  double appearance_thresh = 0.25;
};

struct OcSortSettings {
  double max_age = 30.0;  // nominal frames
  int64_t min_hits = 3;
  double iou_threshold = 0.3;
  double score_threshold = 0.6;
  double delta_t = 3.0;  // nominal frames
  double inertia = 0.2;
};

struct CBiouSettings {
  double track_high_thresh = 0.6;
  double new_track_thresh = 0.7;
  double track_buffer = 30.0;  // nominal frames
  double match_thresh = 0.7;
  double buffer_small = 0.3;
  double buffer_large = 0.5;
};

struct KknSettings : ByteTrackSettings {
  double second_thresh = 0.5;
  double recover_thresh = 0.7;
  double recover_buffer = 0.2;
  double growth = 2.5;
  double growth_floor = 0.05;
  double growth_limit = 0.5;
  double age_penalty = 0.02;
  double start_overlap = 0.6;
  double duplicate_overlap = 0.9;
  double sure_thresh = 0.8;
  double mask_weight = 0.5;
  SizeNoise noise = {0.04, 1.0 / 160.0, 0.06, 0.12};
};

// What every tracker is told.
struct TrackerTerms {
  double frame_rate = 30.0;  // nominal frames a second
  ClassPolicy policy = ClassPolicy::kStrict;
};

// Detections of one frame, N of them.
struct FrameView {
  MatrixView<const float> boxes;  // (N, 4) xyxy
  const float* scores = nullptr;
  const int32_t* class_ids = nullptr;
  std::optional<double> timestamp_s = std::nullopt;   // without one, a nominal frame has passed
  std::optional<CameraMotion> camera = std::nullopt;  // since the frame before
  MatrixView<const float> embeddings = {};            // (N, D) or nothing
  std::span<const MaskShape> shapes = {};             // (N,) or nothing
};

// Where the results go; class_ids may be empty.
struct FrameResult {
  std::span<int64_t> track_ids;  // (N,) -1 where a detection belongs to no confirmed track
  std::span<int32_t> class_ids;  // (N,) of the track, where the detection belongs to one
};

struct LiveTrack {
  float x1, y1, x2, y2;  // predicted or corrected, at the time that was asked for
  int64_t track_id;      // -1 while tentative
  float score;           // of its last detection
  int32_t class_id;
  TrackState state;
  double age;  // nominal frames since it was last seen
};

// A tracker owns its ids, from 1. Calls from several threads take turns. An update allocates nothing once its buffers
// have grown, but for appearance vectors. Rows that are not finite or have no area are ignored.
class Tracker {
 public:
  virtual ~Tracker() = default;
  Tracker(const Tracker&) = delete;
  Tracker& operator=(const Tracker&) = delete;

  void update(const FrameView& frame, const FrameResult& result);
  // Forgets all tracks; `keeps_ids`: no id is given a second time.
  void reset(bool keeps_ids = false);
  // All that the next updates depend on; `load` takes it back (ArchiveError where it is damaged: nothing has changed).
  std::string save();
  void load(std::span<const char> state);
  std::vector<LiveTrack> tracks() const;
  // The live tracks where an update at this time would expect them; nothing is changed. Without a time: one nominal
  // frame after the last update.
  std::vector<LiveTrack> predict(std::optional<double> timestamp_s) const;

 protected:
  Tracker() = default;

 private:
  virtual void do_update(const FrameView& frame, const FrameResult& result) = 0;
  virtual void do_reset(bool keeps_ids) = 0;
  virtual std::string do_save() = 0;
  virtual void do_load(std::span<const char> state) = 0;
  virtual std::vector<LiveTrack> do_tracks() const = 0;
  virtual std::vector<LiveTrack> do_predict(std::optional<double> timestamp_s) const = 0;

  mutable std::mutex mutex_;
};

std::unique_ptr<Tracker> make_sort(const SortSettings& settings, const TrackerTerms& terms);
std::unique_ptr<Tracker> make_bytetrack(const ByteTrackSettings& settings, const TrackerTerms& terms);
std::unique_ptr<Tracker> make_botsort(const BotSortSettings& settings, const TrackerTerms& terms);
std::unique_ptr<Tracker> make_ocsort(const OcSortSettings& settings, const TrackerTerms& terms);
std::unique_ptr<Tracker> make_cbiou(const CBiouSettings& settings, const TrackerTerms& terms);
std::unique_ptr<Tracker> make_kkn(const KknSettings& settings, const TrackerTerms& terms);

}  // namespace yolokkn
