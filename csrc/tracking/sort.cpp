// SORT (Bewley et al., Simple online and realtime tracking, 2016).
#include "table_tracker.h"

namespace yolokkn {
namespace {

using Motion = FilterMotion<AreaModel>;

class Sort final : public TableTracker<Motion> {
 public:
  Sort(const SortSettings& settings, const TrackerTerms& terms)
      : TableTracker(terms, settings.max_age), settings_(settings) {}

 private:
  void do_update(const FrameView& frame, const FrameResult& result) override {
    table_.begin(frame);
    select_rows(rows_, settings_.score_threshold);
    select_tracks(all_, [](const Item&) { return true; });
    table_.match_boxes(all_, rows_, 1.0 - settings_.iou_threshold, false);
    for (const int32_t row : rows_) {
      if (table_.row_free(row)) table_.start(row);
    }
    table_.confirm_by_hits(settings_.min_hits);
    table_.keep_if([&](const Item& track) { return !table_.expired(track); });
    table_.write(result);
  }

  SortSettings settings_;
  std::vector<int32_t> rows_, all_;
};

}  // namespace

std::unique_ptr<Tracker> make_sort(const SortSettings& settings, const TrackerTerms& terms) {
  return std::make_unique<Sort>(settings, terms);
}

}  // namespace yolokkn
