// The letterbox: a block writes a tile of the input, whose columns' and rows' places in the frame it computes once.
#include "launch.h"
#include "yolokkn/cuda.h"
#include "yolokkn/letterbox_sample.h"
#include "yolokkn/nv12.h"

namespace yolokkn::cuda {
namespace {

constexpr int kColumns = 32;  // threads
constexpr int kRows = 8;
constexpr int kRun = 4;  // pixels a thread writes side by side

struct LetterboxJob {
  const uint8_t* pixels;
  int64_t row_stride;
  const uint8_t* chroma;
  int64_t chroma_stride;
  YuvMatrix matrix;
  Letterbox place;
  float scale[3], offset[3], pad[3];  // of each plane; scale for integers 2^21 times as large as a pixel
  bool swap_rb, keep_padding;
};

struct LetterboxTile {
  LetterboxSample columns[kColumns * kRun];
  LetterboxSample rows[kRows];
};

template <PixelFormat kFormat>
__device__ __forceinline__ Bgr pixel_at(const LetterboxJob& job, int64_t y, int64_t x) {
  const uint8_t* row = job.pixels + y * job.row_stride;
  if (kFormat == PixelFormat::kBgr) return {row[3 * x], row[3 * x + 1], row[3 * x + 2]};
  const uint8_t* pair = job.chroma + (y / 2) * job.chroma_stride + x / 2 * 2;
  return yuv_to_bgr(job.matrix, row[x], pair[0], pair[1]);
}

struct Sums {
  int b, g, r;
};

template <PixelFormat kFormat>
__device__ __forceinline__ Sums sample(const LetterboxJob& job, const LetterboxSample& row,
                                       const LetterboxSample& column) {
  const int64_t below = row.left + 1 < job.place.image_h ? row.left + 1 : row.left;
  const int64_t right = column.left + 1 < job.place.image_w ? column.left + 1 : column.left;
  const Bgr p00 = pixel_at<kFormat>(job, row.left, column.left), p01 = pixel_at<kFormat>(job, row.left, right);
  const Bgr p10 = pixel_at<kFormat>(job, below, column.left), p11 = pixel_at<kFormat>(job, below, right);
  const auto mixed = [&](int a, int b, int c, int d) {
    return lerp_columns(lerp_rows(a, c, row.weight), lerp_rows(b, d, row.weight), column.weight);
  };
  return {mixed(p00.b, p01.b, p10.b, p11.b), mixed(p00.g, p01.g, p10.g, p11.g), mixed(p00.r, p01.r, p10.r, p11.r)};
}

__device__ __forceinline__ void store(float* to, float value) { *to = value; }
__device__ __forceinline__ void store(Half* to, float value) { *to = to_half(value); }

template <PixelFormat kFormat, typename T>
__global__ void __launch_bounds__(kColumns* kRows) letterbox_kernel(LetterboxJob job, T* out) {
  auto& tile = shared_memory<LetterboxTile>();
  const Letterbox& g = job.place;
  const int64_t left = int64_t{blockIdx.x} * (kColumns * kRun);
  const int64_t top = int64_t{blockIdx.y} * kRows;
  const int thread = static_cast<int>(threadIdx.y * kColumns + threadIdx.x);
  if (thread < kColumns * kRun) {
    tile.columns[thread] = letterbox_sample(left + thread - g.pad_left, g.image_w, g.resized_w, kColumnWeight);
  } else if (thread < kColumns * kRun + kRows) {
    const int row = thread - kColumns * kRun;
    tile.rows[row] = letterbox_row_sample(top + row - g.pad_top, g.image_h, g.resized_h);
  }
  __syncthreads();
  const int64_t y = top + threadIdx.y;
  if (y >= g.input_h) return;
  const bool row_has_content = y >= g.pad_top && y < g.pad_top + g.resized_h;
  const int64_t plane = g.input_h * g.input_w;
  for (int i = 0; i < kRun; ++i) {
    // side by side in a warp, so that its stores fill whole lines
    const int column = i * kColumns + static_cast<int>(threadIdx.x);
    const int64_t x = left + column;
    if (x >= g.input_w) break;
    T* to = out + y * g.input_w + x;
    if (row_has_content && x >= g.pad_left && x < g.pad_left + g.resized_w) {
      const Sums sums = sample<kFormat>(job, tile.rows[threadIdx.y], tile.columns[column]);
      const float first = static_cast<float>(job.swap_rb ? sums.r : sums.b);
      const float last = static_cast<float>(job.swap_rb ? sums.b : sums.r);
      store(to, first * job.scale[0] + job.offset[0]);
      store(to + plane, static_cast<float>(sums.g) * job.scale[1] + job.offset[1]);
      store(to + 2 * plane, last * job.scale[2] + job.offset[2]);
    } else if (!job.keep_padding) {
      for (int c = 0; c < 3; ++c) store(to + c * plane, job.pad[c]);
    }
  }
}

template <PixelFormat kFormat>
void start(const LetterboxJob& job, void* out, bool is_half, cudaStream_t stream) {
  const dim3 grid(blocks_for(job.place.input_w, kColumns * kRun), blocks_for(job.place.input_h, kRows));
  const dim3 block(kColumns, kRows);
  if (is_half) {
    launch("letterbox", letterbox_kernel<kFormat, Half>, grid, block, sizeof(LetterboxTile), stream, job,
           static_cast<Half*>(out));
  } else {
    launch("letterbox", letterbox_kernel<kFormat, float>, grid, block, sizeof(LetterboxTile), stream, job,
           static_cast<float*>(out));
  }
}

}  // namespace

void letterbox(const DeviceFrame& frame, const Letterbox& geometry, const LetterboxValues& values, void* out,
               bool is_half, Stream stream) {
  LetterboxJob job{frame.pixels,
                   frame.row_stride,
                   frame.chroma,
                   frame.chroma_stride,
                   yuv_matrix(frame.bt709, frame.full_range),
                   geometry,
                   {},
                   {},
                   {},
                   values.swap_rb,
                   values.keep_padding};
  for (int c = 0; c < 3; ++c) {
    job.scale[c] = values.scale[c] * 0x1p-21f;
    job.offset[c] = values.offset[c];
    job.pad[c] = static_cast<float>(values.pad_value) * values.scale[c] + values.offset[c];
  }
  const auto on = static_cast<cudaStream_t>(stream);
  if (frame.format == PixelFormat::kNv12) return start<PixelFormat::kNv12>(job, out, is_half, on);
  start<PixelFormat::kBgr>(job, out, is_half, on);
}

}  // namespace yolokkn::cuda
