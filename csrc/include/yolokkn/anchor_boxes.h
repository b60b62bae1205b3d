// The box of one anchor, as each family of heads writes it: shared by the CPU and CUDA. Specification:
// yolokkn/ops/reference/decode*.py. `at(channel)` reads the anchor's raw values.
#pragma once

#include <cstdint>

#include "yolokkn/box.h"
#include "yolokkn/elementary.h"
#include "yolokkn/host_device.h"

namespace yolokkn {

YOLOKKN_HD inline bool is_finite(float value) noexcept { return value - value == 0.0f; }

YOLOKKN_HD inline bool is_finite(Box box) noexcept {
  return is_finite(box.x1) && is_finite(box.y1) && is_finite(box.x2) && is_finite(box.y2);
}

// Centre and size to corners.
YOLOKKN_HD inline Box corners(float cx, float cy, float w, float h) noexcept {
  return {cx - w * 0.5f, cy - h * 0.5f, cx + w * 0.5f, cy + h * 0.5f};
}

// A cell of a grid: its column and line, and input pixels a cell.
struct GridCell {
  float column, line, step_x, step_y;
};

YOLOKKN_HD inline GridCell grid_cell(int64_t cell, int64_t grid_w, float step_x, float step_y) noexcept {
  return {static_cast<float>(cell % grid_w), static_cast<float>(cell / grid_w), step_x, step_y};
}

// Input pixels a cell.
YOLOKKN_HD inline float grid_step(int64_t input, int64_t cells) noexcept {
  return static_cast<float>(static_cast<double>(input) / static_cast<double>(cells));
}

// YOLOX: the centre's place in its cell, logarithms of the sides in cells.
template <typename At>
YOLOKKN_HD Box yolox_box(const At& at, const GridCell& cell) noexcept {
  const float cx = (at(0) + cell.column) * cell.step_x;
  const float cy = (at(1) + cell.line) * cell.step_y;
  return corners(cx, cy, exp_f32(at(2)) * cell.step_x, exp_f32(at(3)) * cell.step_y);
}

// YOLOv5: all four through a sigmoid; sides up to four times the anchor's.
template <typename At>
YOLOKKN_HD Box yolov5_box(const At& at, const GridCell& cell, float anchor_w, float anchor_h) noexcept {
  const float x = sigmoid(at(0));
  const float y = sigmoid(at(1));
  const float w = 2.0f * sigmoid(at(2));
  const float h = 2.0f * sigmoid(at(3));
  return corners((2.0f * x - 0.5f + cell.column) * cell.step_x, (2.0f * y - 0.5f + cell.line) * cell.step_y,
                 w * w * anchor_w, h * h * anchor_h);
}

// darknet: the centre through a sigmoid, spread by scale_xy; logarithms of the sides in the anchor's.
template <typename At>
YOLOKKN_HD Box darknet_box(const At& at, const GridCell& cell, float anchor_w, float anchor_h,
                           float scale_xy) noexcept {
  const float x = sigmoid(at(0));
  const float y = sigmoid(at(1));
  const float shift = (scale_xy - 1.0f) * 0.5f;
  return corners((x * scale_xy - shift + cell.column) * cell.step_x, (y * scale_xy - shift + cell.line) * cell.step_y,
                 exp_f32(at(2)) * anchor_w, exp_f32(at(3)) * anchor_h);
}

// In cells: the mean of the bins 0, 1, ... weighed by their softmax; the softplus where there is one number alone.
template <typename At>
YOLOKKN_HD float binned_distance(const At& at, int64_t first, int64_t bins) noexcept {
  if (bins == 1) return softplus(at(first));
  float most = at(first);
  for (int64_t i = 1; i < bins; ++i) most = at(first + i) > most ? at(first + i) : most;
  float sum = 0.0f, weighed = 0.0f;
  for (int64_t i = 0; i < bins; ++i) {
    const float weight = exp_f32(at(first + i) - most);
    sum += weight;
    weighed += weight * static_cast<float>(i);
  }
  return weighed / sum;
}

// Distances of the cell's centre to left, top, right and bottom, each of `bins` numbers.
template <typename At>
YOLOKKN_HD Box distance_box(const At& at, const GridCell& cell, int64_t bins) noexcept {
  const float x = cell.column + 0.5f;
  const float y = cell.line + 0.5f;
  return {(x - binned_distance(at, 0, bins)) * cell.step_x, (y - binned_distance(at, bins, bins)) * cell.step_y,
          (x + binned_distance(at, 2 * bins, bins)) * cell.step_x,
          (y + binned_distance(at, 3 * bins, bins)) * cell.step_y};
}

// DETR: the centre and sides as shares of the input.
template <typename At>
YOLOKKN_HD Box query_box(const At& at, float input_w, float input_h) noexcept {
  const Box box = corners(at(0), at(1), at(2), at(3));
  return {box.x1 * input_w, box.y1 * input_h, box.x2 * input_w, box.y2 * input_h};
}

}  // namespace yolokkn
