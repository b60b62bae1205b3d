#include "yolokkn/letterbox.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "dispatch.h"
#include "letterbox_row.h"
#include "yolokkn/error.h"

namespace yolokkn {
namespace {

constexpr char kName[] = "letterbox";

std::string pair_text(int64_t h, int64_t w) {
  std::string text = "(";
  text += std::to_string(h) + ", " + std::to_string(w);
  return text += ")";
}

void check_sides(const char* field, int64_t h, int64_t w) {
  if (h >= 1 && w >= 1 && h <= kLetterboxMaxSide && w <= kLetterboxMaxSide) return;
  fail(kName, std::string("geometry must have ") + field + " from 1 to " + std::to_string(kLetterboxMaxSide) +
                  " in both, got " + pair_text(h, w));
}

void check_values(const LetterboxValues& values) {
  for (int c = 0; c < 3; ++c) {
    const float size = std::fabs(values.scale[c]);
    if (!(size == 0.0f || (size >= 1e-30f && size <= 1e30f))) {
      fail(kName, "scale must be 0 or from 1e-30 to 1e30 in magnitude, got " + std::to_string(values.scale[c]));
    }
    if (!std::isfinite(values.offset[c])) fail(kName, "offset must be finite, got " + std::to_string(values.offset[c]));
  }
}

void check_overlap(ImageView image, std::span<const float> out) {
  const uint8_t* last_row = image.data + (image.height - 1) * image.row_stride;
  const uint8_t* begin = std::min(image.data, last_row, std::less<>());
  const uint8_t* end = std::max(image.data, last_row, std::less<>()) + image.width * 3;
  const auto* out_begin = reinterpret_cast<const uint8_t*>(out.data());
  const uint8_t* out_end = out_begin + out.size_bytes();
  if (std::less<>()(begin, out_end) && std::less<>()(out_begin, end)) {
    fail(kName, "out must not share memory with image, got overlapping arrays");
  }
}

// Where the centre of output pixel `index` lies among `from` source pixels: the left one and the right one's weight.
struct Sample {
  int64_t left;
  int64_t weight;
};

Sample sample_at(int64_t index, int64_t from, int64_t to, int64_t one) {
  const int64_t numerator = (2 * index + 1) * from - to;  // over 2 * to
  if (numerator <= 0) return {0, 0};
  const int64_t left = numerator / (2 * to);
  if (left >= from - 1) return {from - 1, 0};
  return {left, ((numerator - left * 2 * to) * one + to) / (2 * to)};
}

LetterboxKind kind_of(const Letterbox& g) {
  const bool whole = g.image_h % g.resized_h == 0 && g.image_w % g.resized_w == 0;
  const int64_t ratio_y = g.image_h / g.resized_h;
  const int64_t ratio_x = g.image_w / g.resized_w;
  if (whole && ratio_x % 2 == 1 && ratio_y % 2 == 1) return LetterboxKind::kPoint;
  if (whole && ratio_x % 2 == 0 && ratio_y % 2 == 0) return LetterboxKind::kHalf;
  return g.image_w > 3 * g.resized_w ? LetterboxKind::kSparse : LetterboxKind::kDense;
}

// A plan and the tables that it points into.
class OwnedPlan {
 public:
  OwnedPlan(const Letterbox& g, const LetterboxValues& values) {
    plan_.kind = kind_of(g);
    plan_.columns = g.resized_w;
    plan_.width = g.image_w;
    const int64_t ratio = g.image_w / g.resized_w;
    plan_.step = 3 * ratio;
    plan_.first = 3 * ((ratio - 1) / 2);
    const bool whole = plan_.kind == LetterboxKind::kPoint || plan_.kind == LetterboxKind::kHalf;
    const float unit = plan_.kind == LetterboxKind::kPoint ? 1.0f : whole ? 0.25f : 0x1p-21f;
    for (int c = 0; c < 3; ++c) {
      const int plane = values.swap_rb ? 2 - c : c;
      plan_.scale[c] = values.scale[plane] * unit;
      plan_.offset[c] = values.offset[plane];
    }
    if (!whole) fill_tables(g);
    if (plan_.kind == LetterboxKind::kDense) lerped_.resize(static_cast<size_t>(3 * g.image_w + kLerpedSlack));
    plan_.offsets = offsets_.data();
    plan_.weights = weights_.data();
    plan_.lerped = lerped_.data();
  }

  const LetterboxPlan& get() const noexcept { return plan_; }

 private:
  void fill_tables(const Letterbox& g) {
    offsets_.resize(static_cast<size_t>(g.resized_w));
    weights_.resize(static_cast<size_t>(2 * g.resized_w));
    for (int64_t x = 0; x < g.resized_w; ++x) {
      Sample sample = sample_at(x, g.image_w, g.resized_w, 1 << 14);
      if (sample.left == g.image_w - 1 && sample.left > 0) sample = {sample.left - 1, 1 << 14};
      offsets_[static_cast<size_t>(x)] = static_cast<int32_t>(3 * sample.left);
      weights_[static_cast<size_t>(2 * x)] = static_cast<int16_t>((1 << 14) - sample.weight);
      weights_[static_cast<size_t>(2 * x + 1)] = static_cast<int16_t>(sample.weight);
    }
  }

  LetterboxPlan plan_{};
  std::vector<int32_t> offsets_;
  std::vector<int16_t> weights_;
  std::vector<int16_t> lerped_;
};

void letterbox_row(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
#if defined(YOLOKKN_HAVE_AVX2)
  if (active_isa() == Isa::kAvx2) return avx2::letterbox_row(plan, row);
#endif
  baseline::letterbox_row(plan, row);
}

LetterboxRow row_at(ImageView image, const Letterbox& g, int64_t y) noexcept {
  const Sample sample = sample_at(y, image.height, g.resized_h, 1 << 15);
  const uint8_t* above = image.data + sample.left * image.row_stride;
  const bool last = sample.left == image.height - 1;
  return {above,
          last ? above : above + image.row_stride,
          static_cast<int>(std::min<int64_t>(sample.weight, 32767)),
          {nullptr, nullptr, nullptr}};
}

void fill_padding(const Letterbox& g, const LetterboxValues& values, float* out) noexcept {
  const int64_t bottom = g.pad_top + g.resized_h;
  const int64_t right = g.pad_left + g.resized_w;
  for (int plane = 0; plane < 3; ++plane) {
    const float pad = static_cast<float>(values.pad_value) * values.scale[plane] + values.offset[plane];
    float* begin = out + plane * g.input_h * g.input_w;
    std::fill(begin, begin + g.pad_top * g.input_w, pad);
    std::fill(begin + bottom * g.input_w, begin + g.input_h * g.input_w, pad);
    if (g.resized_w == g.input_w) continue;
    for (int64_t y = g.pad_top; y < bottom; ++y) {
      std::fill(begin + y * g.input_w, begin + y * g.input_w + g.pad_left, pad);
      std::fill(begin + y * g.input_w + right, begin + (y + 1) * g.input_w, pad);
    }
  }
}

void write_content(ImageView image, const Letterbox& g, const LetterboxValues& values, float* out) {
  const OwnedPlan plan(g, values);
  for (int64_t y = 0; y < g.resized_h; ++y) {
    LetterboxRow row = row_at(image, g, y);
    for (int c = 0; c < 3; ++c) {
      const int plane = values.swap_rb ? 2 - c : c;
      row.planes[c] = out + (plane * g.input_h + g.pad_top + y) * g.input_w + g.pad_left;
    }
    letterbox_row(plan.get(), row);
  }
}

}  // namespace

void check_letterbox(const Letterbox& g) {
  check_sides("image_hw", g.image_h, g.image_w);
  check_sides("input_hw", g.input_h, g.input_w);
  check_sides("resized_hw", g.resized_h, g.resized_w);
  if (g.input_h * g.input_w > kLetterboxMaxPixels) {
    fail(kName, "geometry must have an input_hw of at most " + std::to_string(kLetterboxMaxPixels) + " pixels, got " +
                    pair_text(g.input_h, g.input_w));
  }
  if (g.pad_top < 0 || g.pad_left < 0 || g.pad_top > g.input_h - g.resized_h || g.pad_left > g.input_w - g.resized_w) {
    fail(kName, "geometry must place the content inside the input, got resized_hw " +
                    pair_text(g.resized_h, g.resized_w) + " at pad_top, pad_left " + pair_text(g.pad_top, g.pad_left) +
                    " in input_hw " + pair_text(g.input_h, g.input_w));
  }
}

void letterbox(ImageView image, const Letterbox& g, const LetterboxValues& values, std::span<float> out) {
  check_letterbox(g);
  check_values(values);
  if (image.height != g.image_h || image.width != g.image_w) {
    fail(kName, "image must have the size of geometry.image_hw " + pair_text(g.image_h, g.image_w) + ", got " +
                    pair_text(image.height, image.width));
  }
  const int64_t plane_size = g.input_h * g.input_w;
  if (static_cast<int64_t>(out.size()) != 3 * plane_size) {
    fail(kName, "out must hold " + std::to_string(3 * plane_size) + " values, got " + std::to_string(out.size()));
  }
  check_overlap(image, out);
  if (!values.keep_padding) fill_padding(g, values, out.data());
  write_content(image, g, values, out.data());
}

}  // namespace yolokkn
