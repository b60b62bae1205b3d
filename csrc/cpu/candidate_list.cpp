#include "candidate_list.h"

#include <algorithm>
#include <functional>

namespace yolokkn {

CandidateList::CandidateList(int64_t num_classes, const CandidateFilter& filter) : filter_(filter) {
  for (int64_t i = 0; i < num_classes; ++i) {
    if (filter.class_mask == nullptr || filter.class_mask[i] != 0) considered_.push_back(static_cast<int32_t>(i));
  }
  scores_.resize(considered_.size());
}

Candidates CandidateList::finish() {
  const size_t limit = static_cast<size_t>(filter_.max_candidates);
  auto& scores = found_.scores;
  if (scores.size() <= limit) return std::move(found_);
  std::vector<float> sorted(scores);
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(limit), sorted.end(), std::greater<>());
  const float lowest = sorted[limit];  // the best score that may have to go
  size_t equals =
      limit - static_cast<size_t>(std::count_if(scores.begin(), scores.end(), [&](float s) { return s > lowest; }));
  size_t out = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] < lowest || (scores[i] == lowest && equals == 0)) continue;
    if (scores[i] == lowest) --equals;
    std::copy_n(&found_.boxes[4 * i], 4, &found_.boxes[4 * out]);
    scores[out] = scores[i];
    found_.class_ids[out] = found_.class_ids[i];
    found_.anchor_index[out] = found_.anchor_index[i];
    ++out;
  }
  found_.boxes.resize(4 * out);
  scores.resize(out);
  found_.class_ids.resize(out);
  found_.anchor_index.resize(out);
  return std::move(found_);
}

}  // namespace yolokkn
