// The hot loops of the decoders, compiled once per instruction set (csrc/cpu/simd/decode_scan.cpp). Scores above the
// threshold are looked for by !(score <= threshold), which NaN passes too; "bad" is a score that is NaN or +infinity.
#pragma once

#include <cstdint>

#include "dispatch.h"

namespace yolokkn {

inline constexpr int64_t kLanes = 8;         // anchors side by side in one group of columns
inline constexpr int64_t kScanBlock = 1024;  // the widest scan

// Rows of scores, one per class: the score of class c at lane i is data[c * stride + i].
struct ClassRows {
  const float* data;
  int64_t stride;
  const int32_t* classes;  // ascending
  int64_t count;
};

struct DecodeScan {
  // Bit i % 8 of flags[i / 8]: a class of lane i is not at most the threshold. Width: a multiple of 8 up to kScanBlock.
  void (*flag_columns)(const ClassRows& rows, int64_t width, float threshold, uint8_t* flags);
  // The best score and its class (the lowest id of equals; -infinity and -1 where none is above it) of each of 8 lanes;
  // returns the bits of the bad lanes.
  uint32_t (*best_of_columns)(const ClassRows& rows, float* best, int32_t* best_class);
  // Bit i of bits[lane * words + i / 32]: position i of `classes` is above the threshold in that lane; words covers all
  // classes. Returns the bits of the bad lanes.
  uint32_t (*labels_of_columns)(const ClassRows& rows, float threshold, uint32_t* bits, int64_t words);
  // The best of factor * scores[0 .. count) of one anchor and its class (-1 where none is above -infinity); returns
  // whether one is bad.
  bool (*best_of_row)(const float* scores, int64_t count, float factor, float* best, int32_t* best_class);
  // Bit i of bits[i / 32]: factor * scores[i] is above the threshold. Returns whether one is bad.
  bool (*labels_of_row)(const float* scores, int64_t count, float factor, float threshold, uint32_t* bits);
};

namespace baseline {
extern const DecodeScan kDecodeScan;
}
namespace avx2 {
extern const DecodeScan kDecodeScan;
}

inline const DecodeScan& decode_scan() noexcept {
#if defined(YOLOKKN_HAVE_AVX2)
  if (active_isa() == Isa::kAvx2) return avx2::kDecodeScan;
#endif
  return baseline::kDecodeScan;
}

}  // namespace yolokkn
