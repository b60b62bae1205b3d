// The inverse letterbox of boxes and keypoints: (v - pad) / gain, then clipped to the frame.
#pragma once

#include <cstdint>

#include "yolokkn/letterbox.h"
#include "yolokkn/views.h"

namespace yolokkn {

void inverse_letterbox(MatrixView<const float> boxes, const Letterbox& geometry, bool clip, MatrixView<float> out);

// extras (N, K * 2) or (N, K * 3) -> out (N, K * 3): x, y in frame pixels, visibility (1 where there is none).
void decode_keypoints(MatrixView<const float> extras, int64_t num_keypoints, const Letterbox& geometry, bool clip,
                      MatrixView<float> out);

}  // namespace yolokkn
