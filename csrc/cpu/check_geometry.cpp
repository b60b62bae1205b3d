// Whether a Letterbox is one that the kernels of the CPU and the GPU can follow.
#include <string>

#include "yolokkn/error.h"
#include "yolokkn/letterbox.h"
#include "yolokkn/masks.h"

namespace yolokkn {
namespace {

constexpr char kName[] = "letterbox";

std::string pair_text(int64_t h, int64_t w) {
  std::string text = "(";
  text += std::to_string(h) + ", " + std::to_string(w);
  return text += ")";
}

void check_sides(const char* field, int64_t h, int64_t w) {
  if (h >= 1 && w >= 1 && h <= kLetterboxMaxSide && w <= kLetterboxMaxSide) return;
  fail(kName, std::string("geometry must have ") + field + " from 1 to " + std::to_string(kLetterboxMaxSide) +
                  " in both, got " + pair_text(h, w));
}

}  // namespace

void check_letterbox(const Letterbox& g) {
  check_sides("image_hw", g.image_h, g.image_w);
  check_sides("input_hw", g.input_h, g.input_w);
  check_sides("resized_hw", g.resized_h, g.resized_w);
  if (g.input_h * g.input_w > kLetterboxMaxPixels) {
    fail(kName, "geometry must have an input_hw of at most " + std::to_string(kLetterboxMaxPixels) + " pixels, got " +
                    pair_text(g.input_h, g.input_w));
  }
  if (g.pad_top < 0 || g.pad_left < 0 || g.pad_top > g.input_h - g.resized_h || g.pad_left > g.input_w - g.resized_w) {
    fail(kName, "geometry must place the content inside the input, got resized_hw " +
                    pair_text(g.resized_h, g.resized_w) + " at pad_top, pad_left " + pair_text(g.pad_top, g.pad_left) +
                    " in input_hw " + pair_text(g.input_h, g.input_w));
  }
}

void check_mask_geometry(const Letterbox& g) {
  const auto limit = int64_t{1} << 30;
  if (g.image_h >= limit || g.image_w >= limit) {
    fail("assemble_masks", "geometry must have an image below 2**30 pixels a side, got " + std::to_string(g.image_h) +
                               "x" + std::to_string(g.image_w));
  }
  if (g.image_h < 1 || g.image_w < 1 || g.input_h < 1 || g.input_w < 1 || g.resized_h < 1 || g.resized_w < 1) {
    fail("assemble_masks", "geometry must have sizes of 1 or more, got image " + std::to_string(g.image_h) + "x" +
                               std::to_string(g.image_w) + ", input " + std::to_string(g.input_h) + "x" +
                               std::to_string(g.input_w) + ", resized " + std::to_string(g.resized_h) + "x" +
                               std::to_string(g.resized_w));
  }
}

}  // namespace yolokkn
