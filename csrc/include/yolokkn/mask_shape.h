// Masks as trackers compare them: a coarse bitmap in the box of each, of one size whatever the mask's.
// Specification: yolokkn/tracking/reference/mask_shapes.py.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "yolokkn/kalman.h"
#include "yolokkn/masks.h"
#include "yolokkn/views.h"

namespace yolokkn {

struct MaskShape {
  static constexpr int kSide = 16;
  std::array<uint16_t, kSide> rows{};  // bit c of row r: the mask covers the centre of that cell of its box

  bool empty() const noexcept;
  double share() const noexcept;  // of the box that is covered
};

// The shape of each mask in its box, (N, 4) xyxy; empty where the box is not finite. Throws ValueError unless there is
// a mask for each box and every crop lies inside the frame.
std::vector<MaskShape> mask_shapes(const char* function, const MasksView& masks, MatrixView<const float> boxes);

// IoU of two masks, each laid into a box: by 16 x 16 samples of where the boxes overlap.
double mask_iou(const CornerBox& a, const MaskShape& shape_a, const CornerBox& b, const MaskShape& shape_b) noexcept;

}  // namespace yolokkn
