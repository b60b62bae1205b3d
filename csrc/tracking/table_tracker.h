// A tracker whose whole state is its table of tracks.
#pragma once

#include <numeric>

#include "track_table.h"

namespace yolokkn {

template <typename Motion>
class TableTracker : public Tracker {
 protected:
  using Item = typename TrackTable<Motion>::Item;

  TableTracker(const TrackerTerms& terms, double max_age, const Motion& motion = {}) : table_(terms, max_age, motion) {}

  // The rows that make sense and have at least this score, in order.
  void select_rows(std::vector<int32_t>& rows, double least_score) const {
    rows.clear();
    for (int32_t row = 0; row < table_.frame().boxes.rows; ++row) {
      if (table_.score(row) >= least_score && table_.usable(row)) rows.push_back(row);
    }
  }

  // The rows of high score, and those of low score that are not.
  void split_rows(std::vector<int32_t>& high, std::vector<int32_t>& low, double high_score, double low_score) const {
    select_rows(high, low_score);
    low.clear();
    std::erase_if(high, [&](int32_t row) {
      if (table_.score(row) >= high_score) return false;
      low.push_back(row);
      return true;
    });
  }

  // The places of the tracks for which this holds, oldest first.
  template <typename Test>
  void select_tracks(std::vector<int32_t>& chosen, Test&& test) {
    chosen.clear();
    for (size_t i = 0; i < table_.tracks().size(); ++i) {
      if (test(table_.tracks()[i])) chosen.push_back(static_cast<int32_t>(i));
    }
  }

  void keep_free(std::vector<int32_t>& rows) const {
    std::erase_if(rows, [&](int32_t row) { return !table_.row_free(row); });
  }

  // Starts a track for each row that is left, of this score or more; confirmed at once in the first update, or where
  // the score is sure.
  void start_free(std::span<const int32_t> rows, double least_score,
                  double sure_score = std::numeric_limits<double>::infinity()) {
    for (const int32_t row : rows) {
      if (!table_.row_free(row) || table_.score(row) < least_score) continue;
      table_.start(row);
      if (table_.updates() == 1 || table_.score(row) >= sure_score) table_.confirm(table_.tracks().back());
    }
  }

  // Ends tracks that were not seen now: the tentative at once, the lost when they are too old.
  void drop_unseen() {
    table_.keep_if([&](const Item& track) {
      return track.row >= 0 || (track.state == TrackState::kLost && !table_.expired(track));
    });
  }

  // Where a seen and a lost track cover each other, the one with the shorter life ends, the seen one at a tie.
  void drop_duplicates(double most_cost) {
    select_tracks(lost_, [](const Item& track) { return track.state == TrackState::kLost; });
    if (lost_.empty()) return;
    select_tracks(seen_, [](const Item& track) { return track.state != TrackState::kLost; });
    dropped_.assign(table_.tracks().size(), 0);
    bool any = false;
    table_.for_overlaps(seen_, lost_, 1.0 - most_cost, [&](int32_t seen_index, int32_t lost_index, double iou) {
      const Item& seen = track(seen_index);
      const Item& lost = track(lost_index);
      if (!(1.0 - iou < most_cost) || !table_.same_class(seen, lost)) return;
      const bool lost_ends = seen.last_seen - seen.born > lost.last_seen - lost.born;
      dropped_[static_cast<size_t>(lost_ends ? lost_index : seen_index)] = 1;
      any = true;
    });
    if (!any) return;
    size_t index = 0;
    table_.keep_if([&](const Item&) { return !dropped_[index++]; });
  }

  Item& track(int32_t index) noexcept { return table_.tracks()[static_cast<size_t>(index)]; }

  TrackTable<Motion> table_;

 private:
  void do_reset(bool keeps_ids) override { table_.clear(keeps_ids); }
  std::vector<LiveTrack> do_tracks() const override { return table_.live(); }
  std::vector<LiveTrack> do_predict(std::optional<double> timestamp_s) const override {
    return table_.predicted(timestamp_s);
  }

  std::string do_save() override {
    Saver saver;
    exchange(saver, table_);
    return saver.take();
  }

  void do_load(std::span<const char> state) override {
    Loader loader(state);
    TrackTable<Motion> loaded = table_;
    exchange(loader, loaded);
    Loader::require(loader.left() == 0, "something follows it");
    table_ = std::move(loaded);
  }

  std::vector<int32_t> seen_, lost_;
  std::vector<uint8_t> dropped_;
};

}  // namespace yolokkn
