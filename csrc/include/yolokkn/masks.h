// Instance masks: assembled from prototypes into bitmaps cropped to their boxes, written as COCO run lengths, traced
// into polygons, painted at the size of the frame.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "yolokkn/letterbox.h"
#include "yolokkn/views.h"

namespace yolokkn {

// (count, height, width) float32, dense.
struct PrototypesView {
  const float* data = nullptr;
  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// Bitmaps one after the other, each row-major and cropped: crops (N, 4) x1, y1, x2, y2 with x2 and y2 exclusive.
struct MasksView {
  std::span<const uint8_t> data;
  MatrixView<const int32_t> crops;
  int64_t frame_h = 0;
  int64_t frame_w = 0;
};

// Throws ValueError unless the sizes are 1 or more and the frame's below 2**30.
void check_mask_geometry(const Letterbox& geometry);

// Throws ValueError unless every crop lies inside the frame, ordered, and the data is exactly as long as the crops.
void check_masks(const char* function, const MasksView& masks);

// The pixels whose centres lie inside each box, (N, 4) xyxy in frame pixels, clipped to the frame; 0 0 0 0 where there
// are none or the box is not finite. Returns the sum of the crops' areas.
int64_t mask_crops(MatrixView<const float> boxes, int64_t frame_h, int64_t frame_w, MatrixView<int32_t> crops) noexcept;

// Sets each pixel of the crops to 1 where the bilinear sample of coeffs (N, P) x prototypes (P, h, w) at the pixel's
// centre is above 0. `out` holds the crops' areas, in the crops' order.
void assemble_masks(MatrixView<const float> coeffs, PrototypesView prototypes, MatrixView<const int32_t> crops,
                    const Letterbox& geometry, std::span<uint8_t> out);

// Bitmaps from packed ones: mask n has the words from starts[n] on, row after row of its crop, the leftmost pixel in
// bit 0 of a row's first word. `out` holds the crops' areas. Throws ValueError where a mask would leave the words.
void unpack_masks(std::span<const uint32_t> bits, std::span<const int32_t> starts, MatrixView<const int32_t> crops,
                  std::span<uint8_t> out);

// Paints every mask into its own frame: out (N, frame_h, frame_w), 0 or 1.
void paint_masks(const MasksView& masks, std::span<uint8_t> out) noexcept;

// COCO's compressed run lengths (column-major) of one mask after the other.
std::vector<std::string> encode_rle(const MasksView& masks);

// Run lengths from COCO's compressed string. Throws ValueError when it is malformed; `name` says which in the message.
std::vector<int64_t> parse_rle(std::string_view text, const std::string& name);

struct DecodedMasks {
  std::vector<uint8_t> data;
  std::vector<int32_t> crops;  // (N, 4), each the tight bounding box of the set pixels
};

// Masks from run lengths, column-major, the first one of zeros. Throws ValueError unless each list sums to the frame.
DecodedMasks decode_rle(const std::vector<std::vector<int64_t>>& runs, int64_t frame_h, int64_t frame_w);

// Contours of all masks: points x, y in frame pixels; contour c has points [starts[c], starts[c + 1]); mask n has
// contours [first[n], first[n + 1]).
struct Polygons {
  std::vector<std::array<int32_t, 2>> points;
  std::vector<int64_t> starts{0};
  std::vector<int64_t> first{0};
};

// Outermost outer borders of the 8-connected components, corners only.
Polygons mask_polygons(const MasksView& masks);

}  // namespace yolokkn
