#include "yolokkn/nms.h"

#include <algorithm>
#include <cmath>

#include "candidate_list.h"
#include "yolokkn/box.h"

namespace yolokkn {

std::vector<int64_t> nms(MatrixView<const float> boxes, std::span<const float> scores,
                         std::span<const int32_t> class_ids, float iou_threshold, int64_t max_detections) {
  const auto box_at = [&](int64_t i) {
    const float* b = boxes.row(i);
    return Box{b[0], b[1], b[2], b[3]};
  };
  std::vector<int64_t> order;
  for (int64_t i = 0; i < boxes.rows; ++i) {
    if (is_finite(box_at(i)) && std::isfinite(scores[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<int64_t> kept;
  for (const int64_t i : order) {
    if (static_cast<int64_t>(kept.size()) == max_detections) break;
    const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](int64_t k) {
      return (class_ids.empty() || class_ids[k] == class_ids[i]) && box_iou(box_at(k), box_at(i)) > iou_threshold;
    });
    if (!suppressed) kept.push_back(i);
  }
  return kept;
}

}  // namespace yolokkn
