// ByteTrack (Zhang et al., ByteTrack: multi-object tracking by associating every detection box, 2022).
#include "track_table.h"

namespace yolokkn {
namespace {

constexpr double kSecondCost = 0.5;
constexpr double kTentativeCost = 0.7;
constexpr double kDuplicateCost = 0.15;

class ByteTrack final : public Tracker {
 public:
  ByteTrack(const ByteTrackSettings& settings, double frame_rate, ClassPolicy policy)
      : settings_(settings),
        frame_rate_(frame_rate),
        policy_(policy),
        table_(frame_rate, policy, settings.track_buffer) {}

 private:
  void do_update(const DetectionsView& detections, std::optional<double> timestamp_s,
                 std::span<int64_t> track_ids) override {
    table_.begin(detections, timestamp_s);
    split_detections(detections);
    associate();
    start_tracks();
    table_.keep_if([&](const Track& track) {
      return track.row >= 0 || (track.state == TrackState::kLost && !table_.expired(track));
    });
    drop_duplicates();
    table_.write_ids(track_ids);
  }

  void split_detections(const DetectionsView& detections) {
    high_.clear();
    low_.clear();
    for (int32_t row = 0; row < detections.boxes.rows; ++row) {
      const double score = table_.score(row);
      if (!(score >= settings_.track_low_thresh) || !table_.usable(row)) continue;
      (score >= settings_.track_high_thresh ? high_ : low_).push_back(row);
    }
  }

  template <typename Test>
  void select(std::vector<int32_t>& chosen, Test&& test) {
    chosen.clear();
    for (size_t i = 0; i < table_.tracks().size(); ++i) {
      if (test(table_.tracks()[i])) chosen.push_back(static_cast<int32_t>(i));
    }
  }

  void associate() {
    select(chosen_, [](const Track& track) { return track.state != TrackState::kTentative; });
    table_.match(chosen_, high_, settings_.match_thresh, settings_.fuse_score);
    select(chosen_, [](const Track& track) { return track.state == TrackState::kTracked && track.row < 0; });
    table_.match(chosen_, low_, kSecondCost, false);
    for (const int32_t index : chosen_) {
      Track& track = table_.tracks()[static_cast<size_t>(index)];
      if (track.row < 0) track.state = TrackState::kLost;
    }
    std::erase_if(high_, [&](int32_t row) { return !table_.row_free(row); });
    select(chosen_, [](const Track& track) { return track.state == TrackState::kTentative; });
    table_.match(chosen_, high_, kTentativeCost, settings_.fuse_score);
    for (const int32_t index : chosen_) {
      Track& track = table_.tracks()[static_cast<size_t>(index)];
      if (track.row >= 0) table_.confirm(track);
    }
  }

  void start_tracks() {
    for (const int32_t row : high_) {
      if (!table_.row_free(row) || table_.score(row) < settings_.new_track_thresh) continue;
      table_.start(row);
      if (table_.updates() == 1) table_.confirm(table_.tracks().back());
    }
  }

  // Where a seen and a lost track cover each other, the one with the shorter life ends, the seen one at a tie.
  void drop_duplicates() {
    select(lost_, [](const Track& track) { return track.state == TrackState::kLost; });
    if (lost_.empty()) return;
    select(chosen_, [](const Track& track) { return track.state != TrackState::kLost; });
    dropped_.assign(table_.tracks().size(), 0);
    bool any = false;
    table_.for_overlaps(chosen_, lost_, 1.0 - kDuplicateCost, [&](int32_t seen_index, int32_t lost_index, double iou) {
      const Track& seen = table_.tracks()[static_cast<size_t>(seen_index)];
      const Track& lost = table_.tracks()[static_cast<size_t>(lost_index)];
      if (!(1.0 - iou < kDuplicateCost) || !table_.same_class(seen, lost)) return;
      const bool lost_ends = seen.last_seen - seen.born > lost.last_seen - lost.born;
      dropped_[static_cast<size_t>(lost_ends ? lost_index : seen_index)] = 1;
      any = true;
    });
    if (!any) return;
    size_t index = 0;
    table_.keep_if([&](const Track&) { return !dropped_[index++]; });
  }

  void do_reset() override { table_ = TrackTable<HeightMotion>(frame_rate_, policy_, settings_.track_buffer); }
  std::vector<LiveTrack> do_tracks() const override { return table_.live(); }

  ByteTrackSettings settings_;
  double frame_rate_;
  ClassPolicy policy_;
  TrackTable<HeightMotion> table_;
  std::vector<int32_t> high_, low_, chosen_, lost_;
  std::vector<uint8_t> dropped_;
};

}  // namespace

std::unique_ptr<Tracker> make_bytetrack(const ByteTrackSettings& settings, double frame_rate, ClassPolicy policy) {
  return std::make_unique<ByteTrack>(settings, frame_rate, policy);
}

}  // namespace yolokkn
