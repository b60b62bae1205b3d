#include "yolokkn/iou.h"

#include "yolokkn/box.h"

namespace yolokkn {

void pairwise_iou(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> out) noexcept {
  for (int64_t i = 0; i < a.rows; ++i) {
    const float* p = a.row(i);
    for (int64_t j = 0; j < b.rows; ++j) {
      const float* q = b.row(j);
      out(i, j) = box_iou({p[0], p[1], p[2], p[3]}, {q[0], q[1], q[2], q[3]});
    }
  }
}

}  // namespace yolokkn
