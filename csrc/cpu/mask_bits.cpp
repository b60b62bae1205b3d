// Bitmaps from bits: what the GPU hands over is packed, what the rest of the package looks at is a byte a pixel.
#include <array>
#include <cstring>
#include <string>

#include "yolokkn/error.h"
#include "yolokkn/masks.h"

namespace yolokkn {
namespace {

// Eight bits as eight bytes of 0 and 1, the lowest bit first.
constexpr std::array<std::array<uint8_t, 8>, 256> kBytesOfBits = [] {
  std::array<std::array<uint8_t, 8>, 256> table{};
  for (size_t bits = 0; bits < 256; ++bits) {
    for (size_t i = 0; i < 8; ++i) table[bits][i] = static_cast<uint8_t>(bits >> i & 1);
  }
  return table;
}();

void unpack_row(const uint32_t* words, int64_t width, uint8_t* out) noexcept {
  int64_t x = 0;
  for (; x + 8 <= width; x += 8) std::memcpy(out + x, kBytesOfBits[words[x / 32] >> (x % 32) & 0xff].data(), 8);
  for (; x < width; ++x) out[x] = static_cast<uint8_t>(words[x / 32] >> (x % 32) & 1);
}

}  // namespace

void unpack_masks(std::span<const uint32_t> bits, std::span<const int32_t> starts, MatrixView<const int32_t> crops,
                  std::span<uint8_t> out) {
  uint8_t* to = out.data();
  for (int64_t n = 0; n < crops.rows; ++n) {
    const int32_t* crop = crops.data + 4 * n;
    const int64_t width = int64_t{crop[2]} - crop[0], height = int64_t{crop[3]} - crop[1];
    if (width < 1 || height < 1) continue;
    const int64_t words = (width + 31) / 32, first = starts[static_cast<size_t>(n)];
    if (first < 0 || first + words * height > static_cast<int64_t>(bits.size())) {
      fail("unpack_masks", "starts must lie within the bits, got " + std::to_string(first) + " for mask " +
                               std::to_string(n) + " of " + std::to_string(words * height) + " words among " +
                               std::to_string(bits.size()));
    }
    for (int64_t y = 0; y < height; ++y, to += width) unpack_row(bits.data() + first + y * words, width, to);
  }
}

}  // namespace yolokkn
