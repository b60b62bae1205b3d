// kkn, the project's own: ByteTrack's rounds on a filter of width and height, where boxes are compared within what the
// filter is unsure of, tracks that were missed for long give way, and what was missed by motion is recovered near where
// it was expected. Specification: yolokkn/tracking/reference/kkn.py.
#include "table_tracker.h"

namespace yolokkn {
namespace {

constexpr double kTentativeCost = 0.7;

// The mask that a track was last seen with; empty where there was none.
struct LastMask {
  MaskShape shape;

  void see(const Seen& seen) noexcept {
    if (seen.shape != nullptr && !seen.shape->empty()) shape = *seen.shape;
  }

  template <typename Archive>
  friend void exchange(Archive& archive, LastMask& m) {
    for (uint16_t& row : m.shape.rows) archive(row);
  }
};

using Motion = FilterMotionWith<SizeModel, LastMask>;

class Kkn final : public TableTracker<Motion> {
 public:
  Kkn(const KknSettings& settings, const TrackerTerms& terms)
      : TableTracker(terms, settings.track_buffer, {{SizeModel(settings.noise)}}), settings_(settings) {}

 private:
  void do_update(const FrameView& frame, const FrameResult& result) override {
    table_.begin(frame);
    split_rows(high_, low_, settings_.track_high_thresh, settings_.track_low_thresh);
    associate();
    start_tracks();
    drop_unseen();
    drop_duplicates(1.0 - settings_.duplicate_overlap);
    table_.write(result);
  }

  void associate() {
    select_tracks(chosen_, [](const Item& track) { return track.state != TrackState::kTentative; });
    match_high();
    select_tracks(chosen_, [](const Item& t) { return t.state == TrackState::kTracked && t.row < 0; });
    match_low();
    keep_free(high_);
    recover();
    for (Item& track : table_.tracks()) {
      if (track.state == TrackState::kTracked && track.row < 0) track.state = TrackState::kLost;
    }
    keep_free(high_);
    select_tracks(chosen_, [](const Item& track) { return track.state == TrackState::kTentative; });
    table_.match_boxes(chosen_, high_, kTentativeCost, settings_.fuse_score);
    for (const int32_t index : chosen_) {
      if (track(index).row >= 0) table_.confirm(track(index));
    }
    keep_free(high_);
  }

  // Boxes grow with what the filter does not know of where they are; the longer a track was missed, the less it is like
  // anything.
  void match_high() {
    const auto cost = [&](const Item& track, int32_t row, double iou) {
      const double overlap = with_mask(track, row, iou);
      const double likeness = settings_.fuse_score ? overlap * table_.share(row) : overlap;
      return 1.0 - likeness / (1.0 + settings_.age_penalty * table_.missed(track));
    };
    const double most = settings_.match_thresh;
    table_.match(chosen_, high_, least_iou(most), most, cost, [&](const Item& t) { return growth(t); });
  }

  void match_low() {
    const auto cost = [&](const Item& track, int32_t row, double iou) { return 1.0 - with_mask(track, row, iou); };
    const double most = settings_.second_thresh;
    table_.match(chosen_, low_, least_iou(most), most, cost, [](const Item&) { return Growth{}; });
  }

  bool has_masks() const noexcept { return !table_.frame().shapes.empty() && settings_.mask_weight > 0.0; }

  // Of a pair that may cost no more than this: masks can make up for boxes that hardly overlap.
  double least_iou(double most_cost) const noexcept { return has_masks() ? 0.0 : 1.0 - most_cost; }

  // Where both have masks, these count beside the boxes: those of people who pass each other differ sooner.
  double with_mask(const Item& track, int32_t row, double iou) const noexcept {
    if (!has_masks()) return iou;
    const double weight = settings_.mask_weight;
    const MaskShape& own = track.motion.trait.shape;
    const MaskShape& other = table_.frame().shapes[static_cast<size_t>(row)];
    if (own.empty() || other.empty()) return iou;
    return (1.0 - weight) * iou + weight * mask_iou(track.box, own, table_.box_of(row), other);
  }

  void recover() {
    if (settings_.recover_thresh <= 0.0) return;
    select_tracks(chosen_, [](const Item& track) { return track.state != TrackState::kTentative && track.row < 0; });
    const auto cost = [](const Item&, int32_t, double iou) { return 1.0 - iou; };
    table_.match(chosen_, high_, 1.0 - settings_.recover_thresh, settings_.recover_thresh, cost,
                 [&](const Item&) { return Growth{settings_.recover_buffer, settings_.recover_buffer}; });
  }

  Growth growth(const Item& track) const noexcept {
    const KalmanState& s = track.motion.filter;
    const auto share = [&](size_t centre, size_t side) {
      const double unsure = std::sqrt(s.a[centre]) / s.x[side] - settings_.growth_floor;
      return std::clamp(settings_.growth * unsure, 0.0, settings_.growth_limit);
    };
    return {share(0, 2), share(1, 3)};
  }

  // None starts on top of what a confirmed track, that its class may meet, was just seen as.
  void start_tracks() {
    std::erase_if(high_, [&](int32_t row) { return table_.score(row) < settings_.new_track_thresh; });
    if (high_.empty()) return;
    select_tracks(chosen_, [](const Item& track) { return track.state == TrackState::kTracked && track.row >= 0; });
    table_.for_covered(high_, chosen_, settings_.start_overlap, [&](size_t place) { high_[place] = -1; });
    std::erase(high_, -1);
    start_free(high_, settings_.new_track_thresh, settings_.sure_thresh);
  }

  KknSettings settings_;
  std::vector<int32_t> high_, low_, chosen_;
};

}  // namespace

std::unique_ptr<Tracker> make_kkn(const KknSettings& settings, const TrackerTerms& terms) {
  return std::make_unique<Kkn>(settings, terms);
}

}  // namespace yolokkn
