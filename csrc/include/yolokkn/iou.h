// Intersection over union of every pair of two sets of boxes.
#pragma once

#include "yolokkn/views.h"

namespace yolokkn {

// a (N, 4), b (M, 4) xyxy -> out (N, M).
void pairwise_iou(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> out) noexcept;

}  // namespace yolokkn
