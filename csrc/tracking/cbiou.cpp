// C-BIoU (Yang et al., Hard to track objects with irregular motions and similar appearances? Make it easier by
// buffering the matching space, WACV 2023).
#include "table_tracker.h"

namespace yolokkn {
namespace {

// The mean velocity of the last observations, and no filter.
struct MeanMotion {
  struct State {
    Observations<11> seen;
    Lanes place;  // centre, width, height
    Lanes velocity;

    template <typename Archive>
    friend void exchange(Archive& archive, State& s) {
      exchange(archive, s.seen);
      for (double& value : s.place) archive(value);
      for (double& value : s.velocity) archive(value);
      if constexpr (Archive::kLoads) Archive::require(s.place[2] > 0.0 && s.place[3] > 0.0, "a box has no area");
    }
  };

  State start(const Seen& seen) const noexcept {
    State s{{}, SizeModel::measure(seen.box), {}};
    s.seen.push(seen);
    return s;
  }

  void predict(State& s, double dt, bool) const noexcept {
    for (size_t i = 0; i < 4; ++i) {
      const double next = s.place[i] + s.velocity[i] * dt;
      if (i < 2 || next > 0.0) s.place[i] = next;
    }
  }

  void move(State& s, const CameraMotion& motion) const noexcept {
    s.seen.move(motion);
    s.place = moved(s.place, motion, motion.scale(), motion.scale());
    update_velocity(s);
  }

  void correct(State& s, const Seen& seen) const noexcept {
    s.seen.push(seen);
    s.place = SizeModel::measure(seen.box);
    update_velocity(s);
  }

  CornerBox box(const State& s) const noexcept { return box_at(s.place); }

 private:
  static void update_velocity(State& s) noexcept {
    const double time = s.seen.last().time - s.seen.first().time;
    if (!(time > 0.0)) return;
    const Lanes& from = s.seen.first().place;
    const Lanes& to = s.seen.last().place;
    for (size_t i = 0; i < 4; ++i) s.velocity[i] = (to[i] - from[i]) / time;
  }
};

class CBiou final : public TableTracker<MeanMotion> {
 public:
  CBiou(const CBiouSettings& settings, const TrackerTerms& terms)
      : TableTracker(terms, settings.track_buffer), settings_(settings) {}

 private:
  void do_update(const FrameView& frame, const FrameResult& result) override {
    table_.begin(frame);
    select_rows(rows_, settings_.track_high_thresh);
    match(settings_.buffer_small);
    match(settings_.buffer_large);
    for (Item& track : table_.tracks()) {
      if (track.row >= 0 && track.state == TrackState::kTentative) table_.confirm(track);
      if (track.row < 0 && track.state == TrackState::kTracked) track.state = TrackState::kLost;
    }
    start_free(rows_, settings_.new_track_thresh);
    drop_unseen();
    table_.write(result);
  }

  void match(double buffer) {
    keep_free(rows_);
    select_tracks(chosen_, [](const Item& track) { return track.row < 0; });
    const auto cost = [](const Item&, int32_t, double iou) { return 1.0 - iou; };
    table_.match(chosen_, rows_, 1.0 - settings_.match_thresh, settings_.match_thresh, cost,
                 [&](const Item&) { return Growth{buffer, buffer}; });
  }

  CBiouSettings settings_;
  std::vector<int32_t> rows_, chosen_;
};

}  // namespace

std::unique_ptr<Tracker> make_cbiou(const CBiouSettings& settings, const TrackerTerms& terms) {
  return std::make_unique<CBiou>(settings, terms);
}

}  // namespace yolokkn
