// Instance masks, inside their boxes alone: a few blocks a multiprocessor go through the tiles of all masks. A block
// computes the logits of the prototype positions that a tile of pixels lies between, then the pixels, 32 of which a
// warp packs into one word. A tile's words are put together in shared memory and written as whole rows, so that they
// can go over the bus to pinned memory.
#include "candidates.h"
#include "yolokkn/mask_sample.h"

namespace yolokkn::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kBlocksPerProcessor = 4;
constexpr int kTileRows = 16;
constexpr int kLeastTileWords = 4;  // 128 pixels: at a prototype position a pixel 129 x 17 positions, which always fit
constexpr int kMostTileWords = 16;
constexpr int kMostNodes = 2304;  // a tile between more positions computes each pixel's four by themselves
constexpr int kMostCoeffs = 256;
constexpr int kMasksPerThread = static_cast<int>(kMostDetections) / kThreads;
static_assert((32 * kLeastTileWords + 1) * (kTileRows + 1) <= kMostNodes);

struct MaskJob {
  Detections detections;
  DevicePrototypes prototypes;
  MaskAxis x, y;
  int tile_words;
  uint32_t* bits;
  int64_t capacity;
};

struct MaskTile {
  MaskNode columns[32 * kMostTileWords];
  MaskNode rows[kTileRows];
  float coeffs[kMostCoeffs];
  float nodes[kMostNodes];
  uint32_t words[kTileRows * kMostTileWords];
  int32_t tiles_before[kMostDetections];  // of all masks before one
  int32_t warp_sums[kWarps];
};

// Coefficients x prototypes at one position, in the order of the planes; 0 where the sum is not finite.
__device__ float node_logit(const MaskJob& job, const float* coeffs, int64_t row, int64_t column) {
  const DevicePrototypes& p = job.prototypes;
  const int64_t plane = p.height * p.width;
  const int64_t at = row * p.width + column;
  float sum = 0.0f;
#pragma unroll 8
  for (int64_t k = 0; k < p.count; ++k) sum = sum + coeffs[k] * value_at(p.values, k * plane + at);
  return is_finite(sum) ? sum : 0.0f;
}

// The positions around a tile.
struct Region {
  int64_t left, top, columns, rows;
};

struct Crop {
  int32_t left, top, right, bottom;
};

// The pixels from (x0, y0) on, and where their words go: `words` of each row from first_word on.
struct TilePlace {
  int32_t x0, y0;
  int columns, rows;  // of pixels
  int words;
  int64_t first_word, words_per_row;
};

__device__ __forceinline__ Crop crop_of(const MaskJob& job, int n) {
  const int32_t* edges = job.detections.crops + 4 * n;
  return {edges[0], edges[1], edges[2], edges[3]};
}

__device__ __forceinline__ int words_of(const Crop& crop) { return (crop.right - crop.left + 31) / 32; }

__device__ __forceinline__ int tiles_across(const MaskJob& job, const Crop& crop) {
  return (words_of(crop) + job.tile_words - 1) / job.tile_words;
}

__device__ Region region_of(const MaskJob& job, const MaskTile& tile, const TilePlace& place) {
  const int64_t left = tile.columns[0].node, top = tile.rows[0].node;
  const int64_t right = tile.columns[place.columns - 1].node + 1, bottom = tile.rows[place.rows - 1].node + 1;
  const int64_t last_column = job.prototypes.width - 1, last_row = job.prototypes.height - 1;
  return {left, top, (right < last_column ? right : last_column) - left + 1,
          (bottom < last_row ? bottom : last_row) - top + 1};
}

__device__ void fill_tile(const MaskJob& job, MaskTile& tile, const TilePlace& place, const float* coeffs) {
  __syncthreads();  // the tile before has been read
  for (int i = static_cast<int>(threadIdx.x); i < place.columns; i += kThreads) {
    tile.columns[i] = mask_node(job.x, place.x0 + i);
  }
  for (int i = static_cast<int>(threadIdx.x); i < place.rows; i += kThreads) {
    tile.rows[i] = mask_node(job.y, place.y0 + i);
  }
  for (int k = static_cast<int>(threadIdx.x); k < job.prototypes.count && k < kMostCoeffs; k += kThreads) {
    tile.coeffs[k] = coeffs[k];
  }
  __syncthreads();
}

// The sample between four positions, `at(row, column)` of the prototypes.
template <typename At>
__device__ bool pixel_bit(const MaskJob& job, const MaskNode& row, const MaskNode& column, const At& at) {
  const int64_t below = row.node + 1 < job.prototypes.height ? row.node + 1 : row.node;
  const int64_t right = column.node + 1 < job.prototypes.width ? column.node + 1 : column.node;
  const float upper = 1.0f - row.weight;
  const float l = upper * at(row.node, column.node) + row.weight * at(below, column.node);
  const float r = upper * at(row.node, right) + row.weight * at(below, right);
  return mask_bit(l, r, column.weight);
}

// Packs the pixels of a tile into its words.
template <typename At>
__device__ void pack_tile(const MaskJob& job, MaskTile& tile, const TilePlace& place, const At& at) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = static_cast<int>(threadIdx.x) / 32; i < place.rows * place.words; i += kWarps) {
    const int y = i / place.words, x = 32 * (i % place.words) + lane;
    const bool is_set = x < place.columns && pixel_bit(job, tile.rows[y], tile.columns[x], at);
    const unsigned word = __ballot_sync(kAllLanes, is_set);
    if (lane == 0) tile.words[i] = word;
  }
}

// Neighbouring threads write neighbouring words: of a crop as wide as its tile all of them are.
__device__ void write_words(const MaskJob& job, const MaskTile& tile, const TilePlace& place) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < place.rows * place.words; i += kThreads) {
    const int64_t to = place.first_word + i / place.words * place.words_per_row + i % place.words;
    if (to < job.capacity) job.bits[to] = tile.words[i];
  }
}

__device__ void assemble_tile(const MaskJob& job, MaskTile& tile, const TilePlace& place, const float* all_coeffs) {
  fill_tile(job, tile, place, all_coeffs);
  const float* coeffs = job.prototypes.count <= kMostCoeffs ? tile.coeffs : all_coeffs;
  const Region region = region_of(job, tile, place);
  if (region.columns * region.rows > kMostNodes) {
    pack_tile(job, tile, place, [&](int64_t row, int64_t column) { return node_logit(job, coeffs, row, column); });
  } else {
    const int columns = static_cast<int>(region.columns);
    for (int i = static_cast<int>(threadIdx.x); i < columns * static_cast<int>(region.rows); i += kThreads) {
      tile.nodes[i] = node_logit(job, coeffs, region.top + i / columns, region.left + i % columns);
    }
    __syncthreads();
    pack_tile(job, tile, place, [&](int64_t row, int64_t column) {
      return tile.nodes[(row - region.top) * columns + (column - region.left)];
    });
  }
  write_words(job, tile, place);
}

// Counts the tiles before each mask; returns how many there are.
__device__ int count_tiles(const MaskJob& job, MaskTile& tile, int masks) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int first = kMasksPerThread * static_cast<int>(threadIdx.x);
  int32_t tiles[kMasksPerThread], own = 0;
#pragma unroll
  for (int i = 0; i < kMasksPerThread; ++i) {
    const Crop crop = first + i < masks ? crop_of(job, first + i) : Crop{0, 0, 0, 0};
    tiles[i] = tiles_across(job, crop) * ((crop.bottom - crop.top + kTileRows - 1) / kTileRows);
    own += tiles[i];
  }
  int32_t sum = own;
  for (int step = 1; step < 32; step *= 2) {
    const int32_t before = __shfl_sync(kAllLanes, sum, lane >= step ? lane - step : lane);
    if (lane >= step) sum += before;
  }
  if (lane == 31) tile.warp_sums[warp] = sum;
  __syncthreads();
  int32_t before = sum - own, total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += tile.warp_sums[w];
    total += tile.warp_sums[w];
  }
#pragma unroll
  for (int i = 0; i < kMasksPerThread; ++i) {
    tile.tiles_before[first + i] = before;
    before += tiles[i];
  }
  __syncthreads();
  return total;
}

// The mask that has tile number t: the last one with no more than t tiles before it.
__device__ int mask_of(const MaskTile& tile, int masks, int t) {
  int low = 0, high = masks - 1;
  while (low < high) {
    const int middle = (low + high + 1) / 2;
    if (tile.tiles_before[middle] <= t) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

__device__ TilePlace place_of(const MaskJob& job, const Crop& crop, int32_t first_word, int number) {
  const int across = tiles_across(job, crop), words = words_of(crop);
  const int first = number % across * job.tile_words, top = number / across * kTileRows;
  const int32_t x0 = crop.left + 32 * first, y0 = crop.top + top;
  const int columns = 32 * job.tile_words < crop.right - x0 ? 32 * job.tile_words : crop.right - x0;
  const int rows = kTileRows < crop.bottom - y0 ? kTileRows : crop.bottom - y0;
  return {x0, y0, columns, rows, (columns + 31) / 32, first_word + int64_t{top} * words + first, words};
}

__global__ void __launch_bounds__(kThreads) mask_kernel(MaskJob job) {
  auto& tile = shared_memory<MaskTile>();
  const int32_t found = job.detections.header[0];
  const int masks = found < job.detections.capacity ? found : static_cast<int>(job.detections.capacity);
  if (masks < 1) return;
  const int total = count_tiles(job, tile, masks);
  for (int t = static_cast<int>(blockIdx.x); t < total; t += static_cast<int>(gridDim.x)) {
    const int n = mask_of(tile, masks, t);
    const TilePlace place = place_of(job, crop_of(job, n), job.detections.words[n], t - tile.tiles_before[n]);
    assemble_tile(job, tile, place, job.detections.coeffs + n * job.prototypes.count);
  }
}

// The widest tile whose prototype positions fit into shared memory.
int tile_words_for(const MaskAxis& x, const MaskAxis& y) {
  int words = kMostTileWords;
  const double rows = kTileRows * y.gain * y.nodes_per_input + 3.0;
  while (words > kLeastTileWords && (32.0 * words * x.gain * x.nodes_per_input + 3.0) * rows > kMostNodes) words /= 2;
  return words;
}

}  // namespace

void assemble_masks(const Detections& detections, const DevicePrototypes& prototypes, const Letterbox& geometry,
                    uint32_t* bits, int64_t capacity, Stream stream) {
  const MaskAxis x = mask_axis_x(geometry, prototypes.width), y = mask_axis_y(geometry, prototypes.height);
  const MaskJob job{detections, prototypes, x, y, tile_words_for(x, y), bits, capacity};
  const unsigned blocks = kBlocksPerProcessor * count_processors("assemble_masks");
  launch("assemble_masks", mask_kernel, dim3(blocks), dim3(kThreads), sizeof(MaskTile),
         static_cast<cudaStream_t>(stream), job);
}

}  // namespace yolokkn::cuda
