// SORT (Bewley et al., Simple online and realtime tracking, 2016).
#include "track_table.h"

namespace yolokkn {
namespace {

class Sort final : public Tracker {
 public:
  Sort(const SortSettings& settings, double frame_rate, ClassPolicy policy)
      : settings_(settings), frame_rate_(frame_rate), policy_(policy), table_(frame_rate, policy, settings.max_age) {}

 private:
  void do_update(const DetectionsView& detections, std::optional<double> timestamp_s,
                 std::span<int64_t> track_ids) override {
    table_.begin(detections, timestamp_s);
    rows_.clear();
    for (int32_t row = 0; row < detections.boxes.rows; ++row) {
      if (table_.usable(row) && table_.score(row) >= settings_.score_threshold) rows_.push_back(row);
    }
    all_.resize(table_.tracks().size());
    for (size_t i = 0; i < all_.size(); ++i) all_[i] = static_cast<int32_t>(i);
    table_.match(all_, rows_, 1.0 - settings_.iou_threshold, false);
    for (const int32_t row : rows_) {
      if (table_.row_free(row)) table_.start(row);
    }
    for (Track& track : table_.tracks()) change_state(track);
    table_.keep_if([&](const Track& track) { return !table_.expired(track); });
    table_.write_ids(track_ids);
  }

  void change_state(Track& track) noexcept {
    if (track.row < 0) {
      track.hits = 0;
      if (track.state == TrackState::kTracked) track.state = TrackState::kLost;
    } else if (track.state == TrackState::kTentative) {
      if (track.hits >= settings_.min_hits || table_.updates() <= settings_.min_hits) table_.confirm(track);
    }
  }

  void do_reset() override { table_ = TrackTable<AreaMotion>(frame_rate_, policy_, settings_.max_age); }
  std::vector<LiveTrack> do_tracks() const override { return table_.live(); }

  SortSettings settings_;
  double frame_rate_;
  ClassPolicy policy_;
  TrackTable<AreaMotion> table_;
  std::vector<int32_t> rows_, all_;
};

}  // namespace

std::unique_ptr<Tracker> make_sort(const SortSettings& settings, double frame_rate, ClassPolicy policy) {
  return std::make_unique<Sort>(settings, frame_rate, policy);
}

}  // namespace yolokkn
