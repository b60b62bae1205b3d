#include <pybind11/stl.h>

#include "device_arrays.h"
#include "yolokkn/error.h"
#include "yolokkn/masks.h"

namespace yolokkn::bindings {
namespace {

cuda::SuppressionRule rule_of(const char* name, bool suppress, bool agnostic, double iou_threshold,
                              int64_t max_candidates, int64_t max_detections) {
  if (!(iou_threshold >= 0.0 && iou_threshold <= 1.0)) {
    fail(name, "iou_threshold must be within [0, 1], got " + std::to_string(iou_threshold));
  }
  if (max_candidates < 1) fail(name, "max_candidates must be 1 or more, got " + std::to_string(max_candidates));
  if (max_detections < 1 || max_detections > cuda::kMostDetections) {
    fail(name, "max_detections must be within 1 and " + std::to_string(cuda::kMostDetections) + ", got " +
                   std::to_string(max_detections));
  }
  return {suppress, agnostic, static_cast<float>(iou_threshold), max_candidates, max_detections};
}

void select_best_(py::object candidates, int64_t num_classes, bool suppress, bool agnostic, double iou_threshold,
                  int64_t max_candidates, int64_t max_detections, py::object selection, py::object stream) {
  const char* name = "select_best";
  const auto rule = rule_of(name, suppress, agnostic, iou_threshold, max_candidates, max_detections);
  cuda::select_best(require_candidates(candidates, 0, num_classes, name), num_classes, rule,
                    require_selection(selection, max_detections, name), require_stream(stream, name));
}

void nms_(py::object boxes, py::object scores, py::object class_ids, double iou_threshold, int64_t max_detections,
          py::object keys, py::object counters, py::object selection, py::object stream) {
  const char* name = "nms";
  const DeviceArray box_array = require_device(boxes, {"f4"}, {kAny, 4}, name, "boxes");
  const int64_t count = box_array.shape[0];
  if (count >= int64_t{1} << 31) fail(name, "boxes must be below 2**31, got " + std::to_string(count));
  const DeviceArray score_array = require_device(scores, {"f4"}, {count}, name, "scores");
  const int32_t* ids = nullptr;
  if (!class_ids.is_none()) ids = require_device(class_ids, {"i4"}, {count}, name, "class_ids").as<const int32_t>();
  const DeviceArray key_array = require_device(keys, {"u8"}, {kAny}, name, "keys", true);
  if (key_array.shape[0] < count) {
    fail(name, "keys must have room for every box (" + std::to_string(count) + "), got " +
                   std::to_string(key_array.shape[0]));
  }
  const auto rule = rule_of(name, true, false, iou_threshold, int64_t{1} << 31, max_detections);
  const cuda::CandidateBuffers work{key_array.as<uint64_t>(), box_array.as<float>(),
                                    require_device(counters, {"i4"}, {2}, name, "counters", true).as<int32_t>(),
                                    key_array.shape[0]};
  const cuda::Selection out = require_selection(selection, max_detections, name);
  const cuda::Stream on = require_stream(stream, name);
  cuda::collect_boxes(box_array.as<const float>(), score_array.as<const float>(), count, work, on);
  cuda::select_boxes(work, ids, rule, out, on);
}

template <typename T>
T* optional_rows(py::handle object, const char* name, const std::string& type, int64_t capacity,
                 std::vector<int64_t> shape, const char* function) {
  const py::object array = object.attr(name);
  if (array.is_none()) return nullptr;
  shape.insert(shape.begin(), capacity);
  return require_device(array, {type}, shape, function, (std::string("detections.") + name).c_str(), true).as<T>();
}

// A yolokkn.ops.cuda.DetectionBuffers.
cuda::Detections require_detections(py::handle object, int64_t num_coeffs, int64_t num_keypoints,
                                    const char* function) {
  cuda::Detections out;
  out.header = require_device(object.attr("header"), {"i4"}, {4}, function, "detections.header", true).as<int32_t>();
  const DeviceArray boxes = require_device(object.attr("boxes"), {"f4"}, {kAny, 4}, function, "detections.boxes", true);
  out.capacity = boxes.shape[0];
  if (out.capacity < 1 || out.capacity > cuda::kMostDetections) {
    fail(function, "detections must have 1 to " + std::to_string(cuda::kMostDetections) + " rows, got " +
                       std::to_string(out.capacity));
  }
  const int64_t n = out.capacity;
  out.boxes = boxes.as<float>();
  out.scores = optional_rows<float>(object, "scores", "f4", n, {}, function);
  out.class_ids = optional_rows<int32_t>(object, "class_ids", "i4", n, {}, function);
  out.anchors = optional_rows<int32_t>(object, "anchor_index", "i4", n, {}, function);
  out.keypoints = optional_rows<float>(object, "keypoints", "f4", n, {num_keypoints, 3}, function);
  out.coeffs = optional_rows<float>(object, "mask_coeffs", "f4", n, {num_coeffs}, function);
  out.crops = optional_rows<int32_t>(object, "crops", "i4", n, {4}, function);
  const py::object words = object.attr("words");
  if (!words.is_none()) {
    out.words = require_device(words, {"i4"}, {n + 1}, function, "detections.words", true).as<int32_t>();
  }
  if ((out.crops == nullptr) != (out.words == nullptr)) {
    fail(function, "detections must have crops and words, or neither, got one of them");
  }
  return out;
}

// levels: (array, first_anchor, anchor_step, extra_step, first_value, grid_w, stride) each.
cuda::AnchorExtras extras_of(const py::tuple& levels, int64_t num_coeffs, int64_t num_keypoints, int64_t keypoint_width,
                             bool raw_keypoints, const char* function) {
  if (levels.size() > cuda::kMostLevels) {
    fail(function, "extras must have at most " + std::to_string(cuda::kMostLevels) + " levels, got " +
                       std::to_string(levels.size()));
  }
  cuda::AnchorExtras extras;
  extras.num_coeffs = num_coeffs;
  extras.num_keypoints = num_keypoints;
  extras.keypoint_width = keypoint_width;
  extras.raw_keypoints = raw_keypoints;
  for (const auto& item : levels) {
    const auto level = py::cast<py::tuple>(item);
    const py::object array = level[0];
    const auto facts = py::cast<py::dict>(array.attr("__cuda_array_interface__"));
    const auto rank = py::cast<py::tuple>(facts["shape"]).size();
    const DeviceArray values = require_values(array, std::vector<int64_t>(rank, kAny), function, "extras");
    const int64_t width = values.type == "f2" ? 2 : 4;
    auto* first = values.as<uint8_t>() + py::cast<int64_t>(level[4]) * width;
    extras.levels[extras.num_levels++] = {{first, width == 2},         py::cast<int64_t>(level[1]),
                                          py::cast<int64_t>(level[2]), py::cast<int64_t>(level[3]),
                                          py::cast<int64_t>(level[5]), py::cast<float>(level[6])};
  }
  return extras;
}

void gather_detections_(py::object selection, py::object candidates, int64_t num_classes, const py::tuple& levels,
                        int64_t num_coeffs, int64_t num_keypoints, int64_t keypoint_width, bool raw_keypoints,
                        py::object geometry, py::object detections, py::object copy, py::object stream) {
  const char* name = "gather_detections";
  const Letterbox place = require_letterbox(geometry, name, "geometry");
  check_mask_geometry(place);
  const auto from = require_candidates(candidates, 0, num_classes, name);
  const auto out = require_detections(detections, num_coeffs, num_keypoints, name);
  const auto extras = extras_of(levels, num_coeffs, num_keypoints, keypoint_width, raw_keypoints, name);
  cuda::Detections second;
  if (!copy.is_none()) second = require_detections(copy, num_coeffs, num_keypoints, name);
  if (!copy.is_none() && second.capacity != out.capacity) {
    fail(name, "copy must have as many rows as detections (" + std::to_string(out.capacity) + "), got " +
                   std::to_string(second.capacity));
  }
  cuda::gather_detections(require_selection(selection, out.capacity, name), from.boxes, num_classes, extras, place, out,
                          second, require_stream(stream, name));
}

void assemble_masks_(py::object detections, py::object prototypes, py::object geometry, py::object bits,
                     py::object stream) {
  const char* name = "assemble_masks";
  const Letterbox place = require_letterbox(geometry, name, "geometry");
  check_mask_geometry(place);
  const DeviceArray planes = require_values(prototypes, {kAny, kAny, kAny}, name, "prototypes");
  if (planes.size() < 1)
    fail(name, "prototypes must have 1 or more in each dimension, got " + shape_text(planes.shape));
  const auto out = require_detections(detections, planes.shape[0], kAny, name);
  if (out.coeffs == nullptr || out.crops == nullptr) {
    fail(name, "detections must have mask_coeffs, crops and words, got none");
  }
  const DeviceArray words = require_device(bits, {"u4"}, {kAny}, name, "bits", true);
  cuda::assemble_masks(out, {values_of(planes), planes.shape[0], planes.shape[1], planes.shape[2]}, place,
                       words.as<uint32_t>(), words.shape[0], require_stream(stream, name));
}

void encode_rle_(py::object detections, py::object bits, std::pair<int64_t, int64_t> frame_hw, py::object lengths,
                 py::object counts, py::object stream) {
  const char* name = "encode_rle";
  const auto [h, w] = frame_hw;
  if (h < 1 || w < 1 || h >= int64_t{1} << 31 || w >= (int64_t{1} << 32) / h) {
    fail(name,
         "frame_hw must have 1 or more and below 2**32 pixels, got " + std::to_string(h) + " x " + std::to_string(w));
  }
  const auto from = require_detections(detections, kAny, kAny, name);
  if (from.crops == nullptr) fail(name, "detections must have crops and words, got none");
  const DeviceArray words = require_device(bits, {"u4"}, {kAny}, name, "bits");
  const DeviceArray runs = require_device(lengths, {"u4"}, {from.capacity, kAny}, name, "lengths", true);
  auto* numbers = require_device(counts, {"i4"}, {from.capacity}, name, "counts", true).as<int32_t>();
  cuda::encode_rle(from, words.as<const uint32_t>(), words.shape[0], h, w,
                   {runs.as<uint32_t>(), numbers, runs.shape[1]}, require_stream(stream, name));
}

void inverse_letterbox_(py::object pairs, py::object geometry, bool clip, py::object out, py::object stream) {
  const char* name = "inverse_letterbox";
  const Letterbox place = require_letterbox(geometry, name, "geometry");
  const DeviceArray from = require_device(pairs, {"f4"}, {kAny, kAny}, name, "boxes");
  if (from.shape[1] % 2 != 0) fail(name, "boxes must have x, y pairs, got " + shape_text(from.shape));
  const DeviceArray to = require_device(out, {"f4"}, from.shape, name, "out", true);
  cuda::inverse_letterbox(from.as<const float>(), from.size() / 2, place, clip, to.as<float>(),
                          require_stream(stream, name));
}

}  // namespace

void bind_results(py::module_& module) {
  module.attr("most_detections") = cuda::kMostDetections;
  module.def("select_best", &select_best_);
  module.def("nms", &nms_);
  module.def("gather_detections", &gather_detections_);
  module.def("assemble_masks", &assemble_masks_);
  module.def("encode_rle", &encode_rle_);
  module.def("inverse_letterbox", &inverse_letterbox_);
}

}  // namespace yolokkn::bindings
