// One output row of the letterbox. Every path gives the bytes that yolokkn/letterbox.h defines. The AVX2 paths work on
// blocks of eight columns; the last block overlaps the one before it, so that only rows of fewer than eight columns go
// the scalar way. In a register's lanes lie columns 0 to 3 and 4 to 7.
#include "../letterbox_row.h"
#include "yolokkn/letterbox_sample.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace yolokkn::YOLOKKN_ISA {
namespace {

void point_scalar(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  for (int c = 0; c < 3; ++c) {
    const uint8_t* source = row.above + plan.first + c;
    for (int64_t x = 0; x < plan.columns; ++x) {
      row.planes[c][x] = static_cast<float>(source[x * plan.step]) * plan.scale[c] + plan.offset[c];
    }
  }
}

void half_scalar(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  for (int c = 0; c < 3; ++c) {
    for (int64_t x = 0; x < plan.columns; ++x) {
      const uint8_t* a = row.above + plan.first + x * plan.step + c;
      const uint8_t* b = row.below + plan.first + x * plan.step + c;
      row.planes[c][x] = static_cast<float>(a[0] + a[3] + b[0] + b[3]) * plan.scale[c] + plan.offset[c];
    }
  }
}

void sparse_scalar(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  for (int64_t x = 0; x < plan.columns; ++x) {
    const uint8_t* a = row.above + plan.offsets[x];
    const uint8_t* b = row.below + plan.offsets[x];
    for (int c = 0; c < 3; ++c) {
      const int sum = lerp_rows(a[c], b[c], row.weight) * plan.weights[2 * x] +
                      lerp_rows(a[c + 3], b[c + 3], row.weight) * plan.weights[2 * x + 1];
      row.planes[c][x] = static_cast<float>(sum) * plan.scale[c] + plan.offset[c];
    }
  }
}

void lerp_scalar(const LetterboxPlan& plan, const LetterboxRow& row, int64_t begin) noexcept {
  for (int64_t i = begin; i < 3 * plan.width; ++i) {
    plan.lerped[i] = static_cast<int16_t>(lerp_rows(row.above[i], row.below[i], row.weight));
  }
}

void sample_scalar(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  for (int64_t x = 0; x < plan.columns; ++x) {
    const int16_t* v = plan.lerped + plan.offsets[x];
    for (int c = 0; c < 3; ++c) {
      const int sum = v[c] * plan.weights[2 * x] + v[c + 3] * plan.weights[2 * x + 1];
      row.planes[c][x] = static_cast<float>(sum) * plan.scale[c] + plan.offset[c];
    }
  }
}

#ifdef __AVX2__

__m128i load16(const void* from) noexcept { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }

// Eight bytes at p and eight at q.
__m128i load8x2(const uint8_t* p, const uint8_t* q) noexcept {
  return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q)));
}

__m256i lanes(__m128i low, __m128i high) noexcept {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

__m256i twice(__m128i lane) noexcept { return _mm256_broadcastsi128_si256(lane); }

// Scales and stores eight columns of a plane. Values of its own: through plan and row, every store would make the
// compiler load them again.
struct Planes {
  __m256 scale[3], offset[3];
  float* planes[3];

  Planes(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
    for (int c = 0; c < 3; ++c) {
      scale[c] = _mm256_set1_ps(plan.scale[c]);
      offset[c] = _mm256_set1_ps(plan.offset[c]);
      planes[c] = row.planes[c];
    }
  }

  void store(int c, int64_t x, __m256i integers) const noexcept {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(integers), scale[c]);
    _mm256_storeu_ps(planes[c] + x, _mm256_add_ps(scaled, offset[c]));
  }
};

// Runs block(x) over all columns, eight at a time; false when there are fewer than eight.
template <typename Block>
bool for_blocks(int64_t columns, const Block& block) noexcept {
  if (columns < 8) return false;
  int64_t x = 0;
  for (; x + 8 <= columns; x += 8) block(x);
  if (x < columns) block(columns - 8);
  return true;
}

int pixel_at(const uint8_t* p) noexcept {
  int value;
  __builtin_memcpy(&value, p, 4);
  return value;
}

// Eight pixels, `step` bytes apart; bytes B0..B3 G0..G3 R0..R3 and four zeros in each lane. The loads of steps 3 and 9
// end at the last pixel's end; the others read one byte more, which a ratio of 3:1 or more leaves in the row.
template <int kStep>
__m256i point_pixels(const uint8_t* p, int64_t step) noexcept {
  if constexpr (kStep == 3) {
    return _mm256_shuffle_epi8(lanes(load16(p), load16(p + 8)),
                               _mm256_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1,  //
                                                4, 7, 10, 13, 5, 8, 11, 14, 6, 9, 12, 15, -1, -1, -1, -1));
  } else if constexpr (kStep == 9) {
    const __m256i first =
        _mm256_shuffle_epi8(lanes(load16(p), load16(p + 36)),
                            twice(_mm_setr_epi8(0, 9, -1, -1, 1, 10, -1, -1, 2, 11, -1, -1, -1, -1, -1, -1)));
    const __m256i second =
        _mm256_shuffle_epi8(lanes(load16(p + 14), load16(p + 50)),
                            twice(_mm_setr_epi8(-1, -1, 4, 13, -1, -1, 5, 14, -1, -1, 6, 15, -1, -1, -1, -1)));
    return _mm256_or_si256(first, second);
  } else {
    const __m256i pixels = _mm256_setr_epi32(pixel_at(p), pixel_at(p + step), pixel_at(p + 2 * step),
                                             pixel_at(p + 3 * step), pixel_at(p + 4 * step), pixel_at(p + 5 * step),
                                             pixel_at(p + 6 * step), pixel_at(p + 7 * step));
    return _mm256_shuffle_epi8(pixels, twice(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, -1, -1, -1, -1)));
  }
}

template <int kStep>
bool point_blocks(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  const uint8_t* source = row.above + plan.first;
  const int64_t step = plan.step;
  const __m256i widen = twice(_mm_setr_epi8(0, -1, -1, -1, 1, -1, -1, -1, 2, -1, -1, -1, 3, -1, -1, -1));
  const Planes to(plan, row);
  return for_blocks(plan.columns, [&](int64_t x) noexcept {
    const __m256i bytes = point_pixels<kStep>(source + x * step, step);
    to.store(0, x, _mm256_shuffle_epi8(bytes, widen));
    to.store(1, x, _mm256_shuffle_epi8(_mm256_srli_si256(bytes, 4), widen));
    to.store(2, x, _mm256_shuffle_epi8(_mm256_srli_si256(bytes, 8), widen));
  });
}

bool point_blocks(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  if (plan.step == 3) return point_blocks<3>(plan, row);
  if (plan.step == 9) return point_blocks<9>(plan, row);
  return point_blocks<0>(plan, row);
}

// Sums of the pixel pairs of columns 0, 1 and 4, 5 (kSecond: 2, 3 and 6, 7): 16 bits, B B G G R R and two zeros in each
// lane. At step 6 the loads end at the last pair's end; at others they read two bytes more, which 4:1 leaves in the
// row.
template <int kStep, bool kSecond>
__m256i pair_sums(const uint8_t* p, int64_t step) noexcept {
  __m256i bytes;
  __m128i order;
  if constexpr (kStep == 6) {
    bytes = kSecond ? lanes(load16(p + 8), load16(p + 32)) : lanes(load16(p), load16(p + 24));
    order = kSecond ? _mm_setr_epi8(4, 7, 10, 13, 5, 8, 11, 14, 6, 9, 12, 15, -1, -1, -1, -1)
                    : _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1);
  } else {
    const uint8_t* q = p + (kSecond ? 2 * step : 0);
    bytes = lanes(load8x2(q, q + step), load8x2(q + 4 * step, q + 5 * step));
    order = _mm_setr_epi8(0, 3, 8, 11, 1, 4, 9, 12, 2, 5, 10, 13, -1, -1, -1, -1);
  }
  return _mm256_maddubs_epi16(_mm256_shuffle_epi8(bytes, twice(order)), _mm256_set1_epi8(1));
}

template <int kStep>
bool half_blocks(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  const uint8_t* above = row.above + plan.first;
  const uint8_t* below = row.below + plan.first;
  const int64_t step = plan.step;
  const __m256i zero = _mm256_setzero_si256();
  const Planes to(plan, row);
  return for_blocks(plan.columns, [&](int64_t x) noexcept {
    const uint8_t* a = above + x * step;
    const uint8_t* b = below + x * step;
    const __m256i first = _mm256_add_epi16(pair_sums<kStep, false>(a, step), pair_sums<kStep, false>(b, step));
    const __m256i second = _mm256_add_epi16(pair_sums<kStep, true>(a, step), pair_sums<kStep, true>(b, step));
    const __m256i bg = _mm256_unpacklo_epi32(first, second);
    const __m256i r = _mm256_unpackhi_epi32(first, second);
    to.store(0, x, _mm256_unpacklo_epi16(bg, zero));
    to.store(1, x, _mm256_unpackhi_epi16(bg, zero));
    to.store(2, x, _mm256_unpacklo_epi16(r, zero));
  });
}

bool half_blocks(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  return plan.step == 6 ? half_blocks<6>(plan, row) : half_blocks<0>(plan, row);
}

__m256i lerp_rows(__m256i above, __m256i below, __m256i weight) noexcept {
  const __m256i step = _mm256_mulhrs_epi16(_mm256_slli_epi16(_mm256_sub_epi16(below, above), 7), weight);
  return _mm256_add_epi16(_mm256_slli_epi16(above, 7), step);
}

void lerp_row(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  const uint8_t* above = row.above;
  const uint8_t* below = row.below;
  int16_t* lerped = plan.lerped;
  const int64_t end = 3 * plan.width;
  const __m256i weight = _mm256_set1_epi16(static_cast<int16_t>(row.weight));
  int64_t i = 0;
  for (; i + 16 <= end; i += 16) {
    const __m256i a = _mm256_cvtepu8_epi16(load16(above + i));
    const __m256i b = _mm256_cvtepu8_epi16(load16(below + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(lerped + i), lerp_rows(a, b, weight));
  }
  lerp_scalar(plan, row, i);
}

// Samples the lerped row. A column's two pixels are 12 bytes of a 16-byte load; the slack takes the rest.
bool sample_blocks(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  const int16_t* lerped = plan.lerped;
  const int32_t* offsets = plan.offsets;
  const int16_t* weight_pairs = plan.weights;
  const __m256i pairs = twice(_mm_setr_epi8(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, -1, -1, -1, -1));
  const Planes to(plan, row);
  return for_blocks(plan.columns, [&](int64_t x) noexcept {
    const int32_t* at = offsets + x;
    const auto column = [&](int i) noexcept {
      return _mm256_shuffle_epi8(lanes(load16(lerped + at[i]), load16(lerped + at[i + 4])), pairs);
    };
    const __m256i c0 = column(0), c1 = column(1), c2 = column(2), c3 = column(3);
    const __m256i bg01 = _mm256_unpacklo_epi32(c0, c1), r01 = _mm256_unpackhi_epi32(c0, c1);
    const __m256i bg23 = _mm256_unpacklo_epi32(c2, c3), r23 = _mm256_unpackhi_epi32(c2, c3);
    const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight_pairs + 2 * x));
    to.store(0, x, _mm256_madd_epi16(_mm256_unpacklo_epi64(bg01, bg23), weights));
    to.store(1, x, _mm256_madd_epi16(_mm256_unpackhi_epi64(bg01, bg23), weights));
    to.store(2, x, _mm256_madd_epi16(_mm256_unpacklo_epi64(r01, r23), weights));
  });
}

// Lerps and samples straight from the image. A column's two pixels are 6 bytes of an 8-byte load, which beyond 3:1
// never passes the row's end: the last column's left pixel is at least the third from it.
bool sparse_blocks(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  const uint8_t* top = row.above;
  const uint8_t* bottom = row.below;
  const int32_t* offsets = plan.offsets;
  const int16_t* weight_pairs = plan.weights;
  const __m256i pairs = twice(_mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1));
  const __m256i weight = _mm256_set1_epi16(static_cast<int16_t>(row.weight));
  const __m256i zero = _mm256_setzero_si256();
  const Planes to(plan, row);
  return for_blocks(plan.columns, [&](int64_t x) noexcept {
    const int32_t* at = offsets + x;
    const auto column = [&](int i) noexcept {
      const __m128i low = load8x2(top + at[i], bottom + at[i]);
      return _mm256_shuffle_epi8(lanes(low, load8x2(top + at[i + 4], bottom + at[i + 4])), pairs);
    };
    const __m256i c0 = column(0), c1 = column(1), c2 = column(2), c3 = column(3);
    const __m256i a01 = _mm256_unpacklo_epi16(c0, c1), b01 = _mm256_unpackhi_epi16(c0, c1);
    const __m256i a23 = _mm256_unpacklo_epi16(c2, c3), b23 = _mm256_unpackhi_epi16(c2, c3);
    const __m256i a_bg = _mm256_unpacklo_epi32(a01, a23), a_r = _mm256_unpackhi_epi32(a01, a23);
    const __m256i b_bg = _mm256_unpacklo_epi32(b01, b23), b_r = _mm256_unpackhi_epi32(b01, b23);
    const __m256i weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight_pairs + 2 * x));
    const auto plane = [&](int c, __m256i above, __m256i below) noexcept {
      to.store(c, x, _mm256_madd_epi16(lerp_rows(above, below, weight), weights));
    };
    plane(0, _mm256_unpacklo_epi8(a_bg, zero), _mm256_unpacklo_epi8(b_bg, zero));
    plane(1, _mm256_unpackhi_epi8(a_bg, zero), _mm256_unpackhi_epi8(b_bg, zero));
    plane(2, _mm256_unpacklo_epi8(a_r, zero), _mm256_unpacklo_epi8(b_r, zero));
  });
}

#else

bool point_blocks(const LetterboxPlan&, const LetterboxRow&) noexcept { return false; }
bool half_blocks(const LetterboxPlan&, const LetterboxRow&) noexcept { return false; }
bool sparse_blocks(const LetterboxPlan&, const LetterboxRow&) noexcept { return false; }
bool sample_blocks(const LetterboxPlan&, const LetterboxRow&) noexcept { return false; }
void lerp_row(const LetterboxPlan& plan, const LetterboxRow& row) noexcept { lerp_scalar(plan, row, 0); }

#endif

}  // namespace

void letterbox_row(const LetterboxPlan& plan, const LetterboxRow& row) noexcept {
  switch (plan.kind) {
    case LetterboxKind::kPoint:
      if (!point_blocks(plan, row)) point_scalar(plan, row);
      return;
    case LetterboxKind::kHalf:
      if (!half_blocks(plan, row)) half_scalar(plan, row);
      return;
    case LetterboxKind::kSparse:
      if (!sparse_blocks(plan, row)) sparse_scalar(plan, row);
      return;
    case LetterboxKind::kDense:
      lerp_row(plan, row);
      if (!sample_blocks(plan, row)) sample_scalar(plan, row);
      return;
  }
}

}  // namespace yolokkn::YOLOKKN_ISA
