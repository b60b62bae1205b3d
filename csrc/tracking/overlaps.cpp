#include "overlaps.h"

namespace yolokkn {
namespace {

constexpr size_t kFewBoxes = 24;   // below this, trying all is faster than a grid
constexpr double kMaxSide = 64.0;  // cells in a row or column of the grid

int32_t cell_of(double position, double origin, double cells_per_unit, int32_t count) noexcept {
  const double cell = (position - origin) * cells_per_unit;
  if (!(cell > 0.0)) return 0;  // also where it is not a number
  return cell < count - 1 ? static_cast<int32_t>(cell) : count - 1;
}

int32_t side_of(double wanted, double most) noexcept {
  if (!(wanted > 1.0)) return 1;  // also where it is not a number
  return static_cast<int32_t>(std::min(wanted, most));
}

}  // namespace

OverlapFinder::Cells OverlapFinder::cells_of(const CornerBox& box) const noexcept {
  return {cell_of(box.x1, left_, cells_per_x_, num_x_), cell_of(box.y1, top_, cells_per_y_, num_y_),
          cell_of(box.x2, left_, cells_per_x_, num_x_), cell_of(box.y2, top_, cells_per_y_, num_y_)};
}

void OverlapFinder::build(std::span<const CornerBox> boxes) {
  boxes_ = boxes;
  num_x_ = num_y_ = 0;
  if (boxes.size() < kFewBoxes) return;
  choose_grid();
  fill_grid();
}

// Cells of about the mean box, at most about one for each box: the entries stay of the order of the boxes.
void OverlapFinder::choose_grid() {
  CornerBox all = boxes_[0];
  double widths = 0.0;
  double heights = 0.0;
  for (const CornerBox& box : boxes_) {
    all = {std::min(all.x1, box.x1), std::min(all.y1, box.y1), std::max(all.x2, box.x2), std::max(all.y2, box.y2)};
    widths += box.x2 - box.x1;
    heights += box.y2 - box.y1;
  }
  const auto count = static_cast<double>(boxes_.size());
  const double side = std::min(kMaxSide, std::sqrt(count) + 1.0);
  num_x_ = side_of((all.x2 - all.x1) / widths * count, side);
  num_y_ = side_of((all.y2 - all.y1) / heights * count, side);
  left_ = all.x1;
  top_ = all.y1;
  cells_per_x_ = num_x_ / (all.x2 - all.x1);
  cells_per_y_ = num_y_ / (all.y2 - all.y1);
}

void OverlapFinder::fill_grid() {
  const size_t num_cells = static_cast<size_t>(num_x_) * static_cast<size_t>(num_y_);
  cell_begin_.assign(num_cells + 1, 0);
  spans_.resize(boxes_.size());
  const auto for_cells = [&](const Cells& span, auto&& visit) {
    for (int32_t y = span.y0; y <= span.y1; ++y) {
      for (int32_t x = span.x0; x <= span.x1; ++x) {
        visit(static_cast<size_t>(y) * static_cast<size_t>(num_x_) + static_cast<size_t>(x));
      }
    }
  };
  for (size_t i = 0; i < boxes_.size(); ++i) {
    spans_[i] = cells_of(boxes_[i]);
    for_cells(spans_[i], [&](size_t cell) { ++cell_begin_[cell]; });
  }
  int64_t end = 0;
  for (int64_t& begin : cell_begin_) begin = end += begin;  // ends; filling backwards turns them into begins
  entries_.resize(static_cast<size_t>(end));
  for (size_t i = boxes_.size(); i-- > 0;) {
    const Entry entry{static_cast<int32_t>(i), static_cast<int16_t>(spans_[i].x0), static_cast<int16_t>(spans_[i].y0)};
    for_cells(spans_[i], [&](size_t cell) { entries_[static_cast<size_t>(--cell_begin_[cell])] = entry; });
  }
}

}  // namespace yolokkn
