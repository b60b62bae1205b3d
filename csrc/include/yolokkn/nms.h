// Greedy non-maximum suppression.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "yolokkn/views.h"

namespace yolokkn {

// boxes (N, 4) xyxy, scores (N,), class_ids (N,) or empty for class-agnostic suppression -> indices of the kept boxes
// by descending score; ties keep input order. A box is suppressed when its IoU with a kept box of its class is strictly
// greater than iou_threshold. Rows with NaN or infinity are never kept.
std::vector<int64_t> nms(MatrixView<const float> boxes, std::span<const float> scores,
                         std::span<const int32_t> class_ids, float iou_threshold, int64_t max_detections);

}  // namespace yolokkn
