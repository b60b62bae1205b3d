#include "arrays.h"
#include "yolokkn/error.h"
#include "yolokkn/nms.h"

namespace yolokkn::bindings {
namespace {

py::array_t<int64_t> nms_(py::object boxes, py::object scores, py::object class_ids, double iou_threshold,
                          int64_t max_detections) {
  const auto box_array = require<float>(boxes, {kAny, 4}, "nms", "boxes");
  const auto score_array = require<float>(scores, {box_array.shape(0)}, "nms", "scores");
  const auto count = static_cast<size_t>(box_array.shape(0));
  py::array id_array;
  std::span<const int32_t> ids;
  if (!class_ids.is_none()) {
    id_array = require<int32_t>(class_ids, {box_array.shape(0)}, "nms", "class_ids");
    ids = {data_of<int32_t>(id_array), count};
  }
  if (!(iou_threshold >= 0.0 && iou_threshold <= 1.0)) {
    fail("nms",
         "iou_threshold must be within [0, 1], got " + py::cast<std::string>(py::repr(py::float_(iou_threshold))));
  }
  if (max_detections < 1) fail("nms", "max_detections must be 1 or more, got " + std::to_string(max_detections));
  std::vector<int64_t> kept;
  {
    py::gil_scoped_release nogil;
    kept = nms(matrix_of<float>(box_array), {data_of<float>(score_array), count}, ids,
               static_cast<float>(iou_threshold), max_detections);
  }
  const auto n = static_cast<py::ssize_t>(kept.size());
  return to_array(std::move(kept), {n});
}

}  // namespace

void bind_nms(py::module_& module) { module.def("nms", &nms_); }

}  // namespace yolokkn::bindings
