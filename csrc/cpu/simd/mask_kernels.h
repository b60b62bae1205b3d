// The hot loops of the masks: one table per instruction set.
#pragma once

#include <cstdint>

#include "../dispatch.h"

namespace yolokkn {

// Bytes that the kernels may write past the end of a row, and floats that they may read past the end of a table.
inline constexpr int64_t kMaskSlack = 64;

// The prototype positions that one mask needs.
struct NodeRegion {
  const float* prototypes;  // of the first plane, at the region's first position
  int64_t plane_stride;
  int64_t row_stride;
  int64_t planes;
  int64_t rows;
  int64_t cols;
};

// One row of a crop between two rows of node logits.
struct MaskRow {
  const float* upper;        // cols logits
  const float* lower;        // cols logits
  float lower_weight;        // of `lower`; `upper` has 1 - lower_weight
  int64_t cols;              // 1 or more
  const int32_t* cell_ends;  // (cols) first pixel, from the row's first, that lies beyond node c + 1 (or at it)
  const float* weights;      // (width + slack) of the right node, for each pixel
  int64_t width;             // pixels, 1 or more
  float* lerped;             // scratch, (cols + slack)
};

struct MaskKernels {
  // logits (rows, ld): sum over planes of coeffs x prototypes, in the order of the planes; 0 where it is not finite.
  // Writes whole vectors: up to 7 floats of anything behind a row, for which ld has room.
  void (*node_logits)(const NodeRegion& region, const float* coeffs, float* logits, int64_t ld) noexcept;
  // Writes width bytes, 0 or 1, and up to kMaskSlack bytes of anything behind them.
  void (*mask_row)(const MaskRow& row, uint8_t* out) noexcept;
  // Columns where one of two rows is zero and the other is not, ascending; returns how many.
  int64_t (*row_changes)(const uint8_t* upper, const uint8_t* lower, int64_t width, int32_t* columns) noexcept;
  // row ^= above, `width` bytes.
  void (*xor_row)(uint8_t* row, const uint8_t* above, int64_t width) noexcept;
  // to[i] = from[i] != 0.
  void (*copy_bits)(const uint8_t* from, int64_t count, uint8_t* to) noexcept;
  // First column at or after `begin` that is 1 and whose left neighbour is 0; width when there is none. row[-1] is
  // readable, and so are kMaskSlack bytes behind the row, which are 0.
  int64_t (*next_start)(const uint8_t* row, int64_t begin, int64_t width) noexcept;
};

namespace baseline {
extern const MaskKernels kMaskKernels;
}
#if defined(YOLOKKN_HAVE_AVX2)
namespace avx2 {
extern const MaskKernels kMaskKernels;
}
#endif

#if !defined(YOLOKKN_ISA)
inline const MaskKernels& mask_kernels() noexcept {
#if defined(YOLOKKN_HAVE_AVX2)
  if (active_isa() == Isa::kAvx2) return avx2::kMaskKernels;
#endif
  return baseline::kMaskKernels;
}
#endif

}  // namespace yolokkn
