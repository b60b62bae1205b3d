// What the trackers share: the tracks, the clock, the detections of the frame, and matching the ones with the others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "clock.h"
#include "overlaps.h"
#include "yolokkn/assignment.h"
#include "yolokkn/kalman.h"
#include "yolokkn/trackers.h"

namespace yolokkn {

struct Track {
  KalmanState filter;
  CornerBox box;  // the state's box
  double born;    // nominal frames
  double last_seen;
  int64_t hits;  // in a row
  int64_t track_id;
  float score;
  int32_t class_id;
  int32_t row;  // detection of this frame, -1 where it was not seen
  TrackState state;
};

// Costs are multiples of 2^-40, so that sums of costs are exact and equal sums are equal: ties do not hang on rounding.
inline double on_cost_grid(double cost) noexcept {
  constexpr double kGrid = 1.5 * 4096.0;
  return (cost + kGrid) - kGrid;
}

float clamped_to_float(double value) noexcept;

template <typename Motion>
class TrackTable {
 public:
  TrackTable(double frame_rate, ClassPolicy policy, double max_age)
      : clock_(frame_rate), policy_(policy), max_age_(max_age) {}

  double now() const noexcept { return clock_.now(); }
  bool expired(const Track& track) const noexcept {
    return now() - track.last_seen > max_age_ + FrameClock::kAgeTolerance;
  }
  int64_t updates() const noexcept { return updates_; }
  std::vector<Track>& tracks() noexcept { return tracks_; }
  double score(int32_t row) const noexcept { return static_cast<double>(detections_.scores[row]); }
  bool row_free(int32_t row) const noexcept { return !taken_[static_cast<size_t>(row)]; }
  bool same_class(const Track& a, const Track& b) const noexcept {
    return policy_ == ClassPolicy::kAgnostic || a.class_id == b.class_id;
  }

  // Moves every track to the time of the new frame; those that were lost before and are too old by now are gone.
  void begin(const DetectionsView& detections, std::optional<double> timestamp_s) {
    detections_ = detections;
    taken_.assign(static_cast<size_t>(detections.boxes.rows), 0);
    ++updates_;
    const double step = clock_.advance(timestamp_s);
    keep_if([&](const Track& track) { return track.row >= 0 || !expired(track); });
    for (Track& track : tracks_) {
      Motion::predict(track.filter, step, track.state == TrackState::kLost);
      track.box = Motion::box(track.filter);
      track.row = -1;
    }
  }

  // A row takes part only if it is finite and has an area.
  bool usable(int32_t row) const noexcept {
    constexpr float kMax = std::numeric_limits<float>::max();
    const float* b = detections_.boxes.row(row);
    const auto finite = [](float value) { return value >= -kMax && value <= kMax; };
    return finite(b[0]) && finite(b[1]) && finite(b[2]) && finite(b[3]) && finite(detections_.scores[row]) &&
           b[2] > b[0] && b[3] > b[1];
  }

  // Matches tracks (indices) with detections (rows) and corrects the matched ones; only overlapping boxes can match.
  void match(std::span<const int32_t> tracks, std::span<const int32_t> rows, double max_cost, bool fuse_score) {
    if (tracks.empty() || rows.empty()) return;
    max_cost = on_cost_grid(max_cost);
    gather(rows, fuse_score);
    finder_.build(boxes_);
    graph_.clear(static_cast<int32_t>(rows.size()));
    for (const int32_t index : tracks) {
      const Track& track = tracks_[static_cast<size_t>(index)];
      finder_.query(track.box, 1.0 - max_cost, [&](int32_t column, double iou) {
        const double cost = on_cost_grid(1.0 - iou * factors_[static_cast<size_t>(column)]);
        if (!(cost <= max_cost && iou > 0.0)) return;
        const int32_t row = rows[static_cast<size_t>(column)];
        if (policy_ == ClassPolicy::kStrict && detections_.class_ids[row] != track.class_id) return;
        graph_.edges.push_back({column, cost});
      });
      graph_.end_row();
    }
    const auto column_of = solver_.solve(graph_, max_cost);
    for (size_t i = 0; i < tracks.size(); ++i) {
      if (column_of[i] < 0) continue;
      correct(tracks_[static_cast<size_t>(tracks[i])], rows[static_cast<size_t>(column_of[i])]);
    }
  }

  void start(int32_t row) {
    const KalmanState filter = Motion::start(Motion::measure(box_of(row)));
    taken_[static_cast<size_t>(row)] = 1;
    tracks_.push_back({filter, Motion::box(filter), now(), now(), 1, -1, detections_.scores[row],
                       detections_.class_ids[row], row, TrackState::kTentative});
  }

  void confirm(Track& track) noexcept {
    track.track_id = ++last_id_;
    track.state = TrackState::kTracked;
  }

  template <typename Keep>
  void keep_if(Keep&& keep) {
    std::erase_if(tracks_, [&](const Track& track) { return !keep(track); });
  }

  // Calls found(i, j, iou) for every pair of a track of `queries` and one of `others` (indices) of about this IoU or
  // more.
  template <typename Found>
  void for_overlaps(std::span<const int32_t> queries, std::span<const int32_t> others, double least_iou,
                    Found&& found) {
    boxes_.clear();
    for (const int32_t other : others) boxes_.push_back(tracks_[static_cast<size_t>(other)].box);
    finder_.build(boxes_);
    for (const int32_t query : queries) {
      finder_.query(tracks_[static_cast<size_t>(query)].box, least_iou,
                    [&](int32_t index, double iou) { found(query, others[static_cast<size_t>(index)], iou); });
    }
  }

  void write_ids(std::span<int64_t> track_ids) const noexcept {
    std::fill(track_ids.begin(), track_ids.end(), int64_t{-1});
    for (const Track& track : tracks_) {
      if (track.row >= 0) track_ids[static_cast<size_t>(track.row)] = track.track_id;
    }
  }

  std::vector<LiveTrack> live() const {
    std::vector<LiveTrack> out;
    out.reserve(tracks_.size());
    for (const Track& t : tracks_) {
      out.push_back({clamped_to_float(t.box.x1), clamped_to_float(t.box.y1), clamped_to_float(t.box.x2),
                     clamped_to_float(t.box.y2), t.track_id, t.score, t.class_id, t.state, now() - t.last_seen});
    }
    return out;
  }

 private:
  CornerBox box_of(int32_t row) const noexcept {
    const float* b = detections_.boxes.row(row);
    return {static_cast<double>(b[0]), static_cast<double>(b[1]), static_cast<double>(b[2]), static_cast<double>(b[3])};
  }

  void gather(std::span<const int32_t> rows, bool fuse_score) {
    boxes_.clear();
    factors_.clear();
    for (const int32_t row : rows) {
      boxes_.push_back(box_of(row));
      factors_.push_back(fuse_score ? std::clamp(score(row), 0.0, 1.0) : 1.0);
    }
  }

  void correct(Track& track, int32_t row) noexcept {
    Motion::correct(track.filter, Motion::measure(box_of(row)));
    track.box = Motion::box(track.filter);
    track.class_id = detections_.class_ids[row];
    track.score = detections_.scores[row];
    track.last_seen = now();
    track.row = row;
    ++track.hits;
    taken_[static_cast<size_t>(row)] = 1;
    if (track.state == TrackState::kLost) track.state = TrackState::kTracked;
  }

  std::vector<Track> tracks_;  // oldest first
  FrameClock clock_;
  ClassPolicy policy_;
  double max_age_;  // nominal frames
  int64_t updates_ = 0;
  int64_t last_id_ = 0;

  DetectionsView detections_;  // of this frame
  std::vector<uint8_t> taken_;
  std::vector<CornerBox> boxes_;
  std::vector<double> factors_;
  OverlapFinder finder_;
  CostGraph graph_;
  AssignmentSolver solver_;
};

}  // namespace yolokkn
