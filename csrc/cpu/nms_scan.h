// The hot loop of NMS, compiled once per instruction set (csrc/cpu/simd/nms_scan.cpp).
#pragma once

#include <cstdint>

#include "dispatch.h"
#include "yolokkn/box.h"

namespace yolokkn {

// Eight kept boxes of one class; lanes not in use hold empty boxes, which overlap nothing.
struct alignas(32) KeptChunk {
  float x1[8], y1[8], x2[8], y2[8], area[8];
  int32_t next;  // the class's next chunk, or -1
  int32_t used;
};

struct NmsScan {
  // Whether a kept box of the chain that begins at chunks[head] has an IoU with the box above the threshold: exactly
  // box_iou(kept, box) > threshold.
  bool (*overlaps)(const KeptChunk* chunks, int32_t head, Box box, float area, float threshold);
};

namespace baseline {
extern const NmsScan kNmsScan;
}
namespace avx2 {
extern const NmsScan kNmsScan;
}

inline const NmsScan& nms_scan() noexcept {
#if defined(YOLOKKN_HAVE_AVX2)
  if (active_isa() == Isa::kAvx2) return avx2::kNmsScan;
#endif
  return baseline::kNmsScan;
}

}  // namespace yolokkn
