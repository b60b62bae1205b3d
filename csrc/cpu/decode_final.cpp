#include <algorithm>
#include <cmath>
#include <numeric>

#include "candidate_list.h"
#include "yolokkn/decode.h"
#include "yolokkn/elementary.h"

namespace yolokkn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename T>
std::vector<T> picked(const std::vector<T>& values, const std::vector<size_t>& order, size_t width = 1) {
  std::vector<T> out;
  out.reserve(order.size() * width);
  for (const size_t i : order) out.insert(out.end(), values.begin() + i * width, values.begin() + (i + 1) * width);
  return out;
}

Candidates by_descending_score(const Candidates& found) {
  std::vector<size_t> order(found.scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return found.scores[a] > found.scores[b]; });
  return {picked(found.boxes, order, 4), picked(found.scores, order), picked(found.class_ids, order),
          picked(found.anchor_index, order), found.num_dropped};
}

// The class id of a row, rounded half to even; -1 for what is none.
int64_t class_id_of(const FinalClassIds& ids, int64_t row) noexcept {
  if (ids.as_int32 != nullptr) return ids.as_int32[row * ids.stride];
  if (ids.as_int64 != nullptr) return ids.as_int64[row * ids.stride];
  const float value = std::nearbyint(ids.as_float[row * ids.stride]);
  return value >= 0.0f && value < 2147483648.0f ? static_cast<int64_t>(value) : -1;
}

}  // namespace

Candidates decode_queries(MatrixView<const float> boxes, MatrixView<const float> logits, int64_t num_classes,
                          int64_t input_h, int64_t input_w, int64_t top_k, const CandidateFilter& filter) {
  CandidateFilter limited = filter;
  limited.max_candidates = std::min(filter.max_candidates, top_k);
  CandidateList list(num_classes, limited);
  const float w = static_cast<float>(input_w);
  const float h = static_cast<float>(input_h);
  for (int64_t q = 0; q < boxes.rows; ++q) {
    const auto box_of = [&]() -> Box {
      const float* b = boxes.row(q);
      return query_box([b](int64_t i) { return b[i]; }, w, h);
    };
    list.visit(q, [&](int32_t c) { return logits(q, c) < kInfinity ? sigmoid(logits(q, c)) : kInfinity; }, box_of);
  }
  return by_descending_score(list.finish());
}

Candidates decode_final(const FinalRows& rows, int64_t num_classes, const CandidateFilter& filter) {
  CandidateList list(0, filter);
  for (int64_t i = 0; i < rows.count; ++i) {
    const float score = rows.scores[i * rows.score_stride];
    if (score <= filter.score_threshold) continue;
    const int64_t class_id = class_id_of(rows.class_ids, i);
    if (!(score < kInfinity) || class_id < 0 || class_id >= num_classes) {
      list.drop();
      continue;
    }
    if (filter.class_mask != nullptr && filter.class_mask[class_id] == 0) continue;
    const float* b = rows.boxes + i * rows.box_stride;
    const Box box{b[0], b[1], b[2], b[3]};
    if (!is_finite(box)) {
      list.drop();
      continue;
    }
    list.push(i, static_cast<int32_t>(class_id), score, box);
  }
  return list.finish();
}

void gather_extras(MatrixView<const float> output, std::span<const int64_t> anchor_index, int64_t first,
                   bool channel_major, MatrixView<float> out) {
  if (!channel_major) {
    for (int64_t n = 0; n < out.rows; ++n) {
      std::copy_n(output.row(anchor_index[static_cast<size_t>(n)]) + first, out.cols, out.row(n));
    }
    return;
  }
  for (int64_t k = 0; k < out.cols; ++k) {  // channel by channel: one page after the other
    const float* channel = output.row(first + k);
    for (int64_t n = 0; n < out.rows; ++n) out(n, k) = channel[anchor_index[static_cast<size_t>(n)]];
  }
}

}  // namespace yolokkn
