// libFuzzer: bytes become boxes, scores and classes; the kept indices must be unique, finite and in order.
#include <cmath>
#include <cstring>

#include "yolokkn/nms.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kRow = 5 * sizeof(float) + 1;
  if (size < 2) return 0;
  const float iou_threshold = static_cast<float>(data[0]) / 255.0f;
  const int64_t max_detections = 1 + data[1];
  const size_t count = (size - 2) / kRow;
  std::vector<float> boxes(count * 4);
  std::vector<float> scores(count);
  std::vector<int32_t> class_ids(count);
  for (size_t i = 0; i < count; ++i) {
    const uint8_t* row = data + 2 + i * kRow;
    std::memcpy(&boxes[4 * i], row, 4 * sizeof(float));
    std::memcpy(&scores[i], row + 4 * sizeof(float), sizeof(float));
    class_ids[i] = static_cast<int8_t>(row[5 * sizeof(float)]);
  }
  const auto kept =
      yolokkn::nms({boxes.data(), static_cast<int64_t>(count), 4}, scores, class_ids, iou_threshold, max_detections);
  if (static_cast<int64_t>(kept.size()) > max_detections) __builtin_trap();
  for (size_t i = 0; i < kept.size(); ++i) {
    const auto row = static_cast<size_t>(kept[i]);
    if (row >= count || !std::isfinite(scores[row])) __builtin_trap();
    if (i == 0) continue;
    const auto before = static_cast<size_t>(kept[i - 1]);
    if (scores[before] < scores[row] || (scores[before] == scores[row] && before >= row)) __builtin_trap();
  }
  return 0;
}
