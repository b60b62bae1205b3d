// Hot loops of the masks, compiled once per instruction set. Every path does the same float operations in the same
// order.
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "mask_kernels.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace yolokkn::YOLOKKN_ISA {
namespace {

#ifdef __AVX2__

alignas(32) constexpr int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

__m256 finite_or_zero(__m256 value) noexcept {
  const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), value);
  return _mm256_and_ps(value, _mm256_cmp_ps(magnitude, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ));
}

// Logits of a tile of rows x (8 vectors) columns, of which `cols` are read; the sums of a tile wait for no other.
template <int kRows, int kVectors>
void logits_tile(const float* tile, const NodeRegion& region, const float* coeffs, int64_t cols, float* out,
                 int64_t ld) noexcept {
  const int32_t* first_lanes = kLaneMasks + 8 - (cols - 8 * (kVectors - 1));
  const __m256i lanes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first_lanes));
  __m256 sum[kRows][kVectors];
  for (auto& row : sum) {
    for (__m256& vector : row) vector = _mm256_setzero_ps();
  }
  for (int64_t p = 0; p < region.planes; ++p, tile += region.plane_stride) {
    const __m256 coeff = _mm256_set1_ps(coeffs[p]);
    for (int r = 0; r < kRows; ++r) {
      const float* row = tile + r * region.row_stride;
      for (int v = 0; v < kVectors; ++v) {
        const bool last = v == kVectors - 1;
        const __m256 plane = last ? _mm256_maskload_ps(row + 8 * v, lanes) : _mm256_loadu_ps(row + 8 * v);
        sum[r][v] = _mm256_add_ps(sum[r][v], _mm256_mul_ps(coeff, plane));
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) _mm256_storeu_ps(out + r * ld + 8 * v, finite_or_zero(sum[r][v]));
  }
}

template <int kRows>
void logits_rows(const float* tile, const NodeRegion& region, const float* coeffs, float* out, int64_t ld) noexcept {
  for (int64_t c = 0; c < region.cols; c += 24) {
    const int64_t left = region.cols - c;
    if (left > 16) {
      logits_tile<kRows, 3>(tile + c, region, coeffs, left < 24 ? left : 24, out + c, ld);
    } else if (left > 8) {
      logits_tile<kRows, 2>(tile + c, region, coeffs, left, out + c, ld);
    } else {
      logits_tile<kRows, 1>(tile + c, region, coeffs, left, out + c, ld);
    }
  }
}

// Four rows at a time; the last four may overlap those before them, which are then written twice alike.
void node_logits(const NodeRegion& region, const float* coeffs, float* logits, int64_t ld) noexcept {
  const int64_t step = region.rows >= 4 ? 4 : 1;
  for (int64_t next = 0; next < region.rows; next += step) {
    const int64_t r = next + step <= region.rows ? next : region.rows - step;
    const float* tile = region.prototypes + r * region.row_stride;
    if (step == 4) {
      logits_rows<4>(tile, region, coeffs, logits + r * ld, ld);
    } else {
      logits_rows<1>(tile, region, coeffs, logits + r * ld, ld);
    }
  }
}

// Stores the nodes [begin, begin + count) of the row and returns which are above 0, the first one in bit 0. `count` is
// 64 at most; bits from `count` on are anything. Signs are taken here, since reading the stored nodes again would
// stall.
uint64_t lerp_nodes(const MaskRow& row, int64_t begin, int64_t count) noexcept {
  const __m256 lower = _mm256_set1_ps(row.lower_weight);
  const __m256 upper = _mm256_set1_ps(1.0f - row.lower_weight);
  uint64_t signs = 0;
  for (int64_t c = 0; c < count; c += 8) {
    const __m256 a = _mm256_mul_ps(upper, _mm256_loadu_ps(row.upper + begin + c));
    const __m256 b = _mm256_mul_ps(lower, _mm256_loadu_ps(row.lower + begin + c));
    const __m256 nodes = _mm256_add_ps(a, b);
    _mm256_storeu_ps(row.lerped + begin + c, nodes);
    const int bits = _mm256_movemask_ps(_mm256_cmp_ps(nodes, _mm256_setzero_ps(), _CMP_GT_OQ));
    signs |= static_cast<uint64_t>(static_cast<uint32_t>(bits)) << c;
  }
  return signs;
}

// Most runs are short: two vectors are always written, what is too much is written again by the next run.
void fill(uint8_t* out, int64_t begin, int64_t end, bool inside) noexcept {
  const __m256i value = _mm256_set1_epi8(inside ? 1 : 0);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + begin), value);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + begin + 32), value);
  for (int64_t x = begin + 64; x < end; x += 32) _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + x), value);
}

void mixed_cell(const float* weights, int64_t begin, int64_t end, float left, float right, uint8_t* out) noexcept {
  const __m256 l = _mm256_set1_ps(left);
  const __m256 r = _mm256_set1_ps(right);
  const __m256 one = _mm256_set1_ps(1.0f);
  for (int64_t x = begin; x < end; x += 8) {
    const __m256 w = _mm256_loadu_ps(weights + x);
    const __m256 value = _mm256_add_ps(_mm256_mul_ps(_mm256_sub_ps(one, w), l), _mm256_mul_ps(w, r));
    const __m256i set = _mm256_castps_si256(_mm256_cmp_ps(value, _mm256_setzero_ps(), _CMP_GT_OQ));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(set), _mm256_extracti128_si256(set, 1));
    const __m128i bytes = _mm_and_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(out + x), bytes);
  }
}

int64_t row_changes(const uint8_t* upper, const uint8_t* lower, int64_t width, int32_t* columns) noexcept {
  const __m256i zero = _mm256_setzero_si256();
  int32_t* out = columns;
  for (int64_t x = 0; x < width; x += 32) {
    const __m256i a = _mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(upper + x)), zero);
    const __m256i b = _mm256_cmpeq_epi8(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(lower + x)), zero);
    auto bits = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_xor_si256(a, b)));
    if (width - x < 32) bits &= (1u << (width - x)) - 1u;
    for (; bits != 0; bits &= bits - 1) *out++ = static_cast<int32_t>(x) + __builtin_ctz(bits);
  }
  return out - columns;
}

int64_t next_start(const uint8_t* row, int64_t begin, int64_t width) noexcept {
  const __m256i one = _mm256_set1_epi8(1);
  for (int64_t x = begin; x < width; x += 32) {
    const __m256i here = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + x));
    const __m256i left = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + x - 1));
    const __m256i starts =
        _mm256_and_si256(_mm256_cmpeq_epi8(here, one), _mm256_cmpeq_epi8(left, _mm256_setzero_si256()));
    const auto bits = static_cast<uint32_t>(_mm256_movemask_epi8(starts));
    if (bits != 0) return x + __builtin_ctz(bits);
  }
  return width;
}

#else

constexpr int64_t kNodeBlock = 32;  // columns of one pass over the planes

void node_logits(const NodeRegion& region, const float* coeffs, float* logits, int64_t ld) noexcept {
  for (int64_t r = 0; r < region.rows; ++r) {
    for (int64_t begin = 0; begin < region.cols; begin += kNodeBlock) {
      const int64_t count = region.cols - begin < kNodeBlock ? region.cols - begin : kNodeBlock;
      const float* row = region.prototypes + r * region.row_stride + begin;
      float sum[kNodeBlock] = {};
      for (int64_t p = 0; p < region.planes; ++p, row += region.plane_stride) {
        for (int64_t c = 0; c < count; ++c) sum[c] = sum[c] + coeffs[p] * row[c];
      }
      float* out = logits + r * ld + begin;
      for (int64_t c = 0; c < count; ++c) out[c] = std::fabs(sum[c]) <= FLT_MAX ? sum[c] : 0.0f;
    }
  }
}

uint64_t lerp_nodes(const MaskRow& row, int64_t begin, int64_t count) noexcept {
  const float lower = row.lower_weight;
  const float upper = 1.0f - lower;
  uint64_t signs = 0;
  for (int64_t c = begin; c < begin + count; ++c) {
    row.lerped[c] = upper * row.upper[c] + lower * row.lower[c];
    signs |= static_cast<uint64_t>(row.lerped[c] > 0.0f) << (c - begin);
  }
  return signs;
}

void fill(uint8_t* out, int64_t begin, int64_t end, bool inside) noexcept {
  if (begin < end) std::memset(out + begin, inside ? 1 : 0, static_cast<size_t>(end - begin));
}

void mixed_cell(const float* weights, int64_t begin, int64_t end, float left, float right, uint8_t* out) noexcept {
  for (int64_t x = begin; x < end; ++x) {
    out[x] = (1.0f - weights[x]) * left + weights[x] * right > 0.0f ? 1 : 0;
  }
}

uint64_t load_8(const uint8_t* bytes) noexcept {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

int64_t row_changes(const uint8_t* upper, const uint8_t* lower, int64_t width, int32_t* columns) noexcept {
  int64_t count = 0;
  for (int64_t x = 0; x < width; x += 8) {
    if (load_8(upper + x) == load_8(lower + x)) continue;
    for (int64_t i = x; i < x + 8 && i < width; ++i) {
      if ((upper[i] == 0) != (lower[i] == 0)) columns[count++] = static_cast<int32_t>(i);
    }
  }
  return count;
}

int64_t next_start(const uint8_t* row, int64_t begin, int64_t width) noexcept {
  for (int64_t x = begin; x < width; x += 8) {
    if (load_8(row + x) == 0) continue;
    for (int64_t i = x; i < x + 8 && i < width; ++i) {
      if (row[i] == 1 && row[i - 1] == 0) return i;
    }
  }
  return width;
}

#endif

// Between two nodes of the same sign the sample keeps it, whatever the weight: only cells whose nodes differ are
// computed.
void mask_row(const MaskRow& row, uint8_t* out) noexcept {
  int64_t x = 0;
  uint64_t last = 0;  // sign of the node before this word
  bool inside = false;
  for (int64_t base = 0; base < row.cols; base += 64) {
    const int64_t count = row.cols - base < 64 ? row.cols - base : 64;
    const uint64_t signs = lerp_nodes(row, base, count);
    if (base == 0) {
      last = signs & 1;
      inside = last != 0;
    }
    uint64_t turns = (signs ^ (signs << 1 | last)) & (~uint64_t{0} >> (64 - count));
    last = signs >> 63;
    for (; turns != 0; turns &= turns - 1) {
      const int64_t cell = base + __builtin_ctzll(turns) - 1;
      const int64_t begin = cell > 0 ? row.cell_ends[cell - 1] : 0;
      fill(out, x, begin, inside);
      mixed_cell(row.weights, begin, row.cell_ends[cell], row.lerped[cell], row.lerped[cell + 1], out);
      x = row.cell_ends[cell];
      inside = !inside;
    }
  }
  fill(out, x, row.width, inside);
}

void xor_row(uint8_t* row, const uint8_t* above, int64_t width) noexcept {
  for (int64_t x = 0; x < width; ++x) row[x] = static_cast<uint8_t>(row[x] ^ above[x]);
}

void copy_bits(const uint8_t* from, int64_t count, uint8_t* to) noexcept {
  for (int64_t x = 0; x < count; ++x) to[x] = from[x] != 0 ? 1 : 0;
}

}  // namespace

extern const MaskKernels kMaskKernels;
const MaskKernels kMaskKernels{node_logits, mask_row, row_changes, xor_row, copy_bits, next_start};

}  // namespace yolokkn::YOLOKKN_ISA
