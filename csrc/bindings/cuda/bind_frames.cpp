#include <pybind11/stl.h>

#include <array>
#include <cmath>

#include "device_arrays.h"
#include "yolokkn/error.h"

namespace yolokkn::bindings {
namespace {

constexpr char kName[] = "letterbox";

LetterboxValues values_from(const std::array<double, 3>& scale, const std::array<double, 3>& offset, bool swap_rb,
                            int64_t pad_value, bool keep_padding) {
  if (pad_value < 0 || pad_value > 255) {
    fail(kName, "pad_value must be from 0 to 255, got " + std::to_string(pad_value));
  }
  LetterboxValues values{{}, {}, swap_rb, static_cast<uint8_t>(pad_value), keep_padding};
  for (size_t i = 0; i < 3; ++i) {
    const double size = std::fabs(scale[i]);
    if (!(size == 0.0 || (size >= 1e-30 && size <= 1e30))) {
      fail(kName, "scale must be 0 or from 1e-30 to 1e30 in magnitude, got " + std::to_string(scale[i]));
    }
    if (!(std::fabs(offset[i]) <= 3e38)) fail(kName, "offset must be finite, got " + std::to_string(offset[i]));
    values.scale[i] = static_cast<float>(scale[i]);
    values.offset[i] = static_cast<float>(offset[i]);
  }
  return values;
}

cuda::DeviceFrame bgr_frame(py::handle image, const Letterbox& place) {
  const DeviceArray pixels = require_device_rows(image, {"u1"}, {place.image_h, place.image_w, 3}, kName, "image");
  cuda::DeviceFrame frame;
  frame.pixels = pixels.as<const uint8_t>();
  frame.row_stride = pixels.strides[0];
  return frame;
}

cuda::DeviceFrame nv12_frame(const py::tuple& planes, const Letterbox& place, const std::string& matrix,
                             bool full_range) {
  if (planes.size() != 2) fail(kName, "image must be one array, or two of NV12, got " + std::to_string(planes.size()));
  if (place.image_h % 2 != 0 || place.image_w % 2 != 0) {
    fail(kName, "geometry must have an even image_hw with NV12, got " + shape_text({place.image_h, place.image_w}));
  }
  if (matrix != "bt601" && matrix != "bt709") fail(kName, "matrix must be bt601 or bt709, got '" + matrix + "'");
  const DeviceArray luma =
      require_device_rows(planes[0], {"u1"}, {place.image_h, place.image_w}, kName, "image[0] (luma)");
  const DeviceArray chroma =
      require_device_rows(planes[1], {"u1"}, {place.image_h / 2, place.image_w}, kName, "image[1] (chroma)");
  return {luma.as<const uint8_t>(),
          luma.strides[0],
          cuda::PixelFormat::kNv12,
          chroma.as<const uint8_t>(),
          chroma.strides[0],
          matrix == "bt709",
          full_range};
}

void letterbox_(py::object image, py::object geometry, bool swap_rb, const std::array<double, 3>& scale,
                const std::array<double, 3>& offset, int64_t pad_value, py::object out, bool keep_padding,
                const std::string& matrix, bool full_range, py::object stream) {
  const Letterbox place = require_letterbox(geometry, kName, "geometry");
  check_letterbox(place);
  const LetterboxValues values = values_from(scale, offset, swap_rb, pad_value, keep_padding);
  const cuda::DeviceFrame frame = py::isinstance<py::tuple>(image)
                                      ? nv12_frame(py::cast<py::tuple>(image), place, matrix, full_range)
                                      : bgr_frame(image, place);
  const DeviceArray to = require_device(out, {"f4", "f2"}, {3, place.input_h, place.input_w}, kName, "out", true);
  cuda::letterbox(frame, place, values, to.data, to.type == "f2", require_stream(stream, kName));
}

}  // namespace

void bind_frames(py::module_& module) { module.def("letterbox", &letterbox_); }

}  // namespace yolokkn::bindings
