// COCO's run lengths of packed masks. A block takes a mask, a thread a column of its crop: first it counts where the
// column changes, then it writes those positions, numbered column by column over the whole frame, behind the columns
// before it; last, positions become the differences between them.
#include "candidates.h"

namespace yolokkn::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kBlocksPerProcessor = 2;

struct RleJob {
  Detections detections;
  const uint32_t* bits;
  int64_t num_bits_words;
  int64_t frame_h, frame_w;
  RunLengths out;
};

struct RleShared {
  int32_t warp_sums[kWarps];
};

// A mask's crop and its words.
struct PackedMask {
  const uint32_t* rows;
  int32_t left, top, width, height;
  int64_t words_per_row;
  bool joins;  // as high as the frame: a column goes on at the top of the next one
};

// The columns of one word of a row; those beyond the crop are 0.
__device__ __forceinline__ uint32_t word_at(const PackedMask& mask, int32_t row, int32_t word) {
  const int32_t left = mask.width - 32 * word;
  const uint32_t valid = left >= 32 ? ~0u : (1u << left) - 1u;
  return mask.rows[row * mask.words_per_row + word] & valid;
}

// What lies before the first row of a word's columns: nothing, or the last row of the columns to their left.
__device__ uint32_t word_before_first_row(const PackedMask& mask, int32_t word) {
  if (!mask.joins) return 0;
  const uint32_t left = word > 0 ? word_at(mask, mask.height - 1, word - 1) >> 31 : 0;
  return word_at(mask, mask.height - 1, word) << 1 | left;
}

// Calls visit(row) where a column of the crop changes, the row behind its last one included.
template <typename Visit>
__device__ __forceinline__ void for_each_change(const PackedMask& mask, int32_t column, const Visit& visit) {
  const int32_t word = column / 32;
  const uint32_t own = 1u << (column % 32);
  uint32_t above = word_before_first_row(mask, word);
#pragma unroll 8
  for (int32_t y = 0; y < mask.height; ++y) {
    const uint32_t here = word_at(mask, y, word);
    if (((here ^ above) & own) != 0) visit(y);
    above = here;
  }
  if ((above & own) != 0 && (!mask.joins || column == mask.width - 1)) visit(mask.height);
}

struct Sum {
  int32_t before, total;
};

// The sum of the values of the threads before this one, and of all.
__device__ Sum sum_of_block(RleShared& s, int32_t own) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  int32_t sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int32_t before = __shfl_sync(kAllLanes, sum, lane >= step ? lane - step : lane);
    if (lane >= step) sum += before;
  }
  __syncthreads();  // the sums of the call before have been read
  if (lane == 31) s.warp_sums[warp] = sum;
  __syncthreads();
  Sum result{sum - own, 0};
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) result.before += s.warp_sums[w];
    result.total += s.warp_sums[w];
  }
  return result;
}

// Writes where the runs end, but for the one that ends with the frame, as far as there is room; returns their number.
__device__ int32_t write_positions(const RleJob& job, RleShared& s, const PackedMask& mask, uint32_t* out) {
  int32_t count = 0;
  for (int32_t first = 0; first < mask.width; first += kThreads) {
    const int32_t column = first + static_cast<int32_t>(threadIdx.x);
    int32_t own = 0;
    if (column < mask.width) for_each_change(mask, column, [&](int32_t) { ++own; });
    const Sum place = sum_of_block(s, own);
    const int64_t top = (mask.left + column) * job.frame_h + mask.top;
    int32_t to = count + place.before;
    if (own > 0) {
      for_each_change(mask, column, [&](int32_t row) {
        if (to < job.out.capacity) out[to] = static_cast<uint32_t>(top + row);
        ++to;
      });
    }
    count += place.total;
  }
  return count;
}

// Turns positions into run lengths, the last ones first, so that each still finds the position before it.
__device__ void subtract_neighbours(uint32_t* out, int32_t count) {
  for (int32_t first = (count - 1) / kThreads * kThreads; first >= 0; first -= kThreads) {
    const int32_t i = first + static_cast<int32_t>(threadIdx.x);
    const uint32_t end = i < count ? out[i] : 0;
    const uint32_t begin = i > 0 && i < count ? out[i - 1] : 0;
    __syncthreads();
    if (i < count) out[i] = end - begin;
    __syncthreads();
  }
}

__device__ void encode_mask(const RleJob& job, RleShared& s, int n) {
  const int32_t* crop = job.detections.crops + 4 * n;
  const int32_t first = job.detections.words[n];
  const PackedMask mask{job.bits + first,
                        crop[0],
                        crop[1],
                        crop[2] - crop[0],
                        crop[3] - crop[1],
                        (int64_t{crop[2]} - crop[0] + 31) / 32,
                        crop[1] == 0 && crop[3] == job.frame_h};
  if (first + mask.words_per_row * mask.height > job.num_bits_words) {
    if (threadIdx.x == 0) job.out.counts[n] = 0;
    return;
  }
  uint32_t* out = job.out.lengths + n * job.out.capacity;
  int32_t count = mask.width > 0 && mask.height > 0 ? write_positions(job, s, mask, out) : 0;
  const bool is_set_at_end =
      count > 0 && crop[2] == job.frame_w && crop[3] == job.frame_h &&
      (word_at(mask, mask.height - 1, (mask.width - 1) / 32) >> ((mask.width - 1) % 32) & 1u) != 0;
  if (!is_set_at_end) {
    if (threadIdx.x == 0 && count < job.out.capacity) out[count] = static_cast<uint32_t>(job.frame_h * job.frame_w);
    ++count;
  }
  __syncthreads();
  if (threadIdx.x == 0) job.out.counts[n] = count;
  subtract_neighbours(out, count < job.out.capacity ? count : static_cast<int32_t>(job.out.capacity));
}

__global__ void __launch_bounds__(kThreads) rle_kernel(RleJob job) {
  auto& s = shared_memory<RleShared>();
  const int32_t found = job.detections.header[0];
  const int masks = found < job.detections.capacity ? found : static_cast<int>(job.detections.capacity);
  for (int n = static_cast<int>(blockIdx.x); n < masks; n += static_cast<int>(gridDim.x)) encode_mask(job, s, n);
}

}  // namespace

void encode_rle(const Detections& detections, const uint32_t* bits, int64_t num_words, int64_t frame_h, int64_t frame_w,
                const RunLengths& out, Stream stream) {
  const unsigned most = kBlocksPerProcessor * count_processors("encode_rle");
  const auto masks = static_cast<unsigned>(detections.capacity);
  launch("encode_rle", rle_kernel, dim3(masks < most ? masks : most), dim3(kThreads), sizeof(RleShared),
         static_cast<cudaStream_t>(stream), RleJob{detections, bits, num_words, frame_h, frame_w, out});
}

}  // namespace yolokkn::cuda
