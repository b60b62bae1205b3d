// OC-SORT (Cao et al., Observation-centric SORT: rethinking SORT for robust multi-object tracking, CVPR 2023).
#include <numbers>

#include "table_tracker.h"

namespace yolokkn {
namespace {

constexpr double kTimeTolerance = 0.01;  // nominal frames
constexpr int64_t kMostSteps = 100;      // of a re-update

// Of a centre, width and height: what AreaModel measures.
Lanes with_area(const Lanes& p) noexcept { return {p[0], p[1], p[2] * p[3], p[2] / p[3]}; }

struct ObservationMotion {
  struct State {
    KalmanState filter;
    KalmanState anchor;  // the filter after its last correction
    Observations<5> seen;
    int64_t steps;  // predictions since then

    template <typename Archive>
    friend void exchange(Archive& archive, State& s) {
      exchange(archive, s.filter);
      exchange(archive, s.anchor);
      exchange(archive, s.seen);
      archive(s.steps);
      if constexpr (Archive::kLoads) Archive::require(s.steps >= 0, "a count is negative");
    }
  };

  FilterMotion<AreaModel> filter;

  State start(const Seen& seen) const {
    const KalmanState first = filter.start(seen);
    State s{first, first, {}, 0};
    s.seen.push(seen);
    return s;
  }

  void predict(State& s, double dt, bool lost) const noexcept {
    filter.predict(s.filter, dt, lost);
    ++s.steps;
  }

  void move(State& s, const CameraMotion& motion) const noexcept {
    filter.move(s.filter, motion);
    filter.move(s.anchor, motion);
    s.seen.move(motion);
  }

  // A track that was missed is led again from where it was last seen, along the straight way to the new observation.
  void correct(State& s, const Seen& seen) const noexcept {
    if (s.steps > 1) {
      const auto& last = s.seen.last();
      const int64_t count = std::min(s.steps, kMostSteps);
      const auto steps = static_cast<double>(count);
      const double dt = (seen.time - last.time) / steps;
      const Lanes& from = last.place;
      const Lanes to = SizeModel::measure(seen.box);
      s.filter = s.anchor;
      for (int64_t k = 1; k < count; ++k) {
        const double way = static_cast<double>(k) / steps;
        Lanes place;
        for (size_t i = 0; i < 4; ++i) place[i] = from[i] + (to[i] - from[i]) * way;
        AreaModel::predict(s.filter, dt, false);
        AreaModel::correct(s.filter, with_area(place));
      }
      AreaModel::predict(s.filter, dt, false);
    }
    filter.correct(s.filter, seen);
    s.anchor = s.filter;
    s.steps = 0;
    s.seen.push(seen);
  }

  CornerBox box(const State& s) const noexcept { return filter.box(s.filter); }
};

class OcSort final : public TableTracker<ObservationMotion> {
 public:
  OcSort(const OcSortSettings& settings, const TrackerTerms& terms)
      : TableTracker(terms, settings.max_age), settings_(settings) {}

 private:
  void do_update(const FrameView& frame, const FrameResult& result) override {
    table_.begin(frame);
    select_rows(rows_, settings_.score_threshold);
    match_by_direction();
    recover();
    for (const int32_t row : rows_) {
      if (table_.row_free(row)) table_.start(row);
    }
    table_.confirm_by_hits(settings_.min_hits);
    table_.keep_if([&](const Item& track) { return !table_.expired(track); });
    table_.write(result);
  }

  // 1 - IoU, less for a detection that lies where the track was heading.
  void match_by_direction() {
    select_tracks(chosen_, [](const Item&) { return true; });
    const double least_iou = settings_.iou_threshold;
    const auto cost = [&](const Item& track, int32_t row, double iou) {
      if (iou < least_iou) return table_.kNoPair;
      return 1.0 - iou - settings_.inertia * agreement(track, row) * table_.share(row);
    };
    const double most = 1.0 - least_iou + settings_.inertia * 0.5;
    table_.match(chosen_, rows_, least_iou, most, cost, [](const Item&) { return Growth{}; });
  }

  // Tracks that found nothing are compared where they were last seen.
  void recover() {
    keep_free(rows_);
    select_tracks(chosen_, [](const Item& track) { return track.row < 0; });
    for (const int32_t index : chosen_) track(index).box = box_at(track(index).motion.seen.last().place);
    table_.match_boxes(chosen_, rows_, 1.0 - settings_.iou_threshold, false);
    for (const int32_t index : chosen_) {
      if (track(index).row < 0) track(index).box = AreaModel::box(track(index).motion.filter);
    }
  }

  // From -0.5, against the track's way, to 0.5, along it; 0 where it has none.
  double agreement(const Item& track, int32_t row) const noexcept {
    const auto& seen = track.motion.seen;
    const Lanes& end = seen.last().place;
    const Lanes& way = before(seen, seen.last().time);
    const Lanes& base = before(seen, table_.now());
    const Lanes found = SizeModel::measure(table_.box_of(row));
    const double vx = end[0] - way[0], vy = end[1] - way[1];
    const double wx = found[0] - base[0], wy = found[1] - base[1];
    const double lengths = std::sqrt(vx * vx + vy * vy) * std::sqrt(wx * wx + wy * wy);
    if (!(lengths > 0.0)) return 0.0;
    const double angle = std::acos(std::clamp((vx * wx + vy * wy) / lengths, -1.0, 1.0));
    return 0.5 - angle / std::numbers::pi;
  }

  // The earliest observation of the last delta_t nominal frames before a time; the last one where there is none.
  const Lanes& before(const Observations<5>& seen, double time) const noexcept {
    for (size_t i = 0; i + 1 < seen.size(); ++i) {
      if (seen[i].time >= time - settings_.delta_t - kTimeTolerance) return seen[i].place;
    }
    return seen.last().place;
  }

  OcSortSettings settings_;
  std::vector<int32_t> rows_, chosen_;
};

}  // namespace

std::unique_ptr<Tracker> make_ocsort(const OcSortSettings& settings, const TrackerTerms& terms) {
  return std::make_unique<OcSort>(settings, terms);
}

}  // namespace yolokkn
