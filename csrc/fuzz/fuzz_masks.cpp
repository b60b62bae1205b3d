// Any bytes as compressed run lengths, and as the numbers of a scene: no crash, and what decodes encodes again to the
// same pixels.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "yolokkn/error.h"
#include "yolokkn/masks.h"

namespace {

using namespace yolokkn;

void fuzz_runs(const uint8_t* data, size_t size) {
  const int64_t frame_h = data[0] % 64, frame_w = data[1] % 64;
  const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
  std::vector<std::vector<int64_t>> runs(1);
  try {
    runs[0] = parse_rle(text, "text");
    const DecodedMasks masks = decode_rle(runs, frame_h, frame_w);
    const MasksView view{masks.data, {masks.crops.data(), 1, 4}, frame_h, frame_w};
    mask_polygons(view);
    const std::vector<std::vector<int64_t>> again{parse_rle(encode_rle(view)[0], "text")};
    const DecodedMasks twice = decode_rle(again, frame_h, frame_w);
    if (twice.data != masks.data || twice.crops != masks.crops) std::abort();
  } catch (const ValueError&) {
    return;
  }
}

void fuzz_scene(const uint8_t* data, size_t size) {
  float numbers[64] = {};
  std::memcpy(numbers, data + 8, size - 8 < sizeof(numbers) ? size - 8 : sizeof(numbers));
  const Letterbox geometry{data[0] % 64, data[1] % 64, data[2] % 64,  data[3] % 64,
                           data[4] % 64, data[5] % 64, data[6] - 128, data[7] - 128};
  std::vector<int32_t> crops(16);
  const std::vector<float> boxes(numbers, numbers + 16), coeffs(numbers + 16, numbers + 24);
  const std::vector<float> planes(numbers + 24, numbers + 64);
  try {
    check_mask_geometry(geometry);
    const int64_t total = mask_crops({boxes.data(), 4, 4}, geometry.image_h, geometry.image_w, {crops.data(), 4, 4});
    std::vector<uint8_t> bitmaps(static_cast<size_t>(total));
    assemble_masks({coeffs.data(), 4, 2}, {planes.data(), 2, 2, 10}, {crops.data(), 4, 4}, geometry, bitmaps);
    const MasksView view{bitmaps, {crops.data(), 4, 4}, geometry.image_h, geometry.image_w};
    encode_rle(view);
    mask_polygons(view);
  } catch (const ValueError&) {
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 10) return 0;
  if (data[size - 1] % 2 == 0) {
    fuzz_runs(data, size - 1);
  } else {
    fuzz_scene(data, size - 1);
  }
  return 0;
}
