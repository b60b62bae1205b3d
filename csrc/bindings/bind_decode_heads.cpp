#include <cmath>

#include "arrays.h"
#include "candidates.h"
#include "yolokkn/decode.h"
#include "yolokkn/error.h"

namespace yolokkn::bindings {
namespace {

constexpr const char* kName = "decode_heads";
constexpr int64_t kMostClasses = 1 << 20;  // keeps the product with the anchors far from overflow

HeadFormula formula_of(const std::string& name) {
  if (name == "darknet") return HeadFormula::kDarknet;
  if (name == "v5") return HeadFormula::kV5;
  fail(kName, "formula must be one of darknet, v5, got '" + name + "'");
}

void require_as_many(const char* argument, size_t got, size_t heads) {
  if (got == heads) return;
  fail(kName,
       std::string(argument) + " must be as many as heads (" + std::to_string(heads) + "), got " + std::to_string(got));
}

std::vector<float> factors_of(py::handle scale_xy, size_t heads) {
  if (py::isinstance<py::float_>(scale_xy) || py::isinstance<py::int_>(scale_xy)) {
    return std::vector<float>(heads, py::cast<float>(scale_xy));
  }
  const auto refuse = [&] {
    throw py::type_error(std::string(kName) + ": scale_xy must be a number or one for each head, got " +
                         py::cast<std::string>(py::repr(scale_xy)));
  };
  std::vector<float> factors;
  if (!py::isinstance<py::sequence>(scale_xy)) refuse();
  try {
    for (const auto value : py::cast<py::sequence>(scale_xy)) factors.push_back(py::cast<float>(value));
  } catch (const py::cast_error&) {
    refuse();
  }
  require_as_many("scale_xy", factors.size(), heads);
  return factors;
}

py::tuple decode_heads_(py::sequence heads, int64_t num_classes, py::sequence anchors, py::object input_hw,
                        const std::string& formula, py::object scale_xy, bool objectness_times_class,
                        double score_threshold, bool multi_label, int64_t max_candidates, py::object class_mask) {
  if (num_classes < 1) fail(kName, "num_classes must be 1 or more, got " + std::to_string(num_classes));
  if (num_classes > kMostClasses) {
    fail(kName, "num_classes must be at most " + std::to_string(kMostClasses) + ", got " + std::to_string(num_classes));
  }
  require_as_many("anchors", anchors.size(), heads.size());
  const auto hw = require_hw(input_hw, kName, "input_hw");
  const HeadsLayout layout{hw.first, hw.second, formula_of(formula), objectness_times_class};
  const auto factors = factors_of(scale_xy, heads.size());
  std::vector<py::array> held;  // keeps the arrays alive
  std::vector<Head> views;
  for (size_t i = 0; i < heads.size(); ++i) {
    const std::string index = "[" + std::to_string(i) + "]";
    const auto sizes = require<float>(anchors[i], {kAny, 2}, kName, ("anchors" + index).c_str());
    const int64_t channels = sizes.shape(0) * (5 + num_classes);
    const auto logits = require<float>(heads[i], {channels, kAny, kAny}, kName, ("heads" + index).c_str());
    views.push_back(
        {data_of<float>(logits), sizes.shape(0), logits.shape(1), logits.shape(2), data_of<float>(sizes), factors[i]});
    held.insert(held.end(), {sizes, logits});
  }
  const FilterArguments arguments(kName, num_classes, score_threshold, multi_label, max_candidates, class_mask);
  Candidates found;
  {
    py::gil_scoped_release nogil;
    found = decode_heads(views, num_classes, layout, arguments.filter());
  }
  return to_tuple(std::move(found));
}

}  // namespace

void bind_decode_heads(py::module_& module) { module.def("decode_heads", &decode_heads_); }

}  // namespace yolokkn::bindings
