#include "nms_scan.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace yolokkn::YOLOKKN_ISA {
namespace {

// Positive width and height of an intersection imply them of both boxes; where a product underflows to 0 the quotient
// is 0 or NaN, never above a threshold of 0 or more. So the checks of box_iou for degenerate boxes need no repeating.
#ifdef __AVX2__

bool overlaps(const KeptChunk* chunks, int32_t head, Box box, float area, float threshold) {
  const __m256 x1 = _mm256_set1_ps(box.x1), y1 = _mm256_set1_ps(box.y1);
  const __m256 x2 = _mm256_set1_ps(box.x2), y2 = _mm256_set1_ps(box.y2);
  const __m256 own = _mm256_set1_ps(area), limit = _mm256_set1_ps(threshold), zero = _mm256_setzero_ps();
  for (int32_t i = head; i >= 0; i = chunks[i].next) {
    const KeptChunk& kept = chunks[i];
    const __m256 w =
        _mm256_sub_ps(_mm256_min_ps(_mm256_load_ps(kept.x2), x2), _mm256_max_ps(_mm256_load_ps(kept.x1), x1));
    const __m256 h =
        _mm256_sub_ps(_mm256_min_ps(_mm256_load_ps(kept.y2), y2), _mm256_max_ps(_mm256_load_ps(kept.y1), y1));
    const __m256 meets = _mm256_cmp_ps(_mm256_min_ps(w, h), zero, _CMP_GT_OQ);
    if (_mm256_testz_ps(meets, meets)) continue;
    const __m256 intersection = _mm256_mul_ps(w, h);
    const __m256 both = _mm256_sub_ps(_mm256_add_ps(_mm256_load_ps(kept.area), own), intersection);
    const __m256 above = _mm256_cmp_ps(_mm256_div_ps(intersection, both), limit, _CMP_GT_OQ);
    if (!_mm256_testz_ps(meets, above)) return true;
  }
  return false;
}

#else

bool overlaps(const KeptChunk* chunks, int32_t head, Box box, float area, float threshold) {
  for (int32_t i = head; i >= 0; i = chunks[i].next) {
    const KeptChunk& kept = chunks[i];
    bool above = false;
    for (int lane = 0; lane < 8; ++lane) {
      const float w =
          (kept.x2[lane] < box.x2 ? kept.x2[lane] : box.x2) - (kept.x1[lane] > box.x1 ? kept.x1[lane] : box.x1);
      const float h =
          (kept.y2[lane] < box.y2 ? kept.y2[lane] : box.y2) - (kept.y1[lane] > box.y1 ? kept.y1[lane] : box.y1);
      const float intersection = w * h;
      above |= w > 0.0f && h > 0.0f && intersection / (kept.area[lane] + area - intersection) > threshold;
    }
    if (above) return true;
  }
  return false;
}

#endif

}  // namespace

extern const NmsScan kNmsScan;
const NmsScan kNmsScan = {overlaps};

}  // namespace yolokkn::YOLOKKN_ISA
