#include "arrays.h"
#include "yolokkn/error.h"
#include "yolokkn/keypoints.h"

namespace yolokkn::bindings {
namespace {

py::array_t<float> inverse_letterbox_(py::object boxes, py::object geometry, bool clip) {
  const auto array = require<float>(boxes, {kAny, 4}, "inverse_letterbox", "boxes");
  const Letterbox letterbox = require_letterbox(geometry, "inverse_letterbox", "geometry");
  py::array_t<float> out({array.shape(0), array.shape(1)});
  const MatrixView<float> out_view{out.mutable_data(), out.shape(0), out.shape(1)};
  {
    py::gil_scoped_release nogil;
    inverse_letterbox(matrix_of<float>(array), letterbox, clip, out_view);
  }
  return out;
}

py::array_t<float> decode_keypoints_(py::object extras, int64_t num_keypoints, py::object geometry, bool clip) {
  const char* name = "decode_keypoints";
  const auto array = require<float>(extras, {kAny, kAny}, name, "extras");
  if (num_keypoints < 1) fail(name, "num_keypoints must be 1 or more, got " + std::to_string(num_keypoints));
  if (array.shape(1) % num_keypoints != 0 ||
      (array.shape(1) / num_keypoints != 2 && array.shape(1) / num_keypoints != 3)) {
    fail(name, "extras must have num_keypoints * 2 or num_keypoints * 3 columns (num_keypoints is " +
                   std::to_string(num_keypoints) + "), got " + std::to_string(array.shape(1)));
  }
  const Letterbox letterbox = require_letterbox(geometry, name, "geometry");
  py::array_t<float> out({array.shape(0), static_cast<py::ssize_t>(num_keypoints), py::ssize_t{3}});
  const MatrixView<float> out_view{out.mutable_data(), array.shape(0), num_keypoints * 3};
  {
    py::gil_scoped_release nogil;
    decode_keypoints(matrix_of<float>(array), num_keypoints, letterbox, clip, out_view);
  }
  return out;
}

}  // namespace

void bind_keypoints(py::module_& module) {
  module.def("inverse_letterbox", &inverse_letterbox_);
  module.def("decode_keypoints", &decode_keypoints_);
}

}  // namespace yolokkn::bindings
