#include "decode_scan.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace yolokkn::YOLOKKN_ISA {
namespace {

constexpr float kInfinity = __builtin_inff();

#ifdef __AVX2__

__m256 above(const float* scores, __m256 threshold) {
  return _mm256_cmp_ps(_mm256_loadu_ps(scores), threshold, _CMP_NLE_UQ);
}

// Class by class over the whole width: the hardware prefetches long rows; four rows share one trip to the accumulator.
void flag_columns(const ClassRows& rows, int64_t width, float threshold, uint8_t* flags) {
  const __m256 limit = _mm256_set1_ps(threshold);
  alignas(32) float found[kScanBlock];
  for (int64_t i = 0; i < width; i += 8) _mm256_store_ps(found + i, _mm256_setzero_ps());
  int64_t k = 0;
  for (; k + 4 <= rows.count; k += 4) {
    const float* a = rows.data + rows.classes[k] * rows.stride;
    const float* b = rows.data + rows.classes[k + 1] * rows.stride;
    const float* c = rows.data + rows.classes[k + 2] * rows.stride;
    const float* d = rows.data + rows.classes[k + 3] * rows.stride;
    for (int64_t i = 0; i < width; i += 8) {
      const __m256 left = _mm256_or_ps(above(a + i, limit), above(b + i, limit));
      const __m256 right = _mm256_or_ps(above(c + i, limit), above(d + i, limit));
      _mm256_store_ps(found + i, _mm256_or_ps(_mm256_load_ps(found + i), _mm256_or_ps(left, right)));
    }
  }
  for (; k < rows.count; ++k) {
    const float* a = rows.data + rows.classes[k] * rows.stride;
    for (int64_t i = 0; i < width; i += 8) {
      _mm256_store_ps(found + i, _mm256_or_ps(_mm256_load_ps(found + i), above(a + i, limit)));
    }
  }
  for (int64_t i = 0; i < width; i += 8) {
    flags[i / 8] = static_cast<uint8_t>(_mm256_movemask_ps(_mm256_load_ps(found + i)));
  }
}

uint32_t best_of_columns(const ClassRows& rows, float* best, int32_t* best_class) {
  const __m256 infinity = _mm256_set1_ps(kInfinity);
  __m256 top = _mm256_set1_ps(-kInfinity);
  __m256 bad = _mm256_setzero_ps();
  __m256i top_class = _mm256_set1_epi32(-1);
  for (int64_t k = 0; k < rows.count; ++k) {
    const __m256 score = _mm256_loadu_ps(rows.data + rows.classes[k] * rows.stride);
    const __m256 better = _mm256_cmp_ps(score, top, _CMP_GT_OQ);
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(score, infinity, _CMP_NLT_UQ));
    top = _mm256_blendv_ps(top, score, better);
    top_class = _mm256_blendv_epi8(top_class, _mm256_set1_epi32(rows.classes[k]), _mm256_castps_si256(better));
  }
  _mm256_storeu_ps(best, top);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(best_class), top_class);
  return static_cast<uint32_t>(_mm256_movemask_ps(bad));
}

// One byte of eight lanes for each class; then a shift and a movemask turn 32 of them into the words of a lane.
uint32_t labels_of_columns(const ClassRows& rows, float threshold, uint32_t* bits, int64_t words) {
  const __m256 limit = _mm256_set1_ps(threshold);
  const __m256 infinity = _mm256_set1_ps(kInfinity);
  __m256 bad = _mm256_setzero_ps();
  for (int64_t word = 0; word < words; ++word) {
    alignas(32) uint8_t lanes[32] = {};
    const int64_t first = word * 32;
    const int64_t count = rows.count - first < 32 ? rows.count - first : 32;
    for (int64_t k = 0; k < count; ++k) {
      const __m256 score = _mm256_loadu_ps(rows.data + rows.classes[first + k] * rows.stride);
      lanes[k] = static_cast<uint8_t>(_mm256_movemask_ps(_mm256_cmp_ps(score, limit, _CMP_GT_OQ)));
      bad = _mm256_or_ps(bad, _mm256_cmp_ps(score, infinity, _CMP_NLT_UQ));
    }
    __m256i column = _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes));
    for (int64_t lane = 7; lane >= 0; --lane) {
      bits[lane * words + word] = static_cast<uint32_t>(_mm256_movemask_epi8(column));
      column = _mm256_add_epi8(column, column);
    }
  }
  return static_cast<uint32_t>(_mm256_movemask_ps(bad));
}

// factor * scores[0 .. 8), of which the first `count` exist; -infinity elsewhere.
__m256 products(const float* scores, int64_t count, __m256 factor) {
  if (count >= 8) return _mm256_mul_ps(_mm256_loadu_ps(scores), factor);
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i present = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count)), lane);
  const __m256 product = _mm256_mul_ps(_mm256_maskload_ps(scores, present), factor);
  return _mm256_blendv_ps(_mm256_set1_ps(-kInfinity), product, _mm256_castsi256_ps(present));
}

bool best_of_row(const float* scores, int64_t count, float factor, float* best, int32_t* best_class) {
  const __m256 scale = _mm256_set1_ps(factor);
  const __m256 infinity = _mm256_set1_ps(kInfinity);
  __m256 top = _mm256_set1_ps(-kInfinity);
  __m256 bad = _mm256_setzero_ps();
  __m256i top_class = _mm256_set1_epi32(-1);
  __m256i class_id = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (int64_t k = 0; k < count; k += 8) {
    const __m256 score = products(scores + k, count - k, scale);
    const __m256 better = _mm256_cmp_ps(score, top, _CMP_GT_OQ);
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(score, infinity, _CMP_NLT_UQ));
    top = _mm256_blendv_ps(top, score, better);
    top_class = _mm256_blendv_epi8(top_class, class_id, _mm256_castps_si256(better));
    class_id = _mm256_add_epi32(class_id, _mm256_set1_epi32(8));
  }
  alignas(32) float lane_best[8];
  alignas(32) int32_t lane_class[8];
  _mm256_store_ps(lane_best, top);
  _mm256_store_si256(reinterpret_cast<__m256i*>(lane_class), top_class);
  *best = lane_best[0];
  *best_class = lane_class[0];
  for (int i = 1; i < 8; ++i) {
    const bool better = lane_best[i] > *best || (lane_best[i] == *best && lane_class[i] < *best_class);
    *best = better ? lane_best[i] : *best;
    *best_class = better ? lane_class[i] : *best_class;
  }
  return _mm256_movemask_ps(bad) != 0;
}

bool labels_of_row(const float* scores, int64_t count, float factor, float threshold, uint32_t* bits) {
  const __m256 scale = _mm256_set1_ps(factor);
  const __m256 limit = _mm256_set1_ps(threshold);
  const __m256 infinity = _mm256_set1_ps(kInfinity);
  __m256 bad = _mm256_setzero_ps();
  for (int64_t first = 0; first < count; first += 32) {
    uint32_t word = 0;
    for (int64_t k = first; k < count && k < first + 32; k += 8) {
      const __m256 score = products(scores + k, count - k, scale);
      bad = _mm256_or_ps(bad, _mm256_cmp_ps(score, infinity, _CMP_NLT_UQ));
      word |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(score, limit, _CMP_GT_OQ))) << (k - first);
    }
    bits[first / 32] = word;
  }
  return _mm256_movemask_ps(bad) != 0;
}

#else  // plain loops that the compiler may vectorise

bool is_bad(float score) { return !(score < kInfinity); }

void flag_columns(const ClassRows& rows, int64_t width, float threshold, uint8_t* flags) {
  uint32_t found[kScanBlock] = {};
  for (int64_t k = 0; k < rows.count; ++k) {
    const float* row = rows.data + rows.classes[k] * rows.stride;
    for (int64_t i = 0; i < width; ++i) found[i] |= !(row[i] <= threshold);
  }
  for (int64_t i = 0; i < width; i += 8) {
    uint32_t byte = 0;
    for (int64_t lane = 0; lane < 8; ++lane) byte |= found[i + lane] << lane;
    flags[i / 8] = static_cast<uint8_t>(byte);
  }
}

uint32_t best_of_columns(const ClassRows& rows, float* best, int32_t* best_class) {
  uint32_t bad[kLanes] = {};
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    best[lane] = -kInfinity;
    best_class[lane] = -1;
  }
  for (int64_t k = 0; k < rows.count; ++k) {
    const float* row = rows.data + rows.classes[k] * rows.stride;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const bool better = row[lane] > best[lane];
      bad[lane] |= is_bad(row[lane]);
      best[lane] = better ? row[lane] : best[lane];
      best_class[lane] = better ? rows.classes[k] : best_class[lane];
    }
  }
  uint32_t lanes = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) lanes |= bad[lane] << lane;
  return lanes;
}

uint32_t labels_of_columns(const ClassRows& rows, float threshold, uint32_t* bits, int64_t words) {
  for (int64_t i = 0; i < kLanes * words; ++i) bits[i] = 0;
  uint32_t lanes = 0;
  for (int64_t k = 0; k < rows.count; ++k) {
    const float* row = rows.data + rows.classes[k] * rows.stride;
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      bits[lane * words + k / 32] |= static_cast<uint32_t>(row[lane] > threshold) << (k % 32);
      lanes |= static_cast<uint32_t>(is_bad(row[lane])) << lane;
    }
  }
  return lanes;
}

bool best_of_row(const float* scores, int64_t count, float factor, float* best, int32_t* best_class) {
  *best = -kInfinity;
  *best_class = -1;
  bool bad = false;
  for (int64_t k = 0; k < count; ++k) {
    const float score = scores[k] * factor;
    bad |= is_bad(score);
    if (score > *best) {
      *best = score;
      *best_class = static_cast<int32_t>(k);
    }
  }
  return bad;
}

bool labels_of_row(const float* scores, int64_t count, float factor, float threshold, uint32_t* bits) {
  bool bad = false;
  for (int64_t k = 0; k < count; ++k) {
    const float score = scores[k] * factor;
    bad |= is_bad(score);
    const uint32_t bit = static_cast<uint32_t>(score > threshold) << (k % 32);
    bits[k / 32] = k % 32 == 0 ? bit : bits[k / 32] | bit;
  }
  return bad;
}

#endif

}  // namespace

extern const DecodeScan kDecodeScan;
const DecodeScan kDecodeScan = {flag_columns, best_of_columns, labels_of_columns, best_of_row, labels_of_row};

}  // namespace yolokkn::YOLOKKN_ISA
