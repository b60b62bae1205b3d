#include "yolokkn/mask_shape.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include "yolokkn/error.h"

namespace yolokkn {
namespace {

constexpr int kSide = MaskShape::kSide;
constexpr double kCells = kSide * kSide;

// The centre of one of 16 equal parts of an interval.
double centre(double low, double length, int part) noexcept { return low + (part + 0.5) * (length / kSide); }

int cell(double value, double low, double length) noexcept {
  return std::clamp(static_cast<int>(std::floor((value - low) / length * kSide)), 0, kSide - 1);
}

MaskShape shape_of(const uint8_t* bitmap, const int32_t* crop, const float* box) noexcept {
  MaskShape shape;
  const double x1 = box[0], y1 = box[1];
  const double width = box[2] - x1, height = box[3] - y1;
  const int64_t stride = int64_t{crop[2]} - crop[0];
  for (int r = 0; r < kSide; ++r) {
    const double y = std::floor(centre(y1, height, r));
    if (!(y >= crop[1] && y < crop[3])) continue;
    const uint8_t* row = bitmap + (static_cast<int64_t>(y) - crop[1]) * stride;
    for (int c = 0; c < kSide; ++c) {
      const double x = std::floor(centre(x1, width, c));
      if (x >= crop[0] && x < crop[2] && row[static_cast<int64_t>(x) - crop[0]] != 0) {
        shape.rows[static_cast<size_t>(r)] |= static_cast<uint16_t>(1U << c);
      }
    }
  }
  return shape;
}

}  // namespace

bool MaskShape::empty() const noexcept {
  return std::all_of(rows.begin(), rows.end(), [](uint16_t row) { return row == 0; });
}

double MaskShape::share() const noexcept {
  int set = 0;
  for (const uint16_t row : rows) set += std::popcount(row);
  return set / kCells;
}

std::vector<MaskShape> mask_shapes(const char* function, const MasksView& masks, MatrixView<const float> boxes) {
  check_masks(function, masks);
  if (masks.crops.rows != boxes.rows) {
    fail(function, "masks must be one for each of the " + std::to_string(boxes.rows) + " boxes, got " +
                       std::to_string(masks.crops.rows));
  }
  std::vector<MaskShape> shapes;
  shapes.reserve(static_cast<size_t>(boxes.rows));
  const uint8_t* bitmap = masks.data.data();
  for (int64_t i = 0; i < boxes.rows; ++i) {
    const int32_t* crop = masks.crops.row(i);
    shapes.push_back(shape_of(bitmap, crop, boxes.row(i)));
    bitmap += (int64_t{crop[2]} - crop[0]) * (int64_t{crop[3]} - crop[1]);
  }
  return shapes;
}

double mask_iou(const CornerBox& a, const MaskShape& shape_a, const CornerBox& b, const MaskShape& shape_b) noexcept {
  const double left = std::max(a.x1, b.x1), top = std::max(a.y1, b.y1);
  const double width = std::min(a.x2, b.x2) - left, height = std::min(a.y2, b.y2) - top;
  if (!(width > 0.0 && height > 0.0)) return 0.0;
  const double aw = a.x2 - a.x1, ah = a.y2 - a.y1, bw = b.x2 - b.x1, bh = b.y2 - b.y1;
  std::array<int, kSide> columns_a{}, columns_b{};
  for (int c = 0; c < kSide; ++c) {
    const double x = centre(left, width, c);
    columns_a[static_cast<size_t>(c)] = cell(x, a.x1, aw);
    columns_b[static_cast<size_t>(c)] = cell(x, b.x1, bw);
  }
  int both = 0;
  for (int r = 0; r < kSide; ++r) {
    const double y = centre(top, height, r);
    const unsigned row_a = shape_a.rows[static_cast<size_t>(cell(y, a.y1, ah))];
    const unsigned row_b = shape_b.rows[static_cast<size_t>(cell(y, b.y1, bh))];
    if (row_a == 0 || row_b == 0) continue;
    for (size_t c = 0; c < kSide; ++c) both += static_cast<int>((row_a >> columns_a[c]) & (row_b >> columns_b[c]) & 1U);
  }
  const double area_a = shape_a.share() * (aw * ah), area_b = shape_b.share() * (bw * bh);
  const double shared = std::min({both / kCells * (width * height), area_a, area_b});
  const double joined = area_a + area_b - shared;
  return joined > 0.0 ? shared / joined : 0.0;
}

}  // namespace yolokkn
