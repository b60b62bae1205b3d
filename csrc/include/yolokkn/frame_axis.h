// One axis of the way from input pixels back to the frame's: shared by the CPU and CUDA.
#pragma once

#include <cstdint>

#include "yolokkn/host_device.h"

namespace yolokkn {

struct FrameAxis {
  float pad, gain, limit;

  // NaN stays NaN, as in NumPy's clip.
  YOLOKKN_HD float inverse(float value, bool clip) const noexcept {
    const float out = (value - pad) / gain;
    if (!clip) return out;
    return out < 0.0f ? 0.0f : (out > limit ? limit : out);
  }
};

inline FrameAxis frame_axis(int64_t pad, int64_t resized, int64_t image) noexcept {
  return {static_cast<float>(pad), static_cast<float>(static_cast<double>(resized) / static_cast<double>(image)),
          static_cast<float>(image)};
}

}  // namespace yolokkn
