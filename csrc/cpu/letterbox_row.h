// The letterbox's loop over one output row, compiled once per instruction set.
#pragma once

#include <cstdint>

namespace yolokkn {

enum class LetterboxKind {
  kPoint,   // odd whole ratio in both directions, 1:1 among them: one source pixel each
  kHalf,    // even whole ratio in both directions: the mean of four source pixels
  kDense,   // lerp whole source rows, then sample them
  kSparse,  // lerp only the source pixels that are sampled (every ratio beyond 3:1)
};

struct LetterboxPlan {
  LetterboxKind kind;
  int64_t columns;         // of the content
  int64_t width;           // of the image
  int64_t first, step;     // kPoint, kHalf: bytes to the left pixel of column 0, and from a column to the next
  const int32_t* offsets;  // kDense, kSparse: bytes into a source row of a column's left pixel; the pixel to its right
                           // lies in the row too, except in an image of one column
  const int16_t* weights;  // kDense, kSparse: of the left and right pixel, 2^14 together
  int16_t* lerped;         // kDense: room for 3 * width + kLerpedSlack values, the slack zero
  float scale[3];          // in the image's channel order, made for the integers of this kind
  float offset[3];
};

inline constexpr int64_t kLerpedSlack = 16;

struct LetterboxRow {
  const uint8_t* above;  // the two source rows
  const uint8_t* below;
  int weight;        // of the row below, in 2^-15
  float* planes[3];  // where the content of this output row begins, in the image's channel order
};

namespace baseline {
void letterbox_row(const LetterboxPlan& plan, const LetterboxRow& row) noexcept;
}
namespace avx2 {
void letterbox_row(const LetterboxPlan& plan, const LetterboxRow& row) noexcept;
}

}  // namespace yolokkn
