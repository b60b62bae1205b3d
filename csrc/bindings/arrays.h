// Every check of an array that comes from Python. Nothing is copied or converted: what does not fit is refused with
// `<function>: <argument> must <rule>, got <what came>[; <what to do>]`. TypeError for kind and dtype, ValueError for
// shape and strides.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "yolokkn/letterbox.h"
#include "yolokkn/views.h"

namespace yolokkn::bindings {

namespace py = pybind11;

inline constexpr int64_t kAny = -1;

std::string shape_text(const std::vector<int64_t>& shape);

// The object as an array of exactly this dtype, C-contiguous, of this shape (kAny matches every extent).
py::array require_array(py::handle object, const py::dtype& dtype, const std::vector<int64_t>& shape,
                        const char* function, const char* argument, bool writeable = false);

template <typename T>
py::array require(py::handle object, const std::vector<int64_t>& shape, const char* function, const char* argument) {
  return require_array(object, py::dtype::of<T>(), shape, function, argument);
}

template <typename T>
py::array require_output(py::handle object, const std::vector<int64_t>& shape, const char* function,
                         const char* argument) {
  return require_array(object, py::dtype::of<T>(), shape, function, argument, true);
}

template <typename T>
const T* data_of(const py::array& array) {
  return static_cast<const T*>(array.data());
}

template <typename T>
MatrixView<const T> matrix_of(const py::array& array) {
  return {static_cast<const T*>(array.data()), array.shape(0), array.shape(1)};
}

// A BGR image: (H, W, 3) uint8 with dense pixels; its rows may lie apart (a crop of a larger frame) or run backwards.
ImageView require_image(py::handle object, const char* function, const char* argument);

// The eight numbers of a yolokkn.geometry.Letterbox.
Letterbox require_letterbox(py::handle object, const char* function, const char* argument);

// Moves a vector into a new array of the given shape, without a copy of the elements.
template <typename T>
py::array_t<T> to_array(std::vector<T>&& values, const std::vector<py::ssize_t>& shape) {
  auto* owner = new std::vector<T>(std::move(values));
  py::capsule release(owner, [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>(shape, owner->data(), release);
}

// One function per topic; module.cpp lists them.
void bind_decode(py::module_& module);
void bind_decode_distances(py::module_& module);
void bind_decode_heads(py::module_& module);
void bind_iou(py::module_& module);
void bind_letterbox(py::module_& module);
void bind_keypoints(py::module_& module);
void bind_mot_files(py::module_& module);
void bind_nms(py::module_& module);
void bind_masks(py::module_& module);
void bind_assignment(py::module_& module);
void bind_tracking(py::module_& module);

}  // namespace yolokkn::bindings
