// What the trackers share: the tracks, the clock, the detections of the frame, and matching the ones with the others.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "clock.h"
#include "motions.h"
#include "overlaps.h"
#include "yolokkn/assignment.h"
#include "yolokkn/trackers.h"

namespace yolokkn {

// Which classes a track was seen as, and how surely; the least sure is forgotten where they are many.
class ClassVotes {
 public:
  static constexpr size_t kMost = 4;

  // Adds a vote and returns the class with the most: the earlier one where two have the same.
  int32_t add(int32_t class_id, float score) noexcept {
    const double weight = score > 0.0F ? static_cast<double>(score) : 0.0;
    size_t place = 0;
    while (place < count_ && class_ids_[place] != class_id) ++place;
    if (place == kMost) {
      place = static_cast<size_t>(std::min_element(weights_.begin(), weights_.end()) - weights_.begin());
      class_ids_[place] = class_id;
      weights_[place] = 0.0;
    } else if (place == count_) {
      class_ids_[count_++] = class_id;
      weights_[place] = 0.0;
    }
    weights_[place] += weight;
    const double* begin = weights_.data();
    return class_ids_[static_cast<size_t>(std::max_element(begin, begin + count_) - begin)];
  }

  template <typename Archive>
  friend void exchange(Archive& archive, ClassVotes& votes) {
    archive(votes.count_);
    if constexpr (Archive::kLoads) Archive::require(votes.count_ <= kMost, "a track has too many classes");
    for (size_t i = 0; i < kMost; ++i) archive(votes.class_ids_[i]), archive(votes.weights_[i]);
  }

 private:
  std::array<int32_t, kMost> class_ids_{};
  std::array<double, kMost> weights_{};
  uint32_t count_ = 0;
};

template <typename State>
struct Track {
  State motion;
  CornerBox box;  // the state's box
  double born;    // nominal frames
  double last_seen;
  int64_t hits;  // in a row
  int64_t track_id;
  float score;
  int32_t class_id;
  int32_t row;  // detection of this frame, -1 where it was not seen
  TrackState state;
  ClassVotes votes;  // of class_policy "vote"

  template <typename Archive>
  friend void exchange(Archive& archive, Track& t) {
    exchange(archive, t.motion);
    exchange(archive, t.box);
    archive(t.born), archive(t.last_seen), archive(t.hits), archive(t.track_id), archive(t.score), archive(t.class_id);
    auto seen = static_cast<uint8_t>(t.row >= 0);
    archive(seen), archive(t.state);
    exchange(archive, t.votes);
    if constexpr (Archive::kLoads) {
      Archive::require(t.state <= TrackState::kLost && seen <= 1, "a track's state is none");
      t.row = seen - 1;
    }
  }
};

// How far a track's box and the detections are grown before they are compared, as shares of their sides.
struct Growth {
  double x = 0.0, y = 0.0;
};

inline CornerBox grown(const CornerBox& box, const Growth& growth) noexcept {
  const double w = (box.x2 - box.x1) * growth.x;
  const double h = (box.y2 - box.y1) * growth.y;
  return {box.x1 - w, box.y1 - h, box.x2 + w, box.y2 + h};
}

inline double iou_of(const CornerBox& a, const CornerBox& b) noexcept {
  const double width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
  const double height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
  if (!(width > 0.0 && height > 0.0)) return 0.0;
  const double shared = width * height;
  return shared / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared);
}

// Costs are multiples of 2^-40, so that sums of costs are exact and equal sums are equal: ties do not hang on rounding.
inline double on_cost_grid(double cost) noexcept {
  constexpr double kGrid = 1.5 * 4096.0;
  return (cost + kGrid) - kGrid;
}

float clamped_to_float(double value) noexcept;

template <typename Motion>
class TrackTable {
 public:
  using Item = Track<typename Motion::State>;

  TrackTable(const TrackerTerms& terms, double max_age, const Motion& motion = {})
      : motion_(motion), clock_(terms.frame_rate), policy_(terms.policy), max_age_(max_age) {}

  // Forgets everything.
  void clear(bool keeps_ids) {
    tracks_.clear();
    clock_.restart();
    updates_ = 0;
    if (!keeps_ids) last_id_ = 0;
  }

  double now() const noexcept { return clock_.now(); }
  // How long a track has been missed before this frame, in nominal frames.
  double missed(const Item& track) const noexcept {
    return std::max(now() - track.last_seen - clock_.last_step(), 0.0);
  }
  bool expired(const Item& track) const noexcept {
    return now() - track.last_seen > max_age_ + FrameClock::kAgeTolerance;
  }
  int64_t updates() const noexcept { return updates_; }
  std::vector<Item>& tracks() noexcept { return tracks_; }
  double score(int32_t row) const noexcept { return static_cast<double>(frame_.scores[row]); }
  const FrameView& frame() const noexcept { return frame_; }
  bool row_free(int32_t row) const noexcept { return !taken_[static_cast<size_t>(row)]; }
  bool same_class(const Item& a, const Item& b) const noexcept {
    return policy_ != ClassPolicy::kStrict || a.class_id == b.class_id;
  }
  bool may_meet(const Item& track, int32_t row) const noexcept {
    return policy_ != ClassPolicy::kStrict || track.class_id == frame_.class_ids[row];
  }

  // Moves every track to the time of the new frame; those that were lost before and are too old by now are gone.
  void begin(const FrameView& frame) {
    frame_ = frame;
    taken_.assign(static_cast<size_t>(frame.boxes.rows), 0);
    ++updates_;
    const double step = clock_.advance(frame.timestamp_s);
    const bool camera_moved = frame.camera && frame.camera->is_sound();
    keep_if([&](const Item& track) { return track.row >= 0 || !expired(track); });
    for (Item& track : tracks_) {
      motion_.predict(track.motion, step, track.state == TrackState::kLost);
      if (camera_moved) motion_.move(track.motion, *frame.camera);
      track.box = motion_.box(track.motion);
      track.row = -1;
    }
  }

  // A row takes part only if it is finite and has an area.
  bool usable(int32_t row) const noexcept {
    constexpr float kMax = std::numeric_limits<float>::max();
    const float* b = frame_.boxes.row(row);
    const auto finite = [](float value) { return value >= -kMax && value <= kMax; };
    return finite(b[0]) && finite(b[1]) && finite(b[2]) && finite(b[3]) && finite(frame_.scores[row]) && b[2] > b[0] &&
           b[3] > b[1];
  }

  static constexpr double kNoPair = std::numeric_limits<double>::infinity();

  // Matches tracks (indices) with detections (rows) such that the costs of the pairs plus `max_cost` for each track
  // left alone are least, and corrects the matched ones. cost(track, row, iou) is asked for pairs that overlap with
  // about `least_iou` or more, where the classes may meet; kNoPair, or more than `max_cost`, is no pair. growth(track)
  // says how far both boxes of a pair are grown before their IoU is taken.
  template <typename Cost, typename Grow>
  void match(std::span<const int32_t> tracks, std::span<const int32_t> rows, double least_iou, double max_cost,
             Cost&& cost, Grow&& growth) {
    if (tracks.empty() || rows.empty()) return;
    max_cost = on_cost_grid(max_cost);
    gather(rows);
    finder_.build(boxes_);
    graph_.clear(static_cast<int32_t>(rows.size()));
    for (const int32_t index : tracks) {
      const Item& track = tracks_[static_cast<size_t>(index)];
      for_near(track, least_iou, growth(track), [&](int32_t column, double iou) {
        const int32_t row = rows[static_cast<size_t>(column)];
        if (!may_meet(track, row)) return;
        const double value = on_cost_grid(cost(track, row, iou));
        if (iou > 0.0 && value <= max_cost) graph_.edges.push_back({column, value});
      });
      graph_.end_row();
    }
    const auto column_of = solver_.solve(graph_, max_cost);
    for (size_t i = 0; i < tracks.size(); ++i) {
      if (column_of[i] < 0) continue;
      correct(tracks_[static_cast<size_t>(tracks[i])], rows[static_cast<size_t>(column_of[i])]);
    }
  }

  // The plain match of predicted boxes: 1 - IoU, or 1 - IoU * score.
  void match_boxes(std::span<const int32_t> tracks, std::span<const int32_t> rows, double max_cost, bool fuse_score) {
    const auto cost = [&](const Item&, int32_t row, double iou) { return 1.0 - (fuse_score ? iou * share(row) : iou); };
    match(tracks, rows, 1.0 - max_cost, max_cost, cost, [](const Item&) { return Growth{}; });
  }

  // A detection's score within 0 and 1.
  double share(int32_t row) const noexcept { return std::clamp(score(row), 0.0, 1.0); }

  CornerBox box_of(int32_t row) const noexcept {
    const float* b = frame_.boxes.row(row);
    return {static_cast<double>(b[0]), static_cast<double>(b[1]), static_cast<double>(b[2]), static_cast<double>(b[3])};
  }

  Seen seen(int32_t row) const noexcept {
    const auto columns = static_cast<size_t>(frame_.embeddings.cols);
    return {box_of(row), score(row), now(),
            columns == 0 ? std::span<const float>() : std::span<const float>(frame_.embeddings.row(row), columns),
            frame_.shapes.empty() ? nullptr : &frame_.shapes[static_cast<size_t>(row)]};
  }

  void start(int32_t row) {
    Item track{motion_.start(seen(row)), {}, now(), now(), 1, -1, frame_.scores[row], frame_.class_ids[row], row,
               TrackState::kTentative,   {}};
    track.box = motion_.box(track.motion);
    if (policy_ == ClassPolicy::kVote) track.votes.add(track.class_id, track.score);
    taken_[static_cast<size_t>(row)] = 1;
    tracks_.push_back(std::move(track));
  }

  void confirm(Item& track) noexcept {
    track.track_id = ++last_id_;
    track.state = TrackState::kTracked;
  }

  // Ends an update as SORT does: hits are counted in a row, `min_hits` of them confirm a track, and the tracks of the
  // first `min_hits` updates are confirmed at once.
  void confirm_by_hits(int64_t min_hits) noexcept {
    for (Item& track : tracks_) {
      if (track.row < 0) {
        track.hits = 0;
        if (track.state == TrackState::kTracked) track.state = TrackState::kLost;
      } else if (track.state == TrackState::kTentative && (track.hits >= min_hits || updates_ <= min_hits)) {
        confirm(track);
      }
    }
  }

  template <typename Keep>
  void keep_if(Keep&& keep) {
    std::erase_if(tracks_, [&](const Item& track) { return !keep(track); });
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

  // Calls covered(i) for the i-th row where the detection of one of these tracks, which may meet it, overlaps it with
  // more than this IoU.
  template <typename Covered>
  void for_covered(std::span<const int32_t> rows, std::span<const int32_t> tracks, double iou, Covered&& covered) {
    gather(rows);
    finder_.build(boxes_);
    for (const int32_t index : tracks) {
      const Item& track = tracks_[static_cast<size_t>(index)];
      finder_.query(box_of(track.row), iou, [&](int32_t place, double found) {
        if (found > iou && may_meet(track, rows[static_cast<size_t>(place)])) covered(static_cast<size_t>(place));
      });
    }
  }

  void write(const FrameResult& result) const noexcept {
    std::fill(result.track_ids.begin(), result.track_ids.end(), int64_t{-1});
    std::copy_n(frame_.class_ids, result.class_ids.size(), result.class_ids.begin());
    for (const Item& track : tracks_) {
      if (track.row < 0) continue;
      result.track_ids[static_cast<size_t>(track.row)] = track.track_id;
      if (!result.class_ids.empty()) result.class_ids[static_cast<size_t>(track.row)] = track.class_id;
    }
  }

  std::vector<LiveTrack> live() const {
    std::vector<LiveTrack> out;
    out.reserve(tracks_.size());
    for (const Item& t : tracks_) out.push_back(live_at(t, t.box, now()));
    return out;
  }

  // The live tracks where `begin` would expect them at a time; those that it would forget are left out.
  std::vector<LiveTrack> predicted(std::optional<double> timestamp_s) const {
    FrameClock clock = clock_;
    const double step = clock.advance(timestamp_s);
    std::vector<LiveTrack> out;
    out.reserve(tracks_.size());
    for (const Item& t : tracks_) {
      if (t.row < 0 && clock.now() - t.last_seen > max_age_ + FrameClock::kAgeTolerance) continue;
      typename Motion::State motion = t.motion;
      motion_.predict(motion, step, t.state == TrackState::kLost);
      out.push_back(live_at(t, motion_.box(motion), clock.now()));
    }
    return out;
  }

  template <typename Archive>
  friend void exchange(Archive& archive, TrackTable& table) {
    exchange(archive, table.clock_);
    archive(table.updates_), archive(table.last_id_);
    exchange_all(archive, table.tracks_);
    if constexpr (Archive::kLoads) {
      Archive::require(table.updates_ >= 0 && table.last_id_ >= 0, "a count is negative");
      for (const Item& t : table.tracks_) {
        Archive::require(t.born <= t.last_seen && t.last_seen <= table.now(), "a track is of the future");
        Archive::require(
            t.state == TrackState::kTentative ? t.track_id == -1 : t.track_id >= 1 && t.track_id <= table.last_id_,
            "a track's id is none");
      }
    }
  }

 private:
  static LiveTrack live_at(const Item& t, const CornerBox& box, double now) noexcept {
    return {clamped_to_float(box.x1),
            clamped_to_float(box.y1),
            clamped_to_float(box.x2),
            clamped_to_float(box.y2),
            t.track_id,
            t.score,
            t.class_id,
            t.state,
            now - t.last_seen};
  }

  // Calls found(column, iou) for each gathered detection that overlaps the track's box, both grown.
  template <typename Found>
  void for_near(const Item& track, double least_iou, const Growth& growth, Found&& found) const {
    if (growth.x <= 0.0 && growth.y <= 0.0) {
      finder_.query(track.box, least_iou, found);
      return;
    }
    const CornerBox own = grown(track.box, growth);
    const double x = widest_ * growth.x;
    const double y = tallest_ * growth.y;
    finder_.query({own.x1 - x, own.y1 - y, own.x2 + x, own.y2 + y}, 0.0, [&](int32_t column, double) {
      found(column, iou_of(own, grown(boxes_[static_cast<size_t>(column)], growth)));
    });
  }

  void gather(std::span<const int32_t> rows) {
    boxes_.clear();
    widest_ = tallest_ = 0.0;
    for (const int32_t row : rows) {
      const CornerBox box = box_of(row);
      widest_ = std::max(widest_, box.x2 - box.x1);
      tallest_ = std::max(tallest_, box.y2 - box.y1);
      boxes_.push_back(box);
    }
  }

  void correct(Item& track, int32_t row) {
    motion_.correct(track.motion, seen(row));
    track.box = motion_.box(track.motion);
    track.class_id = frame_.class_ids[row];
    track.score = frame_.scores[row];
    if (policy_ == ClassPolicy::kVote) track.class_id = track.votes.add(track.class_id, track.score);
    track.last_seen = now();
    track.row = row;
    ++track.hits;
    taken_[static_cast<size_t>(row)] = 1;
    if (track.state == TrackState::kLost) track.state = TrackState::kTracked;
  }

  std::vector<Item> tracks_;  // oldest first
  Motion motion_;
  FrameClock clock_;
  ClassPolicy policy_;
  double max_age_;  // nominal frames
  int64_t updates_ = 0;
  int64_t last_id_ = 0;

  FrameView frame_;
  std::vector<uint8_t> taken_;
  std::vector<CornerBox> boxes_;
  double widest_ = 0.0, tallest_ = 0.0;  // of those
  OverlapFinder finder_;
  CostGraph graph_;
  AssignmentSolver solver_;
};

}  // namespace yolokkn
