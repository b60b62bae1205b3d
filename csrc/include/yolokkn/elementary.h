// exp and sigmoid in float32 by fixed steps (no library call, no contraction), so that every instruction set, the GPU
// and the NumPy reference give the same bytes.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "yolokkn/host_device.h"

namespace yolokkn {

// e**x within 2 ulp: inf above 88.72283, 0 below -87.33654, NaN stays NaN. Reduction by n ln 2, Taylor to the 7th.
YOLOKKN_HD inline float exp_f32(float x) noexcept {
  if (!(x >= -87.33654f)) return x != x ? x : 0.0f;
  if (x > 88.72283f) return std::numeric_limits<float>::infinity();
  const float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;  // rounds to the nearest integer, half to even
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040.0f;
  p = p * r + 1.0f / 720.0f;
  p = p * r + 1.0f / 120.0f;
  p = p * r + 1.0f / 24.0f;
  p = p * r + 1.0f / 6.0f;
  p = p * r + 0.5f;
  const float y = (p * r) * r + r + 1.0f;
  const int32_t exponent = static_cast<int32_t>(n);
  const int32_t half = exponent >> 1;  // two steps: 2**128 is no float
  const float low = std::bit_cast<float>((half + 127) << 23);
  const float high = std::bit_cast<float>((exponent - half + 127) << 23);
  return y * low * high;
}

YOLOKKN_HD inline float sigmoid(float x) noexcept { return 1.0f / (1.0f + exp_f32(-x)); }

// log(1 + e**x), in double: what the libraries differ by is lost in the rounding.
YOLOKKN_HD inline float softplus(float x) noexcept {
  const double value = static_cast<double>(x);
  return static_cast<float>((value > 0.0 ? value : 0.0) + std::log1p(std::exp(-std::fabs(value))));
}

}  // namespace yolokkn
