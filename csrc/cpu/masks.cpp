#include "yolokkn/masks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "simd/mask_kernels.h"
#include "yolokkn/error.h"
#include "yolokkn/mask_sample.h"

namespace yolokkn {
namespace {

constexpr int64_t kLargestTotal = int64_t{1} << 61;

constexpr int64_t kGroupNodes = int64_t{1} << 17;  // logits of the masks that are computed together
constexpr int64_t kBandRows = 16;                  // rows of the prototypes that stay in the cache meanwhile

struct Span {
  int64_t begin = 0;
  int64_t end = 0;
};

// Where the pixels [begin, end) of one axis lie between the prototype's positions.
struct Axis {
  int64_t begin = 0;
  std::vector<int32_t> node;      // of each pixel: the position at or before it
  std::vector<float> weight;      // of each pixel: of the position behind that; padded
  std::vector<int32_t> cell_end;  // of each position: the first pixel that lies at or behind the next position

  int32_t node_of(int64_t pixel) const noexcept { return node[static_cast<size_t>(pixel - begin)]; }
};

Axis place_axis(Span pixels, const MaskAxis& place) {
  Axis axis{pixels.begin, {}, {}, std::vector<int32_t>(static_cast<size_t>(place.num_nodes), 0)};
  const auto count = static_cast<size_t>(pixels.end - pixels.begin);
  axis.node.resize(count);
  axis.weight.resize(count + kMaskSlack, 0.0f);
  for (size_t i = 0; i < count; ++i) {
    const MaskNode at = mask_node(place, pixels.begin + static_cast<int64_t>(i));
    axis.node[i] = at.node;
    axis.weight[i] = at.weight;
    axis.cell_end[static_cast<size_t>(axis.node[i])] = static_cast<int32_t>(pixels.begin + static_cast<int64_t>(i) + 1);
  }
  auto last = static_cast<int32_t>(pixels.begin);
  for (int32_t& end : axis.cell_end) last = end = std::max(end, last);
  return axis;
}

// The smallest range that holds a side of every crop; side 0 is x, 1 is y.
Span hull(MatrixView<const int32_t> crops, int side) noexcept {
  Span range;
  for (int64_t n = 0; n < crops.rows; ++n) {
    const int32_t* crop = crops.row(n);
    if (crop[2] <= crop[0] || crop[3] <= crop[1]) continue;
    const bool first = range.begin == range.end;
    range.begin = first ? crop[side] : std::min<int64_t>(range.begin, crop[side]);
    range.end = first ? crop[side + 2] : std::max<int64_t>(range.end, crop[side + 2]);
  }
  return range;
}

// Assembles masks; owns the scratch memory that they share.
class Assembler {
 public:
  Assembler(PrototypesView prototypes, MatrixView<const int32_t> crops, const Letterbox& g, const uint8_t* end)
      : prototypes_(prototypes), end_(end) {
    x_ = place_axis(hull(crops, 0), mask_axis_x(g, prototypes.width));
    y_ = place_axis(hull(crops, 1), mask_axis_y(g, prototypes.height));
    lerped_.resize(static_cast<size_t>(prototypes.width + kMaskSlack));
    cell_ends_.resize(static_cast<size_t>(prototypes.width));
    row_.resize(x_.node.size() + kMaskSlack);
  }

  // Masks go in groups whose logits fit into `kGroupNodes`; a mask that is larger makes a group of its own.
  void assemble(MatrixView<const float> coeffs, MatrixView<const int32_t> crops, uint8_t* out) {
    for (int64_t n = 0; n < crops.rows;) {
      group_.clear();
      int64_t nodes = 0;
      for (; n < crops.rows && nodes < kGroupNodes; ++n) {
        const int32_t* crop = crops.row(n);
        if (crop[2] <= crop[0] || crop[3] <= crop[1]) continue;
        group_.push_back(place(crop, coeffs.row(n), nodes));
        nodes += group_.back().rows * group_.back().ld;
      }
      logits_.resize(std::max(logits_.size(), static_cast<size_t>(nodes)));
      compute_logits();
      for (const Placed& mask : group_) out = paint(mask, out);
    }
  }

 private:
  // The prototype positions of one mask, and where its logits lie.
  struct Placed {
    const int32_t* crop;
    const float* coeffs;
    int64_t left, top, rows, cols, ld, offset;
  };

  Placed place(const int32_t* crop, const float* coeffs, int64_t offset) const noexcept {
    const int64_t left = x_.node_of(crop[0]);
    const int64_t right = std::min<int64_t>(x_.node_of(crop[2] - 1) + 1, prototypes_.width - 1);
    const int64_t top = y_.node_of(crop[1]);
    const int64_t bottom = std::min<int64_t>(y_.node_of(crop[3] - 1) + 1, prototypes_.height - 1);
    const int64_t cols = right - left + 1;
    return {crop, coeffs, left, top, bottom - top + 1, cols, (cols + 15) / 8 * 8, offset};
  }

  // Band by band of the prototypes, so that masks that lie beside or over each other read them from the cache.
  void compute_logits() noexcept {
    for (int64_t band = 0; band < prototypes_.height; band += kBandRows) {
      for (const Placed& mask : group_) {
        const int64_t begin = std::max(band, mask.top);
        const int64_t end = std::min(band + kBandRows, mask.top + mask.rows);
        if (begin >= end) continue;
        const NodeRegion region{prototypes_.data + begin * prototypes_.width + mask.left,
                                prototypes_.height * prototypes_.width,
                                prototypes_.width,
                                prototypes_.count,
                                end - begin,
                                mask.cols};
        float* logits = logits_.data() + mask.offset + (begin - mask.top) * mask.ld;
        kernels_.node_logits(region, mask.coeffs, logits, mask.ld);
      }
    }
  }

  uint8_t* paint(const Placed& mask, uint8_t* out) noexcept {
    const int32_t* crop = mask.crop;
    for (int64_t c = 0; c < mask.cols; ++c) {
      const int32_t end = x_.cell_end[static_cast<size_t>(mask.left + c)];
      cell_ends_[static_cast<size_t>(c)] = std::clamp(end, crop[0], crop[2]) - crop[0];
    }
    const int64_t width = crop[2] - crop[0];
    const float* logits = logits_.data() + mask.offset;
    for (int64_t y = crop[1]; y < crop[3]; ++y, out += width) {
      const int64_t above = y_.node_of(y) - mask.top;
      const int64_t below = std::min(above + 1, mask.rows - 1);
      const float lower_weight = y_.weight[static_cast<size_t>(y - y_.begin)];
      const float* weights = x_.weight.data() + (crop[0] - x_.begin);
      const MaskRow row{logits + above * mask.ld,
                        logits + below * mask.ld,
                        lower_weight,
                        mask.cols,
                        cell_ends_.data(),
                        weights,
                        width,
                        lerped_.data()};
      if (end_ - out >= width + kMaskSlack) {
        kernels_.mask_row(row, out);
      } else {
        kernels_.mask_row(row, row_.data());
        std::memcpy(out, row_.data(), static_cast<size_t>(width));
      }
    }
    return out;
  }

  PrototypesView prototypes_;
  const uint8_t* end_;
  Axis x_, y_;
  std::vector<Placed> group_;
  std::vector<float> logits_, lerped_;
  std::vector<int32_t> cell_ends_;
  std::vector<uint8_t> row_;
  const MaskKernels& kernels_ = mask_kernels();
};

}  // namespace

void check_masks(const char* function, const MasksView& masks) {
  const auto limit = int64_t{1} << 31;
  if (masks.frame_h < 0 || masks.frame_w < 0 || masks.frame_h >= limit || masks.frame_w >= limit) {
    fail(function, "masks.frame_hw must be within 0 and 2**31 - 1, got " + std::to_string(masks.frame_h) + "x" +
                       std::to_string(masks.frame_w));
  }
  int64_t left = static_cast<int64_t>(masks.data.size());
  for (int64_t n = 0; n < masks.crops.rows && left >= 0; ++n) {
    const int32_t* c = masks.crops.row(n);
    if (c[0] < 0 || c[1] < 0 || c[2] < c[0] || c[3] < c[1] || c[2] > masks.frame_w || c[3] > masks.frame_h) {
      fail(function, "masks.crops must lie inside the frame of " + std::to_string(masks.frame_h) + "x" +
                         std::to_string(masks.frame_w) + ", got " + std::to_string(c[0]) + " " + std::to_string(c[1]) +
                         " " + std::to_string(c[2]) + " " + std::to_string(c[3]) + " in row " + std::to_string(n));
    }
    left -= (int64_t{c[2]} - c[0]) * (int64_t{c[3]} - c[1]);
  }
  if (left != 0) {
    fail(function, "masks.data must be as long as the crops' areas together, got " + std::to_string(masks.data.size()));
  }
}

int64_t mask_crops(MatrixView<const float> boxes, int64_t frame_h, int64_t frame_w,
                   MatrixView<int32_t> crops) noexcept {
  int64_t total = 0;
  for (int64_t n = 0; n < boxes.rows; ++n) {
    const float* box = boxes.row(n);
    int32_t* crop = crops.row(n);
    bool finite = true;
    for (int i = 0; i < 4; ++i) {
      finite = finite && std::isfinite(box[i]);
      crop[i] = crop_edge(box[i], i % 2 == 0 ? frame_w : frame_h);
    }
    if (!finite || crop[2] <= crop[0] || crop[3] <= crop[1]) std::fill(crop, crop + 4, 0);
    const int64_t area = (int64_t{crop[2]} - crop[0]) * (int64_t{crop[3]} - crop[1]);
    total = std::min(total + area, kLargestTotal);  // what no allocation can give, instead of an overflow
  }
  return total;
}

void assemble_masks(MatrixView<const float> coeffs, PrototypesView prototypes, MatrixView<const int32_t> crops,
                    const Letterbox& geometry, std::span<uint8_t> out) {
  check_mask_geometry(geometry);
  if (prototypes.height < 1 || prototypes.width < 1) {
    fail("assemble_masks", "prototypes must have a height and width of 1 or more, got " +
                               std::to_string(prototypes.height) + "x" + std::to_string(prototypes.width));
  }
  check_masks("assemble_masks", {out, crops, geometry.image_h, geometry.image_w});
  if (out.empty()) return;
  if (prototypes.count < 1) {
    std::fill(out.begin(), out.end(), uint8_t{0});
    return;
  }
  Assembler assembler(prototypes, crops, geometry, out.data() + out.size());
  assembler.assemble(coeffs, crops, out.data());
}

void paint_masks(const MasksView& masks, std::span<uint8_t> out) noexcept {
  const MaskKernels& kernels = mask_kernels();
  std::fill(out.begin(), out.end(), uint8_t{0});
  const uint8_t* from = masks.data.data();
  for (int64_t n = 0; n < masks.crops.rows; ++n) {
    const int32_t* crop = masks.crops.row(n);
    const int64_t width = crop[2] - crop[0];
    for (int64_t y = crop[1]; y < crop[3]; ++y, from += width) {
      kernels.copy_bits(from, width, out.data() + (n * masks.frame_h + y) * masks.frame_w + crop[0]);
    }
  }
}

}  // namespace yolokkn
