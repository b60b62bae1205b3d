// One pixel of NV12 as BGR, in fixed point: the same on the CPU and the GPU. The matrices follow from the primaries'
// weights in ITU-R BT.601 and BT.709.
#pragma once

#include <cstdint>

#include "yolokkn/host_device.h"

namespace yolokkn {

// In 2^-16.
struct YuvMatrix {
  int32_t black;  // of luma
  int32_t luma;
  int32_t red_v, green_u, green_v, blue_u;
};

inline YuvMatrix yuv_matrix(bool bt709, bool full_range) noexcept {
  const double kr = bt709 ? 0.2126 : 0.299;
  const double kb = bt709 ? 0.0722 : 0.114;
  const double kg = 1.0 - kr - kb;
  const double luma = full_range ? 1.0 : 255.0 / 219.0;
  const double chroma = full_range ? 1.0 : 255.0 / 224.0;
  const auto fixed = [](double value) {
    return static_cast<int32_t>(value < 0.0 ? value * 65536.0 - 0.5 : value * 65536.0 + 0.5);
  };
  return {full_range ? 0 : 16,
          fixed(luma),
          fixed(2.0 * (1.0 - kr) * chroma),
          fixed(-2.0 * (1.0 - kb) * kb / kg * chroma),
          fixed(-2.0 * (1.0 - kr) * kr / kg * chroma),
          fixed(2.0 * (1.0 - kb) * chroma)};
}

struct Bgr {
  int b, g, r;
};

YOLOKKN_HD inline int clamp_byte(int value) noexcept { return value < 0 ? 0 : (value > 255 ? 255 : value); }

YOLOKKN_HD inline Bgr yuv_to_bgr(const YuvMatrix& m, int y, int u, int v) noexcept {
  const int luma = (y - m.black) * m.luma + (1 << 15);
  const int du = u - 128, dv = v - 128;
  return {clamp_byte((luma + m.blue_u * du) >> 16), clamp_byte((luma + m.green_u * du + m.green_v * dv) >> 16),
          clamp_byte((luma + m.red_v * dv) >> 16)};
}

}  // namespace yolokkn
