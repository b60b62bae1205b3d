#include "device_arrays.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "yolokkn/error.h"

namespace yolokkn::bindings {
namespace {

std::string prefix(const char* function, const char* argument) {
  return std::string(function) + ": " + argument + " must ";
}

std::string name_of(const std::string& type) {
  static const std::vector<std::pair<std::string, std::string>> kNames{
      {"f4", "float32"}, {"f2", "float16"}, {"u1", "uint8"}, {"i4", "int32"}, {"u4", "uint32"}, {"u8", "uint64"}};
  for (const auto& [code, name] : kNames) {
    if (code == type) return name;
  }
  return type;
}

std::string names_of(const std::vector<std::string>& types) {
  std::string text;
  for (const std::string& type : types) text += (text.empty() ? "" : " or ") + name_of(type);
  return text;
}

int64_t item_size(const std::string& type) { return type.empty() ? 1 : type.back() - '0'; }

DeviceArray read_interface(py::handle object, const char* function, const char* argument) {
  if (!py::hasattr(object, "__cuda_array_interface__")) {
    throw py::type_error(prefix(function, argument) + "be an array on the GPU (with __cuda_array_interface__), got " +
                         py::cast<std::string>(py::type::of(object).attr("__name__")));
  }
  const auto facts = py::cast<py::dict>(object.attr("__cuda_array_interface__"));
  DeviceArray array;
  array.data = reinterpret_cast<void*>(py::cast<uintptr_t>(py::cast<py::tuple>(facts["data"])[0]));
  array.type = py::cast<std::string>(facts["typestr"]).substr(1);
  array.shape = py::cast<std::vector<int64_t>>(facts["shape"]);
  if (facts.contains("strides") && !py::object(facts["strides"]).is_none()) {
    array.strides = py::cast<std::vector<int64_t>>(facts["strides"]);
  } else {
    array.strides.resize(array.shape.size());
    int64_t step = item_size(array.type);
    for (size_t i = array.shape.size(); i-- > 0; step *= array.shape[i]) array.strides[i] = step;
  }
  return array;
}

bool is_read_only(py::handle object) {
  const auto facts = py::cast<py::dict>(object.attr("__cuda_array_interface__"));
  return py::cast<bool>(py::cast<py::tuple>(facts["data"])[1]);
}

void require_fit(const DeviceArray& array, const std::vector<std::string>& types, const std::vector<int64_t>& shape,
                 const char* function, const char* argument) {
  if (std::find(types.begin(), types.end(), array.type) == types.end()) {
    throw py::type_error(prefix(function, argument) + "have dtype " + names_of(types) + ", got " + name_of(array.type));
  }
  bool fits = array.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] == kAny || array.shape[i] == shape[i];
  if (!fits) {
    throw py::value_error(prefix(function, argument) + "have shape " + shape_text(shape) + ", got " +
                          shape_text(array.shape));
  }
}

// Whether the dimensions from `first` on lie densely.
bool is_dense(const DeviceArray& array, size_t first) {
  int64_t step = item_size(array.type);
  for (size_t i = array.shape.size(); i-- > first; step *= array.shape[i]) {
    if (array.shape[i] > 1 && array.strides[i] != step) return false;
  }
  return true;
}

void* field(py::handle object, const char* name, const std::vector<std::string>& types,
            const std::vector<int64_t>& shape, const char* function, const std::string& argument) {
  return require_device(object.attr(name), types, shape, function, (argument + "." + name).c_str(), true).data;
}

}  // namespace

int64_t DeviceArray::size() const {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

DeviceArray require_device(py::handle object, const std::vector<std::string>& types, const std::vector<int64_t>& shape,
                           const char* function, const char* argument, bool writeable) {
  DeviceArray array = read_interface(object, function, argument);
  require_fit(array, types, shape, function, argument);
  if (array.size() > 0 && !is_dense(array, 0)) {
    throw py::value_error(prefix(function, argument) + "be C-contiguous, got a strided view; copy it first");
  }
  if (reinterpret_cast<uintptr_t>(array.data) % static_cast<uintptr_t>(item_size(array.type)) != 0) {
    throw py::value_error(prefix(function, argument) + "be aligned, got an unaligned pointer");
  }
  if (writeable && is_read_only(object)) {
    throw py::value_error(prefix(function, argument) + "be writeable, got a read-only array");
  }
  return array;
}

DeviceArray require_device_rows(py::handle object, const std::vector<std::string>& types,
                                const std::vector<int64_t>& shape, const char* function, const char* argument) {
  DeviceArray array = read_interface(object, function, argument);
  require_fit(array, types, shape, function, argument);
  if (array.size() == 0 || !is_dense(array, 1)) {
    throw py::value_error(prefix(function, argument) + "have dense rows of 1 or more values, got strides " +
                          shape_text(array.strides));
  }
  return array;
}

cuda::Values values_of(const DeviceArray& array) { return {array.data, array.type == "f2"}; }

DeviceArray require_values(py::handle object, const std::vector<int64_t>& shape, const char* function,
                           const char* argument) {
  return require_device(object, {"f4", "f2"}, shape, function, argument);
}

cuda::Stream require_stream(py::handle object, const char* function) {
  py::object number = py::reinterpret_borrow<py::object>(object);
  if (py::hasattr(object, "__cuda_stream__")) {
    number = py::cast<py::tuple>(object.attr("__cuda_stream__")())[1];
  } else {
    for (const char* name : {"cuda_stream", "ptr", "handle"}) {
      if (py::hasattr(object, name)) number = object.attr(name);
    }
  }
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(number.ptr()));
  if (!index) {
    PyErr_Clear();
    throw py::type_error(prefix(function, "stream") +
                         "be a stream's handle or a stream of PyTorch, CuPy or PyCUDA, got " +
                         py::cast<std::string>(py::type::of(object).attr("__name__")));
  }
  return reinterpret_cast<cuda::Stream>(py::cast<uintptr_t>(index));
}

cuda::AnchorFilter require_filter(py::handle class_mask, double score_threshold, bool multi_label, int64_t num_classes,
                                  const char* function) {
  if (!(score_threshold >= 0.0 && score_threshold <= 1.0)) {
    fail(function, "score_threshold must be within [0, 1], got " + std::to_string(score_threshold));
  }
  cuda::AnchorFilter filter{static_cast<float>(score_threshold), multi_label, nullptr};
  if (!class_mask.is_none()) {
    filter.class_mask =
        require_device(class_mask, {"u1", "b1"}, {num_classes}, function, "class_mask").as<const uint8_t>();
  }
  return filter;
}

cuda::CandidateBuffers require_candidates(py::handle object, int64_t num_anchors, int64_t num_classes,
                                          const char* function) {
  if (num_classes < 1) fail(function, "num_classes must be 1 or more, got " + std::to_string(num_classes));
  if (num_anchors >= (int64_t{1} << 31) / num_classes) {
    fail(function, "num_classes times anchors must be below 2**31, got " + std::to_string(num_classes) + " x " +
                       std::to_string(num_anchors));
  }
  const DeviceArray boxes = require_device(object.attr("boxes"), {"f4"}, {kAny, 4}, function, "candidates.boxes", true);
  if (boxes.shape[0] < num_anchors) {
    fail(function, "candidates.boxes must have a row for each anchor (" + std::to_string(num_anchors) + "), got " +
                       std::to_string(boxes.shape[0]));
  }
  const DeviceArray keys = require_device(object.attr("keys"), {"u8"}, {kAny}, function, "candidates.keys", true);
  auto* counters = static_cast<int32_t*>(field(object, "counters", {"i4"}, {2}, function, "candidates"));
  return {keys.as<uint64_t>(), boxes.as<float>(), counters, keys.shape[0]};
}

cuda::Selection require_selection(py::handle object, int64_t rows, const char* function) {
  const DeviceArray keys = require_device(object.attr("keys"), {"u8"}, {kAny}, function, "selection.keys", true);
  if (keys.shape[0] < rows) {
    fail(function, "selection.keys must have room for max_detections (" + std::to_string(rows) + "), got " +
                       std::to_string(keys.shape[0]));
  }
  return {keys.as<uint64_t>(), static_cast<int32_t*>(field(object, "header", {"i4"}, {3}, function, "selection"))};
}

}  // namespace yolokkn::bindings
