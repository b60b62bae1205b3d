// The arithmetic of one value of the letterbox (letterbox.h says what it is), shared by the CPU and CUDA.
#pragma once

#include <cstdint>

#include "yolokkn/host_device.h"

namespace yolokkn {

inline constexpr int32_t kColumnWeight = 1 << 14;  // what a column's two weights sum to
inline constexpr int32_t kRowWeight = 1 << 15;     // what a row's two weights sum to; the lower one stays below it

// Where the centre of an output pixel lies between two source pixels.
struct LetterboxSample {
  int32_t left;    // the source pixel at or before it
  int32_t weight;  // of the next source pixel, 0 where there is none
};

// Output pixel `index` of `to`, among `from` source pixels; weights sum to `one`.
YOLOKKN_HD inline LetterboxSample letterbox_sample(int64_t index, int64_t from, int64_t to, int64_t one) noexcept {
  const int64_t numerator = (2 * index + 1) * from - to;  // over 2 * to
  if (numerator <= 0) return {0, 0};
  const int64_t left = numerator / (2 * to);
  if (left >= from - 1) return {static_cast<int32_t>(from - 1), 0};
  const int64_t weight = ((numerator - left * 2 * to) * one + to) / (2 * to);
  return {static_cast<int32_t>(left), static_cast<int32_t>(weight)};
}

// The same among rows; its weight fits 15 bits.
YOLOKKN_HD inline LetterboxSample letterbox_row_sample(int64_t index, int64_t from, int64_t to) noexcept {
  LetterboxSample sample = letterbox_sample(index, from, to, kRowWeight);
  if (sample.weight >= kRowWeight) sample.weight = kRowWeight - 1;
  return sample;
}

// A value between two rows, 128 times as large as a pixel.
YOLOKKN_HD inline int lerp_rows(int above, int below, int weight) noexcept {
  return above * 128 + (((below - above) * 128 * weight + (1 << 14)) >> 15);
}

// A value between two columns of such, 2^21 times as large as a pixel.
YOLOKKN_HD inline int lerp_columns(int left, int right, int weight) noexcept {
  return left * (kColumnWeight - weight) + right * weight;
}

}  // namespace yolokkn
