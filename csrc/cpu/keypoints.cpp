#include "yolokkn/keypoints.h"

#include "yolokkn/frame_axis.h"

namespace yolokkn {
void inverse_letterbox(MatrixView<const float> boxes, const Letterbox& geometry, bool clip, MatrixView<float> out) {
  const FrameAxis x = frame_axis(geometry.pad_left, geometry.resized_w, geometry.image_w);
  const FrameAxis y = frame_axis(geometry.pad_top, geometry.resized_h, geometry.image_h);
  for (int64_t i = 0; i < boxes.rows * boxes.cols; i += 2) {
    out.data[i] = x.inverse(boxes.data[i], clip);
    out.data[i + 1] = y.inverse(boxes.data[i + 1], clip);
  }
}

void decode_keypoints(MatrixView<const float> extras, int64_t num_keypoints, const Letterbox& geometry, bool clip,
                      MatrixView<float> out) {
  const FrameAxis x = frame_axis(geometry.pad_left, geometry.resized_w, geometry.image_w);
  const FrameAxis y = frame_axis(geometry.pad_top, geometry.resized_h, geometry.image_h);
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
