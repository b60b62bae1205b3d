#include "arrays.h"
#include "yolokkn/iou.h"

namespace yolokkn::bindings {
namespace {

py::array_t<float> pairwise_iou_(py::object a, py::object b) {
  const auto first = require<float>(a, {kAny, 4}, "pairwise_iou", "a");
  const auto second = require<float>(b, {kAny, 4}, "pairwise_iou", "b");
  py::array_t<float> out({first.shape(0), second.shape(0)});
  const auto view_a = matrix_of<float>(first);
  const auto view_b = matrix_of<float>(second);
  const MatrixView<float> view_out{out.mutable_data(), out.shape(0), out.shape(1)};
  {
    py::gil_scoped_release nogil;
    pairwise_iou(view_a, view_b, view_out);
  }
  return out;
}

}  // namespace

void bind_iou(py::module_& module) { module.def("pairwise_iou", &pairwise_iou_, py::arg("a"), py::arg("b")); }

}  // namespace yolokkn::bindings
