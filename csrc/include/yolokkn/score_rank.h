// Scores as integers whose ascending order is the descending order of the scores: shared by the CPU and CUDA.
#pragma once

#include <bit>
#include <cstdint>

#include "yolokkn/host_device.h"

namespace yolokkn {

// -0 equals 0. The score must be a number.
YOLOKKN_HD inline uint32_t score_rank(float score) noexcept {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);
  return (bits & 0x80000000u) != 0 ? bits : ~(bits | 0x80000000u);
}

YOLOKKN_HD inline float score_of_rank(uint32_t rank) noexcept {
  return std::bit_cast<float>((rank & 0x80000000u) != 0 ? rank : ~rank & 0x7fffffffu);
}

// The order of NMS: the better score, then the lower index.
YOLOKKN_HD inline uint64_t score_key(float score, uint32_t index) noexcept {
  return uint64_t{score_rank(score)} << 32 | index;
}

}  // namespace yolokkn
