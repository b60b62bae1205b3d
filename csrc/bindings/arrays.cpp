#include "arrays.h"

namespace yolokkn::bindings {
namespace {

std::string type_name(py::handle object) { return py::cast<std::string>(py::type::of(object).attr("__name__")); }

std::string prefix(const char* function, const char* argument) {
  return std::string(function) + ": " + argument + " must ";
}

std::vector<int64_t> shape_of(const py::array& array) {
  return std::vector<int64_t>(array.shape(), array.shape() + array.ndim());
}

py::array require_dtype(py::handle object, const py::dtype& dtype, const char* function, const char* argument) {
  const auto name_of = [](const py::dtype& type) { return py::cast<std::string>(py::str(type)); };
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(prefix(function, argument) + "be a NumPy array of " + name_of(dtype) + ", got " +
                         type_name(object));
  }
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!array.dtype().is(dtype) && !array.dtype().equal(dtype)) {
    const std::string wanted = name_of(dtype);
    throw py::type_error(prefix(function, argument) + "have dtype " + wanted + ", got " + name_of(array.dtype()) +
                         "; convert it with .astype(numpy." + wanted + ")");
  }
  return array;
}

}  // namespace

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] == kAny ? std::string("*") : std::to_string(shape[i]));
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

py::array require_array(py::handle object, const py::dtype& dtype, const std::vector<int64_t>& shape,
                        const char* function, const char* argument, bool writeable) {
  auto array = require_dtype(object, dtype, function, argument);
  bool fits = array.ndim() == static_cast<py::ssize_t>(shape.size());
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] == kAny || array.shape(static_cast<py::ssize_t>(i)) == shape[i];
  }
  if (!fits) {
    throw py::value_error(prefix(function, argument) + "have shape " + shape_text(shape) + ", got " +
                          shape_text(shape_of(array)));
  }
  if (!(array.flags() & py::array::c_style)) {
    throw py::value_error(prefix(function, argument) +
                          "be C-contiguous, got a strided view; pass numpy.ascontiguousarray(" + argument + ")");
  }
  if (reinterpret_cast<uintptr_t>(array.data()) % static_cast<uintptr_t>(dtype.alignment()) != 0) {
    throw py::value_error(prefix(function, argument) + "be aligned, got an unaligned view; pass " + argument +
                          ".copy()");
  }
  if (writeable && !array.writeable()) {
    throw py::value_error(prefix(function, argument) + "be writeable, got a read-only array");
  }
  return array;
}

ImageView require_image(py::handle object, const char* function, const char* argument) {
  auto array = require_dtype(object, py::dtype::of<uint8_t>(), function, argument);
  if (array.ndim() != 3 || array.shape(2) != 3 || array.shape(0) < 1 || array.shape(1) < 1) {
    throw py::value_error(prefix(function, argument) + "have shape (H, W, 3) with H, W >= 1, got " +
                          shape_text(shape_of(array)));
  }
  if (array.strides(2) != 1 || (array.strides(1) != 3 && array.shape(1) > 1)) {
    throw py::value_error(prefix(function, argument) +
                          "have dense pixels (strides (*, 3, 1)), got a strided view; pass numpy.ascontiguousarray(" +
                          argument + ")");
  }
  return {static_cast<const uint8_t*>(array.data()), array.shape(0), array.shape(1), array.strides(0)};
}

Letterbox require_letterbox(py::handle object, const char* function, const char* argument) {
  if (!py::hasattr(object, "resized_hw") || !py::hasattr(object, "pad_left")) {
    throw py::type_error(prefix(function, argument) + "be a yolokkn.geometry.Letterbox, got " + type_name(object));
  }
  const auto pair = [&](const char* name) { return py::cast<std::pair<int64_t, int64_t>>(object.attr(name)); };
  const auto number = [&](const char* name) { return py::cast<int64_t>(object.attr(name)); };
  try {
    const auto [image_h, image_w] = pair("image_hw");
    const auto [input_h, input_w] = pair("input_hw");
    const auto [resized_h, resized_w] = pair("resized_hw");
    return {image_h, image_w, input_h, input_w, resized_h, resized_w, number("pad_top"), number("pad_left")};
  } catch (const py::cast_error&) {
    throw py::type_error(prefix(function, argument) + "hold pairs of 64-bit integers, got " +
                         py::cast<std::string>(py::repr(object)));
  }
}

}  // namespace yolokkn::bindings
