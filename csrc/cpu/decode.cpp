#include "yolokkn/decode.h"

#include <algorithm>
#include <array>

#include "candidate_list.h"
#include "yolokkn/elementary.h"

namespace yolokkn {
namespace {

constexpr int64_t kBlock = 512;

}  // namespace

Candidates decode_channels(MatrixView<const float> output, int64_t num_classes, const CandidateFilter& filter) {
  CandidateList list(num_classes, filter);
  std::array<uint32_t, kBlock> flags;
  for (int64_t begin = 0; begin < output.cols; begin += kBlock) {
    const int64_t width = std::min(kBlock, output.cols - begin);
    flags.fill(0);
    for (const int32_t c : list.considered()) {
      const float* row = output.row(4 + c) + begin;
      for (int64_t i = 0; i < width; ++i) flags[static_cast<size_t>(i)] |= !(row[i] <= filter.score_threshold);
    }
    for (int64_t i = 0; i < width; ++i) {
      if (flags[static_cast<size_t>(i)] == 0) continue;
      const float* column = output.data + begin + i;
      const auto at = [&](int64_t channel) { return column[channel * output.cols]; };
      list.visit(begin + i, [&](int32_t c) { return at(4 + c); }, [&] { return corners(at(0), at(1), at(2), at(3)); });
    }
  }
  return list.finish();
}

namespace {

// Walks the cells of undecoded grids in anchor order.
class GridWalk {
 public:
  explicit GridWalk(const RowsLayout& layout) : layout_(layout) {}

  // anchors ascend from call to call
  Box decode(int64_t anchor, const float* t) noexcept {
    while (anchor >= begin_ + cells(level_)) begin_ += cells(level_++);
    const int64_t stride = layout_.strides[level_];
    const int64_t grid_w = layout_.input_w / stride;
    const float step = static_cast<float>(stride);
    const float cx = (t[0] + static_cast<float>((anchor - begin_) % grid_w)) * step;
    const float cy = (t[1] + static_cast<float>((anchor - begin_) / grid_w)) * step;
    return corners(cx, cy, exp_f32(t[2]) * step, exp_f32(t[3]) * step);
  }

 private:
  int64_t cells(size_t level) const noexcept {
    return (layout_.input_h / layout_.strides[level]) * (layout_.input_w / layout_.strides[level]);
  }

  const RowsLayout& layout_;
  size_t level_ = 0;
  int64_t begin_ = 0;
};

}  // namespace

Candidates decode_rows(MatrixView<const float> output, int64_t num_classes, const RowsLayout& layout,
                       const CandidateFilter& filter) {
  CandidateList list(num_classes, filter);
  GridWalk grid(layout);
  for (int64_t a = 0; a < output.rows; ++a) {
    const float* row = output.row(a);
    const auto box_of = [&]() -> Box {
      if (layout.box_format == BoxFormat::kGrid) return grid.decode(a, row);
      if (layout.box_format == BoxFormat::kXyxy) return {row[0], row[1], row[2], row[3]};
      return corners(row[0], row[1], row[2], row[3]);
    };
    if (!layout.objectness) {
      list.visit(a, [&](int32_t c) { return row[4 + c]; }, box_of);
      continue;
    }
    const float objectness = row[4];
    if (objectness <= filter.score_threshold) continue;
    if (!(objectness < std::numeric_limits<float>::infinity())) {
      list.drop();
      continue;
    }
    list.visit(a, [&](int32_t c) { return objectness * row[5 + c]; }, box_of);
  }
  return list.finish();
}

}  // namespace yolokkn
