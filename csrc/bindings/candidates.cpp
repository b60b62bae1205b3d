#include "candidates.h"

#include <cmath>

#include "yolokkn/error.h"

namespace yolokkn::bindings {

FilterArguments::FilterArguments(const char* function, int64_t num_classes, double score_threshold, bool multi_label,
                                 int64_t max_candidates, py::object class_mask) {
  if (!(score_threshold >= 0.0 && score_threshold <= 1.0)) {
    fail(function,
         "score_threshold must be within [0, 1], got " + py::cast<std::string>(py::repr(py::float_(score_threshold))));
  }
  if (max_candidates < 1) fail(function, "max_candidates must be 1 or more, got " + std::to_string(max_candidates));
  filter_ = {static_cast<float>(score_threshold), multi_label, max_candidates, nullptr};
  if (class_mask.is_none()) return;
  mask_ = require<bool>(class_mask, {num_classes}, function, "class_mask");
  filter_.class_mask = static_cast<const uint8_t*>(mask_.data());
}

void require_columns(const char* function, int64_t num_classes, int64_t before, int64_t present, const char* axis) {
  if (num_classes < 1) fail(function, "num_classes must be 1 or more, got " + std::to_string(num_classes));
  if (num_classes > present - before) {
    fail(function, "output must have " + std::to_string(before) + " + num_classes (" + std::to_string(num_classes) +
                       ") or more " + axis + ", got " + std::to_string(present));
  }
}

py::tuple to_tuple(Candidates&& found) {
  const auto n = static_cast<py::ssize_t>(found.scores.size());
  const int64_t dropped = found.num_dropped;
  return py::make_tuple(to_array(std::move(found.boxes), {n, 4}), to_array(std::move(found.scores), {n}),
                        to_array(std::move(found.class_ids), {n}), to_array(std::move(found.anchor_index), {n}),
                        dropped);
}

std::pair<int64_t, int64_t> require_hw(py::handle object, const char* function, const char* argument) {
  std::pair<int64_t, int64_t> hw{0, 0};
  try {
    hw = py::cast<std::pair<int64_t, int64_t>>(object);
  } catch (const py::cast_error&) {
    throw py::type_error(std::string(function) + ": " + argument + " must be a pair of integers (height, width), got " +
                         py::cast<std::string>(py::repr(object)));
  }
  if (hw.first < 1 || hw.second < 1) {
    fail(function, std::string(argument) + " must be 1 or more in both, got (" + std::to_string(hw.first) + ", " +
                       std::to_string(hw.second) + ")");
  }
  return hw;
}

}  // namespace yolokkn::bindings
