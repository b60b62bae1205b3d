// The arithmetic of one pixel of a mask between the positions ("nodes") of the prototypes: shared by the CPU and CUDA.
// Specification: yolokkn/ops/reference/masks.py.
#pragma once

#include <cstdint>

#include "yolokkn/host_device.h"
#include "yolokkn/letterbox.h"

namespace yolokkn {

// One axis: where a pixel's centre lies among the nodes is (pixel + 0.5) * gain + pad, times nodes_per_input, less 0.5.
struct MaskAxis {
  double gain, pad, nodes_per_input;
  int64_t num_nodes;
};

inline MaskAxis mask_axis(int64_t resized, int64_t image, int64_t pad, int64_t input, int64_t num_nodes) noexcept {
  return {static_cast<double>(resized) / static_cast<double>(image), static_cast<double>(pad),
          static_cast<double>(num_nodes) / static_cast<double>(input), num_nodes};
}

inline MaskAxis mask_axis_x(const Letterbox& g, int64_t num_nodes) noexcept {
  return mask_axis(g.resized_w, g.image_w, g.pad_left, g.input_w, num_nodes);
}

inline MaskAxis mask_axis_y(const Letterbox& g, int64_t num_nodes) noexcept {
  return mask_axis(g.resized_h, g.image_h, g.pad_top, g.input_h, num_nodes);
}

struct MaskNode {
  int32_t node;  // at or before the pixel's centre
  float weight;  // of the next one
};

YOLOKKN_HD inline MaskNode mask_node(const MaskAxis& axis, int64_t pixel) noexcept {
  const double centre = static_cast<double>(pixel) + 0.5;
  const double position = (centre * axis.gain + axis.pad) * axis.nodes_per_input - 0.5;
  const double last = static_cast<double>(axis.num_nodes - 1);
  const double least = position > 0.0 ? position : 0.0;
  const double clamped = least < last ? least : last;
  const auto node = static_cast<int32_t>(clamped);
  return {node, static_cast<float>(clamped - static_cast<double>(node))};
}

// Between two nodes of one sign a sample keeps it, whatever the weight.
YOLOKKN_HD inline bool mask_bit(float left, float right, float weight) noexcept {
  if ((left > 0.0f) == (right > 0.0f)) return left > 0.0f;
  return (1.0f - weight) * left + weight * right > 0.0f;
}

// A crop's edge: the first pixel whose centre lies at or behind it, within 0 and size.
YOLOKKN_HD inline int32_t crop_edge(float edge, int64_t size) noexcept {
  const double wanted = static_cast<double>(edge) - 0.5;
  const double limit = static_cast<double>(size);
  if (!(wanted > 0.0)) return 0;
  if (wanted >= limit) return static_cast<int32_t>(size);
  const auto whole = static_cast<int32_t>(wanted);
  return whole + (static_cast<double>(whole) < wanted ? 1 : 0);
}

}  // namespace yolokkn
