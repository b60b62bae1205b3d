// How a frame lies inside a model's input. One owner of the geometry: yolokkn/geometry.py computes it.
#pragma once

#include <cstdint>

namespace yolokkn {

struct Letterbox {
  int64_t image_h, image_w;      // the frame
  int64_t input_h, input_w;      // the model's input
  int64_t resized_h, resized_w;  // the frame's content inside the input
  int64_t pad_top, pad_left;     // where that content begins
};

}  // namespace yolokkn
