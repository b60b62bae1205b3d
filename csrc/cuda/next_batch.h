// The best candidates out of the unordered ones, some at a time: one block finds a batch by the leading buckets of
// their keys and sorts it in shared memory, so that most of a dense output is never sorted. Internal to csrc/cuda.
#pragma once

#include "candidates.h"

namespace yolokkn::cuda {

inline constexpr int kSelectThreads = 1024;
inline constexpr int kSelectWarps = kSelectThreads / 32;
inline constexpr int kBatch = kSelectThreads;     // candidates sorted together, one a thread
inline constexpr int kBuckets = 2048;             // by which a batch is found among more
inline constexpr uint64_t kNoKey = ~uint64_t{0};  // above the key of any finite score

struct BatchShared {
  uint64_t keys[kBatch];
  union {
    uint32_t buckets[kBuckets];
    uint64_t others[kBatch];     // the second place of the keys while they are sorted
    uint32_t scratch[kBuckets];  // the caller's, between batches
  };
  uint64_t warp_low[kSelectWarps], warp_high[kSelectWarps];
  uint32_t warp_sums[kSelectWarps];
  int count;
};

// Calls visit(key) by every thread, equally often, with all keys found and kNoKey for the rest; four loads at a time.
template <typename Visit>
__device__ __forceinline__ void for_each_key(const CandidateBuffers& candidates, int64_t found, const Visit& visit) {
  constexpr int kLoads = 4;
  for (int64_t first = threadIdx.x; first - threadIdx.x < found; first += kLoads * kSelectThreads) {
    uint64_t keys[kLoads];
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      keys[n] = first + n * kSelectThreads < found ? candidates.keys[first + n * kSelectThreads] : kNoKey;
    }
#pragma unroll
    for (int n = 0; n < kLoads; ++n) visit(keys[n]);
  }
}

// Sorts count keys, ascending (bitonic): a thread has one of them; within a warp they are exchanged without a barrier.
__device__ inline void sort_keys(BatchShared& s, int count) {
  const int i = static_cast<int>(threadIdx.x);
  int size = 32;
  while (size < count) size *= 2;
  const bool takes_part = i < size;  // the same in all lanes of a warp
  uint64_t key = i < count ? s.keys[i] : kNoKey;
  uint64_t* place = s.others;
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      uint64_t other = key;
      if (step >= 32) {
        place = place == s.keys ? s.others : s.keys;  // where everybody has read what was there two steps ago
        if (takes_part) place[i] = key;
        __syncthreads();
        if (takes_part) other = place[i ^ step];
      } else if (takes_part) {
        other = __shfl_xor_sync(kAllLanes, key, step);
      }
      const bool takes_less = ((i & step) == 0) == ((i & run) == 0);
      if ((other < key) == takes_less) key = other;
    }
  }
  __syncthreads();
  if (i < count) s.keys[i] = key;
  __syncthreads();
}

struct KeyRange {
  uint64_t low, high;
};

__device__ __forceinline__ KeyRange range_of_warp(KeyRange range) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const uint64_t low = __shfl_xor_sync(kAllLanes, range.low, lanes);
    const uint64_t high = __shfl_xor_sync(kAllLanes, range.high, lanes);
    range.low = low < range.low ? low : range.low;
    range.high = high > range.high ? high : range.high;
  }
  return range;
}

// The least and the greatest of the keys within [from, to], to every thread; low > high where there is none.
__device__ inline KeyRange find_range(const CandidateBuffers& candidates, BatchShared& s, int64_t found, uint64_t from,
                                      uint64_t to) {
  KeyRange range{kNoKey, 0};
  for_each_key(candidates, found, [&](uint64_t key) {
    if (key < from || key > to) return;
    range.low = key < range.low ? key : range.low;
    range.high = key > range.high ? key : range.high;
  });
  range = range_of_warp(range);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  if (lane == 0) {
    s.warp_low[warp] = range.low;
    s.warp_high[warp] = range.high;
  }
  __syncthreads();
  return range_of_warp({s.warp_low[lane], s.warp_high[lane]});
}

// The sum of the values of this lane and those before it.
__device__ __forceinline__ uint32_t sum_up_to_lane(uint32_t sum, int lane) {
  for (int step = 1; step < 32; step *= 2) {
    const uint32_t before = __shfl_sync(kAllLanes, sum, lane >= step ? lane - step : lane);
    if (lane >= step) sum += before;
  }
  return sum;
}

// s.count becomes how many leading buckets hold at most kBatch keys together; 0 where the first one holds more.
__device__ inline void count_leading_buckets(BatchShared& s) {
  constexpr int kEach = kBuckets / kSelectThreads;
  const int i = static_cast<int>(threadIdx.x), lane = i % 32, warp = i / 32;
  uint32_t own = 0;
  for (int n = 0; n < kEach; ++n) own += s.buckets[kEach * i + n];
  const uint32_t in_warp = sum_up_to_lane(own, lane);
  if (lane == 31) s.warp_sums[warp] = in_warp;
  if (i == 0) s.count = kBuckets;
  __syncthreads();
  const uint32_t of_warps = sum_up_to_lane(s.warp_sums[lane], lane);
  const uint32_t before_warp = __shfl_sync(kAllLanes, of_warps, warp > 0 ? warp - 1 : 0);
  uint32_t sum = (warp > 0 ? before_warp : 0) + in_warp - own;
  for (int n = 0; n < kEach; ++n) {
    const uint32_t before = sum;
    sum += s.buckets[kEach * i + n];
    if (before <= kBatch && sum > kBatch) s.count = kEach * i + n;  // one thread, at most once
  }
  __syncthreads();
}

// Deals the keys within a range into buckets of 2**shift and returns the number of leading buckets taken.
__device__ inline int deal(const CandidateBuffers& candidates, BatchShared& s, int64_t found, const KeyRange& range,
                           int shift) {
  for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kSelectThreads) s.buckets[i] = 0;
  __syncthreads();
  for_each_key(candidates, found, [&](uint64_t key) {
    if (key >= range.low && key <= range.high) atomicAdd(&s.buckets[(key - range.low) >> shift], 1u);
  });
  __syncthreads();
  count_leading_buckets(s);
  return s.count;
}

// Copies the keys within [from, to], at most kBatch, in no order; returns how many.
__device__ inline int copy_keys(const CandidateBuffers& candidates, BatchShared& s, int64_t found, uint64_t from,
                                uint64_t to) {
  __syncthreads();
  if (threadIdx.x == 0) s.count = 0;
  __syncthreads();
  const unsigned lane = threadIdx.x % 32;
  for_each_key(candidates, found, [&](uint64_t key) {
    const bool is_taken = key >= from && key <= to;
    const unsigned with = __ballot_sync(kAllLanes, is_taken);
    if (with == 0) return;
    int first = 0;
    if (lane == 0) first = atomicAdd(&s.count, __popc(with));
    first = __shfl_sync(kAllLanes, first, 0);
    if (is_taken) s.keys[first + __popc(with & ((1u << lane) - 1u))] = key;
  });
  __syncthreads();
  return s.count;
}

// Copies all keys, at most kBatch.
__device__ inline int copy_all(const CandidateBuffers& candidates, BatchShared& s, int64_t found) {
  if (threadIdx.x < found) s.keys[threadIdx.x] = candidates.keys[threadIdx.x];
  __syncthreads();
  return static_cast<int>(found);
}

// Brings the best keys from `from` on into s.keys, sorted, and returns how many; `from` moves behind them.
__device__ inline int next_batch(const CandidateBuffers& candidates, BatchShared& s, int64_t found, uint64_t& from) {
  uint64_t to = kNoKey - 1;
  while (found > kBatch) {
    const KeyRange range = find_range(candidates, s, found, from, to);
    if (range.low > range.high) return 0;
    const int width = 64 - __clzll(static_cast<long long>(range.high - range.low));
    const int shift = width > 11 ? width - 11 : 0;
    const int buckets = deal(candidates, s, found, range, shift);
    if (buckets == kBuckets) break;  // all of them
    to = range.low + (static_cast<uint64_t>(buckets == 0 ? 1 : buckets) << shift) - 1;
    if (buckets > 0) break;
  }
  const int count = found > kBatch ? copy_keys(candidates, s, found, from, to) : copy_all(candidates, s, found);
  if (count > 1) sort_keys(s, count);
  from = to + 1;
  return count;
}

}  // namespace yolokkn::cuda
