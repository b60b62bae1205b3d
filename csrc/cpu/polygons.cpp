// Outermost borders of the components of a mask, by border following: S. Suzuki and K. Abe, "Topological structural
// analysis of digitized binary images by border following", CVGIP 30 (1985), its second algorithm (outermost borders
// only).
#include <algorithm>
#include <cstring>

#include "simd/mask_kernels.h"
#include "yolokkn/masks.h"

namespace yolokkn {
namespace {

// Values of the working image: 0 outside, 1 inside and not on a followed border, else on one; kExit where the pixel to
// its right was seen to lie outside the component.
constexpr uint8_t kBorder = 2;
constexpr uint8_t kExit = 3;

// The 8 neighbours, counter-clockwise on the screen (y down) from the right one.
constexpr int kStepX[8] = {1, 1, 0, -1, -1, -1, 0, 1};
constexpr int kStepY[8] = {0, -1, -1, -1, 0, 1, 1, 1};
constexpr int kLeft = 4;

class BorderTracer {
 public:
  explicit BorderTracer(Polygons& polygons) : polygons_(polygons) {}

  void trace(const int32_t* crop, const uint8_t* data) {
    const int64_t width = crop[2] - crop[0];
    const int64_t height = crop[3] - crop[1];
    load(data, width, height);
    for (int64_t y = 0; y < height; ++y) {
      uint8_t* row = pixels_.data() + (y + 1) * stride_ + 1;
      bool in_hole = false;
      int64_t seen = 0;
      for (int64_t x = kernels_.next_start(row, 0, width); x < width; x = kernels_.next_start(row, x + 1, width)) {
        for (; seen < x; ++seen) in_hole = row[seen] > 1 ? row[seen] == kBorder : in_hole;
        if (!in_hole) follow(row + x, static_cast<int32_t>(crop[0] + x), static_cast<int32_t>(crop[1] + y));
      }
    }
  }

 private:
  // The mask with a margin of zeros on every side, wide enough for the kernels to read over.
  void load(const uint8_t* data, int64_t width, int64_t height) {
    stride_ = width + 1 + kMaskSlack;
    pixels_.resize(std::max(pixels_.size(), static_cast<size_t>(stride_ * (height + 2) + 1)));
    std::memset(pixels_.data(), 0, static_cast<size_t>(stride_ + 1));
    for (int64_t y = 0; y < height; ++y) {
      uint8_t* row = pixels_.data() + (y + 1) * stride_ + 1;
      kernels_.copy_bits(data + y * width, width, row);
      std::memset(row + width, 0, static_cast<size_t>(stride_ - width));
    }
    std::memset(pixels_.data() + (height + 1) * stride_ + 1, 0, static_cast<size_t>(stride_));
    for (int d = 0; d < 16; ++d) offsets_[d] = kStepY[d % 8] * stride_ + kStepX[d % 8];
  }

  void follow(uint8_t* start, int32_t x, int32_t y) {
    int back = kLeft;  // clockwise from the left neighbour: the border's last pixel before it closes
    do {
      back = (back + 7) % 8;
    } while (back != kLeft && start[offsets_[back]] == 0);
    if (back == kLeft) {
      *start = kExit;
      polygons_.points.push_back({x, y});
    } else {
      walk(start, back, x, y);
    }
    polygons_.starts.push_back(static_cast<int64_t>(polygons_.points.size()));
  }

  // Goes round with the outside on the right hand; `back` points from the current pixel to the one before it.
  void walk(uint8_t* start, int back, int32_t x, int32_t y) {
    const uint8_t* last = start + offsets_[back];
    uint8_t* here = start;
    int came = (back + 4) % 8;  // direction of the step that led here
    while (true) {
      int next = back + 1;
      while (here[offsets_[next]] == 0) ++next;
      const bool exits = next > 8;  // the right neighbour was looked at and is outside
      if (exits) {
        *here = kExit;
      } else if (*here == 1) {
        *here = kBorder;
      }
      const int step = next % 8;
      if (step != came) polygons_.points.push_back({x, y});
      uint8_t* following = here + offsets_[step];
      if (following == start && here == last) return;
      x += kStepX[step];
      y += kStepY[step];
      here = following;
      came = step;
      back = (step + 4) % 8;
    }
  }

  Polygons& polygons_;
  const MaskKernels& kernels_ = mask_kernels();
  std::vector<uint8_t> pixels_;
  int64_t stride_ = 0;
  int64_t offsets_[16] = {};
};

}  // namespace

Polygons mask_polygons(const MasksView& masks) {
  check_masks("mask_polygons", masks);
  Polygons polygons;
  BorderTracer tracer(polygons);
  const uint8_t* data = masks.data.data();
  for (int64_t n = 0; n < masks.crops.rows; ++n) {
    const int32_t* crop = masks.crops.row(n);
    const int64_t area = (int64_t{crop[2]} - crop[0]) * (int64_t{crop[3]} - crop[1]);
    if (area > 0) tracer.trace(crop, data);
    data += area;
    polygons.first.push_back(static_cast<int64_t>(polygons.starts.size()) - 1);
  }
  return polygons;
}

}  // namespace yolokkn
