// All overlapping pairs of two sets of boxes, found through a uniform grid instead of trying every pair.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "yolokkn/kalman.h"

namespace yolokkn {

class OverlapFinder {
 public:
  // Prepares for queries against these boxes: finite, with an area. The span must live as long as the queries.
  void build(std::span<const CornerBox> boxes);

  // Calls found(index, iou) once for each box that overlaps the query with at least about `least_iou` (a hair below it
  // too: the caller decides), in no particular order.
  template <typename Found>
  void query(const CornerBox& box, double least_iou, Found&& found) const {
    const Query query{box, (box.x2 - box.x1) * (box.y2 - box.y1), std::max(least_iou - 1e-9, 0.0)};
    if (num_x_ == 0) {
      for (size_t i = 0; i < boxes_.size(); ++i) test(query, static_cast<int32_t>(i), true, found);
      return;
    }
    const Cells own = cells_of(box);
    for (int32_t y = own.y0; y <= own.y1; ++y) {
      for (int32_t x = own.x0; x <= own.x1; ++x) {
        const auto cell = static_cast<size_t>(y) * static_cast<size_t>(num_x_) + static_cast<size_t>(x);
        for (int64_t k = cell_begin_[cell]; k < cell_begin_[cell + 1]; ++k) {
          const Entry entry = entries_[static_cast<size_t>(k)];
          // A pair is looked at in one cell only: the one of the top-left corner of what they share.
          const int32_t first_x = std::max<int32_t>(own.x0, entry.x0);
          const int32_t first_y = std::max<int32_t>(own.y0, entry.y0);
          const bool here = (first_x == x) & (first_y == y);
          test(query, entry.index, here, found);
        }
      }
    }
  }

 private:
  struct Cells {
    int32_t x0, y0, x1, y1;  // inclusive
  };
  struct Entry {
    int32_t index;
    int16_t x0, y0;  // first cell of the box
  };

  struct Query {
    CornerBox box;
    double area;
    double least_iou;
  };

  // One branch, rarely taken, instead of several that no predictor guesses; the division only behind it.
  template <typename Found>
  void test(const Query& query, int32_t index, bool here, Found& found) const {
    const CornerBox& a = query.box;
    const CornerBox& b = boxes_[static_cast<size_t>(index)];
    const double width = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
    const double height = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
    const double shared = width * height;
    const double whole = query.area + (b.x2 - b.x1) * (b.y2 - b.y1) - shared;
    if (here & (width > 0.0) & (height > 0.0) & (shared >= query.least_iou * whole)) found(index, shared / whole);
  }
  Cells cells_of(const CornerBox& box) const noexcept;
  void choose_grid();
  void fill_grid();

  std::span<const CornerBox> boxes_;
  int32_t num_x_ = 0, num_y_ = 0;  // 0: few boxes, no grid
  double left_ = 0.0, top_ = 0.0, cells_per_x_ = 0.0, cells_per_y_ = 0.0;
  std::vector<int64_t> cell_begin_;
  std::vector<Entry> entries_;
  std::vector<Cells> spans_;
};

}  // namespace yolokkn
