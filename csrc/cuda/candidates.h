// What the decoders' kernels share: how a candidate is appended, and how the classes of an anchor are walked through.
// Internal to csrc/cuda.
#pragma once

#include <limits>

#include "launch.h"
#include "yolokkn/anchor_boxes.h"
#include "yolokkn/cuda.h"
#include "yolokkn/score_rank.h"

namespace yolokkn::cuda {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
enum Counter { kFound = 0, kDropped = 1 };

__device__ __forceinline__ float value_at(const Values& values, int64_t index) {
  return values.is_half ? to_float(static_cast<const Half*>(values.data)[index])
                        : static_cast<const float*>(values.data)[index];
}

__device__ __forceinline__ uint64_t candidate_key(float score, int64_t anchor, int64_t class_id, int64_t num_classes) {
  return score_key(score, static_cast<uint32_t>(anchor * num_classes + class_id));
}

__device__ __forceinline__ void write_box(const CandidateBuffers& out, int64_t anchor, Box box) {
  float* to = out.boxes + 4 * anchor;
  to[0] = box.x1;
  to[1] = box.y1;
  to[2] = box.x2;
  to[3] = box.y2;
}

// Appends the keys of those lanes of a warp that have one; every lane must come. One atomic for all.
__device__ __forceinline__ void append(const CandidateBuffers& out, bool has_one, uint64_t key, unsigned lane) {
  const unsigned with = __ballot_sync(kAllLanes, has_one);
  if (with == 0) return;
  int first = 0;
  if (lane == 0) first = atomicAdd(out.counters + kFound, __popc(with));
  first = __shfl_sync(kAllLanes, first, 0);
  const int64_t place = first + __popc(with & ((1u << lane) - 1u));
  if (has_one && place < out.capacity) out.keys[place] = key;
}

__device__ __forceinline__ bool is_considered(const AnchorFilter& filter, int64_t class_id) {
  return filter.class_mask == nullptr || filter.class_mask[class_id] != 0;
}

// The best class so far: the highest score, the lowest id of equals. A score that is NaN or infinite is bad.
struct BestClass {
  float score = -kInfinity;
  int32_t class_id = -1;
  bool is_bad = false;

  __device__ __forceinline__ void see(float other, int32_t id) {
    is_bad = is_bad || !(other < kInfinity);
    if (other > score || (other == score && id < class_id)) {
      score = other;
      class_id = id;
    }
  }

  __device__ __forceinline__ void merge(const BestClass& other) {
    is_bad = is_bad || other.is_bad;
    if (other.class_id >= 0 && (other.score > score || (other.score == score && other.class_id < class_id))) {
      score = other.score;
      class_id = other.class_id;
    }
  }
};

// Whether an anchor is looked at: its objectness, where it has one.
enum class Presence { kAbsent, kPresent, kBad };

// ---- outputs whose anchors lie side by side, one row of them for each class: 32 anchors x 8 groups of classes a block

inline constexpr int kColumnLanes = 32;
inline constexpr int kColumnGroups = 8;

struct ColumnTile {
  BestClass best[kColumnGroups][kColumnLanes];
  uint8_t passes[kColumnLanes];
};

// A Source has num_anchors, num_classes, presence(anchor, threshold), score(class, anchor), box(anchor).
template <typename Source>
__global__ void __launch_bounds__(kColumnLanes* kColumnGroups)
    scan_columns(Source source, AnchorFilter filter, CandidateBuffers out) {
  auto& tile = shared_memory<ColumnTile>();
  const unsigned lane = threadIdx.x;
  const int64_t anchor = int64_t{blockIdx.x} * kColumnLanes + lane;
  Presence presence = Presence::kAbsent;
  if (anchor < source.num_anchors) presence = source.presence(anchor, filter.score_threshold);
  BestClass best;
  if (presence == Presence::kPresent) {
#pragma unroll 4
    for (int64_t c = threadIdx.y; c < source.num_classes; c += kColumnGroups) {
      if (is_considered(filter, c)) best.see(source.score(c, anchor), static_cast<int32_t>(c));
    }
  }
  tile.best[threadIdx.y][lane] = best;
  __syncthreads();
  if (threadIdx.y == 0) {
    for (int group = 1; group < kColumnGroups; ++group) best.merge(tile.best[group][lane]);
    bool is_dropped = presence == Presence::kBad || best.is_bad;
    bool passes = !is_dropped && best.score > filter.score_threshold;
    if (passes) {
      const Box box = source.box(anchor);
      is_dropped = !is_finite(box);
      passes = !is_dropped;
      if (passes) write_box(out, anchor, box);
    }
    const unsigned dropped = __ballot_sync(kAllLanes, is_dropped);
    if (lane == 0 && dropped != 0) atomicAdd(out.counters + kDropped, __popc(dropped));
    tile.passes[lane] = passes ? 1 : 0;
    if (!filter.multi_label) {
      append(out, passes, candidate_key(best.score, anchor, best.class_id, source.num_classes), lane);
    }
  }
  if (!filter.multi_label) return;
  __syncthreads();
  const bool may = tile.passes[lane] != 0;
  for (int64_t c = threadIdx.y; c < source.num_classes; c += kColumnGroups) {
    if (!is_considered(filter, c)) continue;
    const float score = may ? source.score(c, anchor) : -kInfinity;
    append(out, score > filter.score_threshold, candidate_key(score, anchor, c, source.num_classes), lane);
  }
}

template <typename Source>
void launch_columns(const char* function, const Source& source, const AnchorFilter& filter, const CandidateBuffers& out,
                    Stream stream) {
  launch(function, scan_columns<Source>, dim3(blocks_for(source.num_anchors, kColumnLanes)),
         dim3(kColumnLanes, kColumnGroups), sizeof(ColumnTile), static_cast<cudaStream_t>(stream), source, filter, out);
}

// ---- outputs with one row for each anchor: a warp reads the classes of one row

inline constexpr int kRowThreads = 128;

struct RowTile {
  int count;
  int present[kRowThreads];  // anchors that are looked at, from the block's first
};

__device__ __forceinline__ BestClass best_of_warp(BestClass best) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    BestClass other;
    other.score = __shfl_xor_sync(kAllLanes, best.score, lanes);
    other.class_id = __shfl_xor_sync(kAllLanes, best.class_id, lanes);
    other.is_bad = __shfl_xor_sync(kAllLanes, best.is_bad ? 1 : 0, lanes) != 0;
    best.merge(other);
  }
  return best;
}

// One anchor by one warp.
template <typename Source>
__device__ void visit_row(const Source& source, const AnchorFilter& filter, const CandidateBuffers& out, int64_t anchor,
                          unsigned lane) {
  const float factor = source.factor(anchor);
  BestClass best;
  for (int64_t c = lane; c < source.num_classes; c += 32) {
    if (is_considered(filter, c)) best.see(source.score(c, anchor, factor), static_cast<int32_t>(c));
  }
  best = best_of_warp(best);
  bool is_dropped = best.is_bad;
  bool passes = !is_dropped && best.score > filter.score_threshold;
  if (passes) {  // the same in all lanes
    const Box box = source.box(anchor);
    is_dropped = !is_finite(box);
    passes = !is_dropped;
    if (passes && lane == 0) write_box(out, anchor, box);
  }
  if (is_dropped && lane == 0) atomicAdd(out.counters + kDropped, 1);
  if (!passes) return;
  if (!filter.multi_label) {
    return append(out, lane == 0, candidate_key(best.score, anchor, best.class_id, source.num_classes), lane);
  }
  for (int64_t first = 0; first < source.num_classes; first += 32) {
    const int64_t c = first + lane;
    const bool counts = c < source.num_classes && is_considered(filter, c);
    const float score = counts ? source.score(c, anchor, factor) : -kInfinity;
    append(out, score > filter.score_threshold, candidate_key(score, anchor, c, source.num_classes), lane);
  }
}

// A Source has num_anchors, num_classes, presence(anchor, threshold), factor(anchor), score(class, anchor, factor),
// box(anchor).
template <typename Source>
__global__ void __launch_bounds__(kRowThreads) scan_rows(Source source, AnchorFilter filter, CandidateBuffers out) {
  auto& tile = shared_memory<RowTile>();
  const unsigned lane = threadIdx.x % 32;
  const int64_t first = int64_t{blockIdx.x} * kRowThreads;
  if (threadIdx.x == 0) tile.count = 0;
  __syncthreads();
  const int64_t own = first + threadIdx.x;
  Presence presence = Presence::kAbsent;
  if (own < source.num_anchors) presence = source.presence(own, filter.score_threshold);
  if (presence == Presence::kPresent) tile.present[atomicAdd(&tile.count, 1)] = static_cast<int>(threadIdx.x);
  const unsigned dropped = __ballot_sync(kAllLanes, presence == Presence::kBad);
  if (lane == 0 && dropped != 0) atomicAdd(out.counters + kDropped, __popc(dropped));
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x / 32); i < tile.count; i += kRowThreads / 32) {
    visit_row(source, filter, out, first + tile.present[i], lane);
  }
}

template <typename Source>
void launch_rows(const char* function, const Source& source, const AnchorFilter& filter, const CandidateBuffers& out,
                 Stream stream) {
  launch(function, scan_rows<Source>, dim3(blocks_for(source.num_anchors, kRowThreads)), dim3(kRowThreads),
         sizeof(RowTile), static_cast<cudaStream_t>(stream), source, filter, out);
}

}  // namespace yolokkn::cuda
