// What the bindings of the decoders share: the filter's checks, and candidates as a tuple of arrays.
#pragma once

#include <utility>

#include "arrays.h"
#include "yolokkn/decode.h"

namespace yolokkn::bindings {

// The options that every decoder takes; holds the mask while its view is in use.
class FilterArguments {
 public:
  FilterArguments(const char* function, int64_t num_classes, double score_threshold, bool multi_label,
                  int64_t max_candidates, py::object class_mask);
  const CandidateFilter& filter() const noexcept { return filter_; }

 private:
  py::array mask_;
  CandidateFilter filter_;
};

// "<function>: num_classes must be 1 or more and leave room ..."
void require_columns(const char* function, int64_t num_classes, int64_t before, int64_t present, const char* axis);

// (boxes, scores, class_ids, anchor_index, num_dropped)
py::tuple to_tuple(Candidates&& found);

// Height and width, each 1 or more.
std::pair<int64_t, int64_t> require_hw(py::handle object, const char* function, const char* argument);

}  // namespace yolokkn::bindings
