#include "arrays.h"
#include "candidates.h"
#include "yolokkn/decode.h"
#include "yolokkn/error.h"

namespace yolokkn::bindings {
namespace {

constexpr const char* kName = "decode_distances";
constexpr int64_t kMostBins = 1024;

py::tuple decode_distances_(py::sequence levels, int64_t num_classes, py::object input_hw, int64_t num_bins,
                            double score_threshold, bool multi_label, int64_t max_candidates, py::object class_mask) {
  if (num_bins < 1 || num_bins > kMostBins) {
    fail(kName, "num_bins must be 1 to " + std::to_string(kMostBins) + ", got " + std::to_string(num_bins));
  }
  if (num_classes < 1) fail(kName, "num_classes must be 1 or more, got " + std::to_string(num_classes));
  const auto hw = require_hw(input_hw, kName, "input_hw");
  std::vector<py::array> held;  // keeps the arrays alive
  std::vector<DistanceLevel> views;
  for (size_t i = 0; i < levels.size(); ++i) {
    const std::string name = "levels[" + std::to_string(i) + "]";
    const auto logits = require<float>(levels[i], {kAny, kAny, kAny}, kName, name.c_str());
    require_columns(kName, num_classes, 4 * num_bins, logits.shape(0), "channels");
    views.push_back({data_of<float>(logits), logits.shape(1), logits.shape(2)});
    held.push_back(logits);
  }
  const FilterArguments arguments(kName, num_classes, score_threshold, multi_label, max_candidates, class_mask);
  const DistanceLayout layout{hw.first, hw.second, num_bins};
  Candidates found;
  {
    py::gil_scoped_release nogil;
    found = decode_distances(views, num_classes, layout, arguments.filter());
  }
  return to_tuple(std::move(found));
}

}  // namespace

void bind_decode_distances(py::module_& module) { module.def("decode_distances", &decode_distances_); }

}  // namespace yolokkn::bindings
