// DETR's queries, and rows that are finished already.
#include "candidates.h"

namespace yolokkn::cuda {
namespace {

struct QueriesSource {
  Values boxes, logits;
  int64_t num_columns;
  float input_w, input_h;
  int64_t num_anchors, num_classes;

  __device__ Presence presence(int64_t, float) const { return Presence::kPresent; }
  __device__ float factor(int64_t) const { return 1.0f; }
  __device__ float score(int64_t c, int64_t query, float) const {
    const float logit = value_at(logits, query * num_columns + c);
    return logit < kInfinity ? sigmoid(logit) : kInfinity;
  }
  __device__ Box box(int64_t query) const {
    return query_box([&](int64_t i) { return value_at(boxes, 4 * query + i); }, input_w, input_h);
  }
};

struct FinalJob {
  Values rows;
  int64_t num_rows, num_columns, num_classes;
};

constexpr int kThreads = 128;

__global__ void __launch_bounds__(kThreads) scan_final(FinalJob job, AnchorFilter filter, CandidateBuffers out) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const unsigned lane = threadIdx.x % 32;
  const auto at = [&](int64_t column) { return value_at(job.rows, row * job.num_columns + column); };
  bool passes = row < job.num_rows && !(at(4) <= filter.score_threshold);
  bool is_dropped = false;
  int64_t class_id = 0;
  if (passes) {
    const float wanted = rintf(at(5));
    const bool is_class = wanted >= 0.0f && wanted < static_cast<float>(job.num_classes);
    class_id = is_class ? static_cast<int64_t>(wanted) : 0;
    is_dropped = !(at(4) < kInfinity) || !is_class;
    passes = !is_dropped && is_considered(filter, class_id);
  }
  if (passes) {
    const Box box{at(0), at(1), at(2), at(3)};
    is_dropped = !is_finite(box);
    passes = !is_dropped;
    if (passes) write_box(out, row, box);
  }
  const unsigned dropped = __ballot_sync(kAllLanes, is_dropped);
  if (lane == 0 && dropped != 0) atomicAdd(out.counters + kDropped, __popc(dropped));
  append(out, passes, passes ? candidate_key(at(4), row, class_id, job.num_classes) : 0, lane);
}

}  // namespace

void decode_queries(Values boxes, Values logits, int64_t num_queries, int64_t num_columns, int64_t num_classes,
                    int64_t input_h, int64_t input_w, const AnchorFilter& filter, const CandidateBuffers& out,
                    Stream stream) {
  if (num_queries == 0) return;
  const QueriesSource source{
      boxes, logits, num_columns, static_cast<float>(input_w), static_cast<float>(input_h), num_queries, num_classes};
  launch_rows("decode_queries", source, filter, out, stream);
}

void decode_final(Values rows, int64_t num_rows, int64_t num_columns, int64_t num_classes, const AnchorFilter& filter,
                  const CandidateBuffers& out, Stream stream) {
  if (num_rows == 0) return;
  launch("decode_final", scan_final, dim3(blocks_for(num_rows, kThreads)), dim3(kThreads), 0,
         static_cast<cudaStream_t>(stream), FinalJob{rows, num_rows, num_columns, num_classes}, filter, out);
}

}  // namespace yolokkn::cuda
