#include <pybind11/stl.h>

#include <array>
#include <cmath>

#include "arrays.h"
#include "yolokkn/letterbox.h"

namespace yolokkn::bindings {
namespace {

constexpr char kName[] = "letterbox";

// Three numbers, one per plane of the output.
void three_floats(py::handle object, const char* argument, float* to) {
  std::array<double, 3> values;
  try {
    values = py::cast<std::array<double, 3>>(object);
  } catch (const py::cast_error&) {
    throw py::type_error(std::string("letterbox: ") + argument + " must be three numbers, got " +
                         py::cast<std::string>(py::repr(object)));
  }
  for (size_t i = 0; i < 3; ++i) {
    if (!(std::fabs(values[i]) <= 3e38)) {
      throw py::value_error(std::string("letterbox: ") + argument + " must be finite in float32, got " +
                            py::cast<std::string>(py::repr(object)));
    }
    to[i] = static_cast<float>(values[i]);
  }
}

bool flag_of(py::handle object, const char* argument) {
  if (PyBool_Check(object.ptr())) return object.ptr() == Py_True;
  throw py::type_error(std::string("letterbox: ") + argument + " must be a bool, got " +
                       py::cast<std::string>(py::repr(object)));
}

uint8_t pad_of(py::handle object) {
  int64_t value;
  try {
    value = py::cast<int64_t>(object);
  } catch (const py::cast_error&) {
    throw py::type_error("letterbox: pad_value must be an integer, got " + py::cast<std::string>(py::repr(object)));
  }
  if (value < 0 || value > 255) {
    throw py::value_error("letterbox: pad_value must be from 0 to 255, got " + std::to_string(value));
  }
  return static_cast<uint8_t>(value);
}

py::array letterbox_(py::object image, py::object geometry, py::object swap_rb, py::object scale, py::object offset,
                     py::object pad_value, py::object out, py::object keep_padding) {
  const ImageView view = require_image(image, kName, "image");
  const Letterbox place = require_letterbox(geometry, kName, "geometry");
  check_letterbox(place);
  LetterboxValues values{};
  three_floats(scale, "scale", values.scale);
  three_floats(offset, "offset", values.offset);
  values.swap_rb = flag_of(swap_rb, "swap_rb");
  values.keep_padding = flag_of(keep_padding, "keep_padding");
  if (values.keep_padding && out.is_none()) {
    throw py::value_error("letterbox: out must be given with keep_padding, got None");
  }
  values.pad_value = pad_of(pad_value);
  if (view.height != place.image_h || view.width != place.image_w) {
    throw py::value_error("letterbox: image must have the size of geometry.image_hw " +
                          shape_text({place.image_h, place.image_w}) + ", got " +
                          shape_text({view.height, view.width}));
  }
  const std::vector<int64_t> shape{3, place.input_h, place.input_w};
  py::array result = out.is_none() ? py::array_t<float>(shape) : require_output<float>(out, shape, kName, "out");
  const std::span<float> buffer(static_cast<float*>(result.mutable_data()), static_cast<size_t>(result.size()));
  {
    py::gil_scoped_release nogil;
    letterbox(view, place, values, buffer);
  }
  return result;
}

}  // namespace

void bind_letterbox(py::module_& module) {
  module.def("letterbox", &letterbox_, py::arg("image"), py::arg("geometry"), py::arg("swap_rb"), py::arg("scale"),
             py::arg("offset"), py::arg("pad_value"), py::arg("out"), py::arg("keep_padding"));
}

}  // namespace yolokkn::bindings
