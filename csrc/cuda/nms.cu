// Non-maximum suppression by one block: it takes the next best candidates, sorted, and holds them, a chunk at a time,
// against the boxes kept so far and then against one another. It ends when enough are kept, and it needs no memory but
// its own.
#include "next_batch.h"

namespace yolokkn::cuda {
namespace {

constexpr int kThreads = kSelectThreads;
constexpr int kWarps = kSelectWarps;
constexpr int kChunk = 256;  // of a batch, compared together
constexpr int kWords = kChunk / 32;
static_assert(kChunk * kWords <= kBuckets);

struct SelectJob {
  CandidateBuffers candidates;
  const int32_t* class_ids;  // by index, or null: the index's remainder
  int64_t num_classes;
  SuppressionRule rule;
  Selection out;
};

struct SelectShared {
  BatchShared batch;
  Box kept_boxes[kMostDetections];
  int32_t kept_classes[kMostDetections];
  Box boxes[kChunk];
  int32_t classes[kChunk];
  int16_t survivors[kChunk];
  uint32_t bits[kWords];
  int count;

  // Of survivor `row`, those of a word behind it that it overlaps; of words before its own nothing is known.
  __device__ uint32_t& overlaps(int row, int word) { return batch.scratch[kWords * row + word]; }
};

__device__ __forceinline__ int32_t class_of(const SelectJob& job, uint32_t index) {
  if (job.rule.agnostic) return 0;
  if (job.class_ids != nullptr) return job.class_ids[index];
  return static_cast<int32_t>(index % static_cast<uint32_t>(job.num_classes));
}

__device__ __forceinline__ Box box_of(const SelectJob& job, uint32_t index) {
  const float* from = job.candidates.boxes + 4 * static_cast<int64_t>(index / static_cast<uint32_t>(job.num_classes));
  return {from[0], from[1], from[2], from[3]};
}

// Sets bit i of s.bits where candidate i of the chunk overlaps a kept box.
__device__ void compare_with_kept(const SelectJob& job, SelectShared& s, int size, int kept) {
  const int i = static_cast<int>(threadIdx.x) % kChunk;
  if (i >= size) return;
  const Box box = s.boxes[i];
  for (int k = static_cast<int>(threadIdx.x) / kChunk; k < kept; k += kThreads / kChunk) {
    if (s.kept_classes[k] != s.classes[i] || !(box_iou(s.kept_boxes[k], box) > job.rule.iou_threshold)) continue;
    atomicOr(&s.bits[i / 32], 1u << (i % 32));
    return;
  }
}

// Lists the candidates of the chunk whose bit is not set, in order, and returns how many.
__device__ int list_survivors(SelectShared& s, int size) {
  const int i = static_cast<int>(threadIdx.x);
  int before = 0, total = 0;
  for (int w = 0; w < kWords; ++w) {
    const int left = size - 32 * w;
    const uint32_t valid = left >= 32 ? ~0u : (left > 0 ? (1u << left) - 1u : 0u);
    const uint32_t alive = ~s.bits[w] & valid;
    if (w < i / 32) before += __popc(alive);
    if (w == i / 32 && i < kChunk && (alive >> (i % 32) & 1u) != 0) {
      s.survivors[before + __popc(alive & ((1u << (i % 32)) - 1u))] = static_cast<int16_t>(i);
    }
    total += __popc(alive);
  }
  return total;
}

// Which of the survivors of one word a survivor before or within it overlaps. A warp takes 32 rows of one word at a
// time, so that all its lanes read the same box; words before a row's own say nothing about those behind it.
__device__ void compare_survivors(const SelectJob& job, SelectShared& s, int count) {
  const int words = (count + 31) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int task = static_cast<int>(threadIdx.x) / 32; task < words * (words + 1) / 2; task += kWarps) {
    int word = 0;
    while ((word + 1) * (word + 2) / 2 <= task) ++word;
    const int row = 32 * (task - word * (word + 1) / 2) + lane;
    if (row >= count) continue;
    const Box box = s.boxes[s.survivors[row]];
    const int32_t class_id = s.classes[s.survivors[row]];
    const int end = 32 * word + 32 < count ? 32 * word + 32 : count;
    uint32_t bits = 0;
    for (int j = 32 * word; j < end; ++j) {
      const int other = s.survivors[j];
      if (j > row && s.classes[other] == class_id && box_iou(box, s.boxes[other]) > job.rule.iou_threshold) {
        bits |= 1u << (j % 32);
      }
    }
    s.overlaps(row, word) = bits;
  }
}

// Goes through the survivors that are kept, in order, at most `room`: each removes those behind it that it overlaps.
// s.bits tells which are kept, s.count how many. By the first warp; lane w holds word w.
__device__ void resolve(SelectShared& s, int count, int room) {
  const int lane = static_cast<int>(threadIdx.x);
  const int words = (count + 31) / 32;
  uint32_t removed = 0, kept_bits = 0;
  int kept = 0;
  for (int word = 0; word < words && kept < room; ++word) {
    const int row = 32 * word + lane;
    const uint32_t own = row < count ? s.overlaps(row, word) : 0;  // of row `lane` of this word
    const int left = count - 32 * word;
    uint32_t open = ~__shfl_sync(kAllLanes, removed, word) & (left >= 32 ? ~0u : (1u << left) - 1u);
    uint32_t chosen = 0;
    for (; open != 0 && kept < room; ++kept) {  // the same in all lanes
      const int bit = __ffs(static_cast<int>(open)) - 1;
      chosen |= 1u << bit;
      open &= ~(__shfl_sync(kAllLanes, own, bit) | 1u << bit);
    }
    if (lane == word) kept_bits = chosen;
    for (uint32_t rest = lane > word && lane < words ? chosen : 0; rest != 0; rest &= rest - 1) {
      removed |= s.overlaps(32 * word + __ffs(static_cast<int>(rest)) - 1, lane);
    }
  }
  if (lane < kWords) s.bits[lane] = kept_bits;
  if (lane == 0) s.count = kept;
}

// Suppresses within s.batch.keys[begin .. begin + size) and returns how many are kept in all.
__device__ int keep_chunk(const SelectJob& job, SelectShared& s, int begin, int size, int kept) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < size) {
    const auto index = static_cast<uint32_t>(s.batch.keys[begin + i]);
    s.boxes[i] = box_of(job, index);
    s.classes[i] = class_of(job, index);
  }
  if (i < kWords) s.bits[i] = 0;
  __syncthreads();
  compare_with_kept(job, s, size, kept);
  __syncthreads();
  const int survivors = list_survivors(s, size);
  __syncthreads();
  compare_survivors(job, s, survivors);
  __syncthreads();
  if (i < 32) resolve(s, survivors, static_cast<int>(job.rule.max_detections) - kept);
  __syncthreads();
  if (i < survivors && (s.bits[i / 32] >> (i % 32) & 1u) != 0) {
    int place = kept + __popc(s.bits[i / 32] & ((1u << (i % 32)) - 1u));
    for (int w = 0; w < i / 32; ++w) place += __popc(s.bits[w]);
    s.kept_boxes[place] = s.boxes[s.survivors[i]];
    s.kept_classes[place] = s.classes[s.survivors[i]];
    job.out.keys[place] = s.batch.keys[begin + s.survivors[i]];
  }
  const int added = s.count;
  __syncthreads();
  return kept + added;
}

// Takes the batch as it is, in order.
__device__ int keep_all(const SelectJob& job, const SelectShared& s, int count, int kept) {
  const int room = static_cast<int>(job.rule.max_detections) - kept;
  const int added = count < room ? count : room;
  for (int i = static_cast<int>(threadIdx.x); i < added; i += kThreads) job.out.keys[kept + i] = s.batch.keys[i];
  __syncthreads();
  return kept + added;
}

__global__ void __launch_bounds__(kThreads) select_kernel(SelectJob job) {
  auto& s = shared_memory<SelectShared>();
  const int32_t all = job.candidates.counters[kFound];
  const int64_t found = all < job.candidates.capacity ? all : job.candidates.capacity;
  int64_t left = found < job.rule.max_candidates ? found : job.rule.max_candidates;
  uint64_t from = 0;
  int kept = 0;
  while (left > 0 && kept < job.rule.max_detections) {
    int count = next_batch(job.candidates, s.batch, found, from);
    count = count < left ? count : static_cast<int>(left);
    if (count == 0) break;
    left -= count;
    if (job.rule.suppress) {
      for (int begin = 0; begin < count && kept < job.rule.max_detections; begin += kChunk) {
        kept = keep_chunk(job, s, begin, count - begin < kChunk ? count - begin : kChunk, kept);
      }
    } else {
      kept = keep_all(job, s, count, kept);
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    job.out.header[0] = kept;
    job.out.header[1] = all;
    job.out.header[2] = job.candidates.counters[kDropped];
    job.candidates.counters[kFound] = 0;
    job.candidates.counters[kDropped] = 0;
  }
}

struct BoxesJob {
  const float* boxes;
  const float* scores;
  int64_t count;
};

__global__ void __launch_bounds__(kThreads) collect_kernel(BoxesJob job, CandidateBuffers out) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  bool is_sound = row < job.count;
  if (is_sound) {
    const float* b = job.boxes + 4 * row;
    is_sound = is_finite(job.scores[row]) && is_finite(Box{b[0], b[1], b[2], b[3]});
  }
  const uint64_t key = is_sound ? score_key(job.scores[row], static_cast<uint32_t>(row)) : 0;
  append(out, is_sound, key, threadIdx.x % 32);
}

void start(const char* function, const SelectJob& job, Stream stream) {
  launch(function, select_kernel, dim3(1), dim3(kThreads), sizeof(SelectShared), static_cast<cudaStream_t>(stream),
         job);
}

}  // namespace

void select_best(const CandidateBuffers& candidates, int64_t num_classes, const SuppressionRule& rule,
                 const Selection& out, Stream stream) {
  start("select_best", {candidates, nullptr, num_classes, rule, out}, stream);
}

void collect_boxes(const float* boxes, const float* scores, int64_t count, const CandidateBuffers& out, Stream stream) {
  if (count == 0) return;
  launch("nms", collect_kernel, dim3(blocks_for(count, kThreads)), dim3(kThreads), 0, static_cast<cudaStream_t>(stream),
         BoxesJob{boxes, scores, count}, out);
}

void select_boxes(const CandidateBuffers& candidates, const int32_t* class_ids, const SuppressionRule& rule,
                  const Selection& out, Stream stream) {
  SuppressionRule by_class = rule;
  by_class.agnostic = rule.agnostic || class_ids == nullptr;
  start("nms", {candidates, class_ids, 1, by_class, out}, stream);
}

}  // namespace yolokkn::cuda
