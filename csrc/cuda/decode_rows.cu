// YOLOv5, v6, v7, YOLOX: one row for each anchor.
#include "candidates.h"

namespace yolokkn::cuda {
namespace {

struct RowsSource {
  Values output;
  RowsShape shape;
  int64_t num_anchors, num_classes;

  __device__ float at(int64_t anchor, int64_t column) const {
    return value_at(output, anchor * shape.num_columns + column);
  }
  __device__ Presence presence(int64_t anchor, float threshold) const {
    if (!shape.objectness) return Presence::kPresent;
    const float objectness = at(anchor, 4);
    if (objectness <= threshold) return Presence::kAbsent;
    return objectness < kInfinity ? Presence::kPresent : Presence::kBad;
  }
  __device__ float factor(int64_t anchor) const { return shape.objectness ? at(anchor, 4) : 1.0f; }
  __device__ float score(int64_t c, int64_t anchor, float factor) const {
    return at(anchor, (shape.objectness ? 5 : 4) + c) * factor;
  }
  __device__ Box box(int64_t anchor) const {
    const auto of_row = [&](int64_t column) { return at(anchor, column); };
    if (shape.box == RowBox::kXyxy) return {of_row(0), of_row(1), of_row(2), of_row(3)};
    if (shape.box == RowBox::kCxcywh) return corners(of_row(0), of_row(1), of_row(2), of_row(3));
    int64_t cell = anchor;
    int level = 0;
    while (level + 1 < shape.num_levels && cell >= cells(level)) cell -= cells(level++);
    const float step = static_cast<float>(shape.strides[level]);
    return yolox_box(of_row, grid_cell(cell, shape.input_w / shape.strides[level], step, step));
  }
  __device__ int64_t cells(int level) const {
    return (shape.input_h / shape.strides[level]) * (shape.input_w / shape.strides[level]);
  }
};

}  // namespace

void decode_rows(Values output, const RowsShape& shape, const AnchorFilter& filter, const CandidateBuffers& out,
                 Stream stream) {
  if (shape.num_anchors == 0) return;
  launch_rows("decode_rows", RowsSource{output, shape, shape.num_anchors, shape.num_classes}, filter, out, stream);
}

}  // namespace yolokkn::cuda
