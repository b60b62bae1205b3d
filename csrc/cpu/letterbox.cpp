#include "yolokkn/letterbox.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "dispatch.h"
#include "letterbox_row.h"
#include "yolokkn/error.h"
#include "yolokkn/letterbox_sample.h"

namespace yolokkn {
namespace {

constexpr char kName[] = "letterbox";

std::string pair_text(int64_t h, int64_t w) {
  std::string text = "(";
  text += std::to_string(h) + ", " + std::to_string(w);
  return text += ")";
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
      LetterboxSample sample = letterbox_sample(x, g.image_w, g.resized_w, kColumnWeight);
      if (sample.left == g.image_w - 1 && sample.left > 0) sample = {sample.left - 1, kColumnWeight};
      offsets_[static_cast<size_t>(x)] = 3 * sample.left;
      weights_[static_cast<size_t>(2 * x)] = static_cast<int16_t>(kColumnWeight - sample.weight);
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
  const LetterboxSample sample = letterbox_row_sample(y, image.height, g.resized_h);
  const uint8_t* above = image.data + sample.left * image.row_stride;
  const bool last = sample.left == image.height - 1;
  return {above, last ? above : above + image.row_stride, sample.weight, {nullptr, nullptr, nullptr}};
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
