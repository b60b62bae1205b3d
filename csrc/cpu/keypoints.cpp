#include "yolokkn/keypoints.h"

namespace yolokkn {
namespace {

struct Axis {
  float pad, gain, limit;

  // NaN stays NaN, as in NumPy's clip.
  float inverse(float value, bool clip) const noexcept {
    const float out = (value - pad) / gain;
    if (!clip) return out;
    return out < 0.0f ? 0.0f : (out > limit ? limit : out);
  }
};

Axis axis_of(int64_t pad, int64_t resized, int64_t image) noexcept {
  return {static_cast<float>(pad), static_cast<float>(static_cast<double>(resized) / static_cast<double>(image)),
          static_cast<float>(image)};
}

}  // namespace

void inverse_letterbox(MatrixView<const float> boxes, const Letterbox& geometry, bool clip, MatrixView<float> out) {
  const Axis x = axis_of(geometry.pad_left, geometry.resized_w, geometry.image_w);
  const Axis y = axis_of(geometry.pad_top, geometry.resized_h, geometry.image_h);
  for (int64_t i = 0; i < boxes.rows * boxes.cols; i += 2) {
    out.data[i] = x.inverse(boxes.data[i], clip);
    out.data[i + 1] = y.inverse(boxes.data[i + 1], clip);
  }
}

void decode_keypoints(MatrixView<const float> extras, int64_t num_keypoints, const Letterbox& geometry, bool clip,
                      MatrixView<float> out) {
  const Axis x = axis_of(geometry.pad_left, geometry.resized_w, geometry.image_w);
  const Axis y = axis_of(geometry.pad_top, geometry.resized_h, geometry.image_h);
  const bool visible = extras.cols == num_keypoints * 3;
  const int64_t width = visible ? 3 : 2;
  for (int64_t i = 0; i < extras.rows * num_keypoints; ++i) {
    const float* from = extras.data + i * width;
    float* to = out.data + i * 3;
    to[0] = x.inverse(from[0], clip);
    to[1] = y.inverse(from[1], clip);
    to[2] = visible ? from[2] : 1.0f;
  }
}

}  // namespace yolokkn
