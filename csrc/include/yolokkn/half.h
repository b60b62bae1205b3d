// IEEE half precision as its 16 bits, the same on every machine and on the GPU.
#pragma once

#include <bit>
#include <cstdint>

#include "yolokkn/host_device.h"

namespace yolokkn {

struct Half {
  uint16_t bits;
};

YOLOKKN_HD inline float to_float(Half half) noexcept {
  const uint32_t sign = static_cast<uint32_t>(half.bits & 0x8000u) << 16;
  const uint32_t rest = static_cast<uint32_t>(half.bits & 0x7fffu);
  if (rest >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((rest & 0x3ffu) << 13));
  // the exponent's bias is mended by a multiplication, which is exact and brings the subnormals right
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(std::bit_cast<float>(rest << 13) * 0x1p112f));
}

YOLOKKN_HD inline float to_float(float value) noexcept { return value; }

// Rounds half to even; beyond 65504 infinity; NaN stays NaN.
YOLOKKN_HD inline Half to_half(float value) noexcept {
  const uint32_t all = std::bit_cast<uint32_t>(value);
  const uint32_t sign = all >> 16 & 0x8000u;
  const uint32_t rest = all & 0x7fffffffu;
  if (rest > 0x7f800000u) return {static_cast<uint16_t>(sign | 0x7e00u)};
  if (rest >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};
  if (rest < 0x38800000u) {  // subnormal: 0.5 puts the unit of a half's subnormals at the last place of a float
    const float shifted = std::bit_cast<float>(rest) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u))};
  }
  const uint32_t rounded = rest + 0xfffu + (rest >> 13 & 1u);
  return {static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace yolokkn
