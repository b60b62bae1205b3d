// How a frame lies inside a model's input, and the pass that puts it there. One owner of the geometry:
// yolokkn/geometry.py computes it.
#pragma once

#include <cstdint>
#include <span>

#include "yolokkn/views.h"

namespace yolokkn {

struct Letterbox {
  int64_t image_h, image_w;      // the frame
  int64_t input_h, input_w;      // the model's input
  int64_t resized_h, resized_w;  // the frame's content inside the input
  int64_t pad_top, pad_left;     // where that content begins
};

// What becomes of a pixel value: value * scale[c] + offset[c], c in the order of the output's planes.
struct LetterboxValues {
  float scale[3];
  float offset[3];
  bool swap_rb;       // plane 0 takes the image's channel 2
  uint8_t pad_value;  // what surrounds the content, before scale and offset
  bool keep_padding;  // leave what surrounds the content as it is: an earlier call wrote it
};

inline constexpr int64_t kLetterboxMaxSide = int64_t{1} << 16;
inline constexpr int64_t kLetterboxMaxPixels = int64_t{1} << 27;  // of the input

// Throws ValueError unless the geometry is one that letterbox() can follow; allocates nothing.
void check_letterbox(const Letterbox& geometry);

// Resizes (bilinear, half-pixel centres, edges clamped), pads, splits and scales in one pass: (H, W, 3) uint8 to
// out (3, input_h, input_w).
//
// The arithmetic is fixed point and the same on every instruction set. With d = below - above, the vertical step gives
// v = 128 * above + ((128 * d * wy + 2^14) >> 15), wy of 15 bits; the horizontal one s = v0 * (2^14 - wx) + v1 * wx,
// wx of 14 bits; the pixel's value is float(s) / 2^21. It lies within 0.02 of exact bilinear interpolation, on the
// scale of 0 to 255, and is exact where the weights are multiples of 2^-7 (no resize, and whole ratios 2:1, 3:1, 4:1
// ...).
void letterbox(ImageView image, const Letterbox& geometry, const LetterboxValues& values, std::span<float> out);

}  // namespace yolokkn
