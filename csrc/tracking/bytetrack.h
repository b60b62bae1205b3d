// ByteTrack's rounds (Zhang et al., ByteTrack: multi-object tracking by associating every detection box, 2022), on any
// motion and with any cost of the rounds of high scores. Specification: yolokkn/tracking/reference/bytetrack.py.
#pragma once

#include "table_tracker.h"

namespace yolokkn {

template <typename Motion>
class ByteRounds : public TableTracker<Motion> {
 protected:
  using typename TableTracker<Motion>::Item;

  static constexpr double kSecondCost = 0.5;
  static constexpr double kTentativeCost = 0.7;
  static constexpr double kDuplicateCost = 0.1;  // the paper's 0.15 ends neighbours in crowds

  ByteRounds(const ByteTrackSettings& settings, const TrackerTerms& terms, const Motion& motion = {})
      : TableTracker<Motion>(terms, settings.track_buffer, motion), settings_(settings) {}

  const ByteTrackSettings settings_;

 private:
  void do_update(const FrameView& frame, const FrameResult& result) override {
    table_.begin(frame);
    this->split_rows(high_, low_, settings_.track_high_thresh, settings_.track_low_thresh);
    associate();
    this->start_free(high_, settings_.new_track_thresh);
    this->drop_unseen();
    this->drop_duplicates(kDuplicateCost);
    table_.write(result);
  }

  // Matches tracks with detections of high score.
  virtual void match_high(std::span<const int32_t> tracks, std::span<const int32_t> rows, double max_cost) {
    table_.match_boxes(tracks, rows, max_cost, settings_.fuse_score);
  }

  void associate() {
    this->select_tracks(chosen_, [](const Item& track) { return track.state != TrackState::kTentative; });
    match_high(chosen_, high_, settings_.match_thresh);
    this->select_tracks(chosen_, [](const Item& t) { return t.state == TrackState::kTracked && t.row < 0; });
    table_.match_boxes(chosen_, low_, kSecondCost, false);
    for (const int32_t index : chosen_) {
      if (this->track(index).row < 0) this->track(index).state = TrackState::kLost;
    }
    this->keep_free(high_);
    this->select_tracks(chosen_, [](const Item& track) { return track.state == TrackState::kTentative; });
    match_high(chosen_, high_, kTentativeCost);
    for (const int32_t index : chosen_) {
      if (this->track(index).row >= 0) table_.confirm(this->track(index));
    }
  }

 protected:
  using TableTracker<Motion>::table_;

 private:
  std::vector<int32_t> high_, low_, chosen_;
};

}  // namespace yolokkn
