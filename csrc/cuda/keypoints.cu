// From the kept candidates to rows of results in frame pixels: boxes, keypoints, mask coefficients, crops. One block,
// so that the rows that fall out leave no gaps and the order stays. Results may lie in pinned memory of the host: rows
// are put together in shared memory, and neighbouring threads write neighbouring words.
#include "candidates.h"

namespace yolokkn::cuda {
namespace {

constexpr int kThreads = kMostDetections;  // one a row
constexpr int kWarps = kThreads / 32;
constexpr int kRowsTogether = 4;  // whose extras a warp loads at once

struct GatherJob {
  Selection selection;
  const float* anchor_boxes;
  int64_t num_classes;
  AnchorExtras extras;
  FrameAxis x, y;
  int64_t frame_h, frame_w;
  Detections out, copy;
};

struct GatherShared {
  float boxes[4 * kMostDetections];  // of the results
  int32_t crops[4 * kMostDetections];
  int32_t words[kMostDetections];    // of each result's mask
  int32_t anchors[kMostDetections];  // of the selected rows, -1 where one falls out; then of the results
  int32_t warp_sums[kWarps];
  int32_t num_bad;
};

// The value of extra k of an anchor, as the runtime means it: raw keypoints become input pixels and a visibility.
__device__ __forceinline__ float extra_at(const AnchorExtras& extras, int64_t anchor, int64_t k) {
  int l = extras.num_levels - 1;
  while (l > 0 && anchor < extras.levels[l].first_anchor) --l;
  const AnchorExtras::Level& level = extras.levels[l];
  const int64_t cell = anchor - level.first_anchor;
  const float value = value_at(level.values, cell * level.anchor_step + k * level.extra_step);
  if (!extras.raw_keypoints || k < extras.num_coeffs) return value;
  const int64_t part = (k - extras.num_coeffs) % 3;
  if (part == 2) return sigmoid(value);
  const int64_t place = part == 0 ? cell % level.grid_w : cell / level.grid_w;
  return ((static_cast<float>(place) + 0.5f) + 2.0f * value) * level.stride;
}

__device__ __forceinline__ int64_t num_extras(const AnchorExtras& extras) {
  return extras.num_coeffs + extras.num_keypoints * extras.keypoint_width;
}

__device__ __forceinline__ Box frame_box(const GatherJob& job, int64_t anchor) {
  const float* b = job.anchor_boxes + 4 * anchor;
  return {job.x.inverse(b[0], true), job.y.inverse(b[1], true), job.x.inverse(b[2], true), job.y.inverse(b[3], true)};
}

// A selected row, by its own thread.
struct Row {
  uint64_t key;
  int32_t anchor;
  Box box;
  bool stays;
};

__device__ Row read_row(const GatherJob& job, int row, int count) {
  if (row >= count) return {0, -1, {}, false};
  const uint64_t key = job.selection.keys[row];
  const auto anchor = static_cast<int32_t>(static_cast<uint32_t>(key) / static_cast<uint32_t>(job.num_classes));
  const Box box = frame_box(job, anchor);
  return {key, anchor, box, box.x2 > box.x1 && box.y2 > box.y1};
}

// Sets the anchors of rows with extras that are not finite to -1. A warp looks at some rows at a time.
__device__ void judge_extras(const GatherJob& job, GatherShared& s, int count) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t extras = num_extras(job.extras);
  for (int first = kRowsTogether * warp; first < count; first += kRowsTogether * kWarps) {
    bool is_bad[kRowsTogether] = {};
    for (int64_t k = lane; k < extras; k += 32) {
#pragma unroll
      for (int n = 0; n < kRowsTogether; ++n) {
        const int32_t anchor = first + n < count ? s.anchors[first + n] : -1;
        if (anchor >= 0) is_bad[n] = is_bad[n] || !is_finite(extra_at(job.extras, anchor, k));
      }
    }
#pragma unroll
    for (int n = 0; n < kRowsTogether; ++n) {
      if (__ballot_sync(kAllLanes, is_bad[n]) == 0 || lane != 0) continue;
      s.anchors[first + n] = -1;
      atomicAdd(&s.num_bad, 1);
    }
  }
}

struct Sum {
  int32_t before, total;
};

// The sum of the values of the threads before this one, and of all.
__device__ Sum sum_of_block(GatherShared& s, int32_t own) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  int32_t in_warp = own;
  for (int step = 1; step < 32; step *= 2) {
    const int32_t before = __shfl_sync(kAllLanes, in_warp, lane >= step ? lane - step : lane);
    if (lane >= step) in_warp += before;
  }
  __syncthreads();  // the sums of the call before have been read
  if (lane == 31) s.warp_sums[warp] = in_warp;
  __syncthreads();
  Sum sum{in_warp - own, 0};
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) sum.before += s.warp_sums[w];
    sum.total += s.warp_sums[w];
  }
  return sum;
}

// One result, into shared memory.
__device__ void stage_row(const GatherJob& job, GatherShared& s, const Row& row, int to) {
  s.anchors[to] = row.anchor;
  const float box[4] = {row.box.x1, row.box.y1, row.box.x2, row.box.y2};
  const int32_t crop[4] = {crop_edge(box[0], job.frame_w), crop_edge(box[1], job.frame_h),
                           crop_edge(box[2], job.frame_w), crop_edge(box[3], job.frame_h)};
  const bool is_empty = crop[2] <= crop[0] || crop[3] <= crop[1];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    s.boxes[4 * to + i] = box[i];
    s.crops[4 * to + i] = is_empty ? 0 : crop[i];
  }
  s.words[to] = is_empty ? 0 : (crop[2] - crop[0] + 31) / 32 * (crop[3] - crop[1]);
}

// What a thread has of its own row: neighbouring threads have neighbouring results.
__device__ void write_fields(const GatherJob& job, const Detections& out, const Row& row, int to) {
  if (out.scores != nullptr) out.scores[to] = score_of_rank(static_cast<uint32_t>(row.key >> 32));
  if (out.class_ids != nullptr) {
    const auto index = static_cast<uint32_t>(row.key);
    out.class_ids[to] = static_cast<int32_t>(index % static_cast<uint32_t>(job.num_classes));
  }
  if (out.anchors != nullptr) out.anchors[to] = row.anchor;
}

__device__ void write_staged(const GatherShared& s, const Detections& out, int count) {
  for (int i = static_cast<int>(threadIdx.x); i < 4 * count; i += kThreads) {
    if (out.boxes != nullptr) out.boxes[i] = s.boxes[i];
    if (out.crops != nullptr) out.crops[i] = s.crops[i];
  }
}

// Value v of an anchor's keypoints as results have them: x, y in frame pixels and a visibility each.
__device__ float keypoint_value(const GatherJob& job, int64_t anchor, int64_t v) {
  const int64_t part = v % 3;
  if (part == 2 && job.extras.keypoint_width != 3) return 1.0f;
  const int64_t k = job.extras.num_coeffs + v / 3 * job.extras.keypoint_width + part;
  const float value = extra_at(job.extras, anchor, k);
  return part == 2 ? value : (part == 0 ? job.x : job.y).inverse(value, true);
}

// Writes what a warp has computed of one value of a row, in both places.
__device__ __forceinline__ void write_both(float* to, float* copy, int64_t at, float value) {
  if (to != nullptr) to[at] = value;
  if (copy != nullptr) copy[at] = value;
}

// Mask coefficients and keypoints, a warp for some rows at a time, a lane for each value.
__device__ void write_extras(const GatherJob& job, const GatherShared& s, int count) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const bool has_coeffs = job.out.coeffs != nullptr || job.copy.coeffs != nullptr;
  const bool has_keypoints = job.out.keypoints != nullptr || job.copy.keypoints != nullptr;
  const int64_t coeffs = has_coeffs ? job.extras.num_coeffs : 0,
                points = has_keypoints ? 3 * job.extras.num_keypoints : 0;
  for (int first = kRowsTogether * warp; first < count; first += kRowsTogether * kWarps) {
    const int rows = count - first < kRowsTogether ? count - first : kRowsTogether;
    for (int64_t k = lane; k < coeffs; k += 32) {
      float values[kRowsTogether];
#pragma unroll
      for (int n = 0; n < kRowsTogether; ++n) {
        values[n] = n < rows ? extra_at(job.extras, s.anchors[first + n], k) : 0.0f;
      }
#pragma unroll
      for (int n = 0; n < kRowsTogether; ++n) {
        if (n < rows) write_both(job.out.coeffs, job.copy.coeffs, (first + n) * coeffs + k, values[n]);
      }
    }
    for (int64_t i = lane; i < rows * points; i += 32) {  // of these rows one after the other
      const float value = keypoint_value(job, s.anchors[first + i / points], i % points);
      write_both(job.out.keypoints, job.copy.keypoints, first * points + i, value);
    }
  }
}

__device__ void write_ends(const GatherJob& job, const GatherShared& s, const Detections& out, int count,
                           const Sum& words) {
  if (out.words != nullptr && static_cast<int>(threadIdx.x) < count) out.words[threadIdx.x] = words.before;
  if (threadIdx.x != 0 || out.header == nullptr) return;
  if (out.words != nullptr) out.words[count] = words.total;
  out.header[0] = count;
  out.header[1] = job.selection.header[1];
  out.header[2] = job.selection.header[2] + s.num_bad;
  out.header[3] = out.words != nullptr ? words.total : 0;
}

__global__ void __launch_bounds__(kThreads) gather_kernel(GatherJob job) {
  auto& s = shared_memory<GatherShared>();
  int count = job.selection.header[0];
  count = count < job.out.capacity ? count : static_cast<int>(job.out.capacity);
  const int own = static_cast<int>(threadIdx.x);
  Row row = read_row(job, own, count);
  s.anchors[own] = row.stays ? row.anchor : -1;
  if (own == 0) s.num_bad = 0;
  __syncthreads();
  if (num_extras(job.extras) > 0) {
    judge_extras(job, s, count);
    __syncthreads();
    row.stays = s.anchors[own] >= 0;
  }
  const Sum place = sum_of_block(s, row.stays ? 1 : 0);
  if (row.stays) {
    stage_row(job, s, row, place.before);
    write_fields(job, job.out, row, place.before);
    write_fields(job, job.copy, row, place.before);
  }
  __syncthreads();
  write_staged(s, job.out, place.total);
  write_staged(s, job.copy, place.total);
  write_extras(job, s, place.total);
  const Sum words = sum_of_block(s, own < place.total ? s.words[own] : 0);
  write_ends(job, s, job.out, place.total, words);
  write_ends(job, s, job.copy, place.total, words);
}

struct PairsJob {
  const float* pairs;
  int64_t count;
  FrameAxis x, y;
  bool clip;
  float* out;
};

constexpr int kPairThreads = 256;

__global__ void __launch_bounds__(kPairThreads) inverse_kernel(PairsJob job) {
  const int64_t i = int64_t{blockIdx.x} * kPairThreads + threadIdx.x;
  if (i >= job.count) return;
  const float x = job.pairs[2 * i], y = job.pairs[2 * i + 1];
  job.out[2 * i] = job.x.inverse(x, job.clip);
  job.out[2 * i + 1] = job.y.inverse(y, job.clip);
}

FrameAxis axis_x(const Letterbox& g) { return frame_axis(g.pad_left, g.resized_w, g.image_w); }
FrameAxis axis_y(const Letterbox& g) { return frame_axis(g.pad_top, g.resized_h, g.image_h); }

}  // namespace

void gather_detections(const Selection& selection, const float* anchor_boxes, int64_t num_classes,
                       const AnchorExtras& extras, const Letterbox& geometry, const Detections& out,
                       const Detections& copy, Stream stream) {
  const GatherJob job{selection,        anchor_boxes,     num_classes,      extras, axis_x(geometry),
                      axis_y(geometry), geometry.image_h, geometry.image_w, out,    copy};
  launch("gather_detections", gather_kernel, dim3(1), dim3(kThreads), sizeof(GatherShared),
         static_cast<cudaStream_t>(stream), job);
}

void inverse_letterbox(const float* pairs, int64_t num_pairs, const Letterbox& geometry, bool clip, float* out,
                       Stream stream) {
  if (num_pairs == 0) return;
  launch("inverse_letterbox", inverse_kernel, dim3(blocks_for(num_pairs, kPairThreads)), dim3(kPairThreads), 0,
         static_cast<cudaStream_t>(stream), PairsJob{pairs, num_pairs, axis_x(geometry), axis_y(geometry), clip, out});
}

}  // namespace yolokkn::cuda
