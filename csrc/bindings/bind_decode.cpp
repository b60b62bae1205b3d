#include <pybind11/stl.h>

#include <optional>

#include "arrays.h"
#include "candidates.h"
#include "yolokkn/decode.h"
#include "yolokkn/error.h"

namespace yolokkn::bindings {
namespace {

py::tuple decode_channels_(py::object output, int64_t num_classes, double score_threshold, bool multi_label,
                           int64_t max_candidates, py::object class_mask) {
  const char* name = "decode_channels";
  const auto array = require<float>(output, {kAny, kAny}, name, "output");
  require_columns(name, num_classes, 4, array.shape(0), "channels");
  const FilterArguments arguments(name, num_classes, score_threshold, multi_label, max_candidates, class_mask);
  Candidates found;
  {
    py::gil_scoped_release nogil;
    found = decode_channels(matrix_of<float>(array), num_classes, arguments.filter());
  }
  return to_tuple(std::move(found));
}

BoxFormat box_format_of(const std::string& name) {
  if (name == "cxcywh") return BoxFormat::kCxcywh;
  if (name == "xyxy") return BoxFormat::kXyxy;
  if (name == "grid") return BoxFormat::kGrid;
  fail("decode_rows", "box_format must be one of cxcywh, xyxy, grid, got '" + name + "'");
}

void require_grid(const std::vector<int64_t>& strides, std::pair<int64_t, int64_t> hw, int64_t rows) {
  const std::string size = "(" + std::to_string(hw.first) + ", " + std::to_string(hw.second) + ")";
  int64_t anchors = 0;
  for (const int64_t stride : strides) {
    if (stride < 1) fail("decode_rows", "strides must be 1 or more, got " + std::to_string(stride));
    if (hw.first % stride != 0 || hw.second % stride != 0) {
      fail("decode_rows",
           "input_hw must be multiples of every stride, got " + size + " with stride " + std::to_string(stride));
    }
    anchors += (hw.first / stride) * (hw.second / stride);
  }
  if (anchors != rows) {
    fail("decode_rows", "output must have " + std::to_string(anchors) + " rows for input_hw " + size +
                            " and these strides, got " + std::to_string(rows));
  }
}

py::tuple decode_rows_(py::object output, int64_t num_classes, bool objectness, const std::string& box_format,
                       const std::vector<int64_t>& strides, py::object input_hw, double score_threshold,
                       bool multi_label, int64_t max_candidates, py::object class_mask) {
  const char* name = "decode_rows";
  const auto array = require<float>(output, {kAny, kAny}, name, "output");
  require_columns(name, num_classes, objectness ? 5 : 4, array.shape(1), "columns");
  RowsLayout layout{objectness, box_format_of(box_format), strides, 0, 0};
  if (layout.box_format == BoxFormat::kGrid) {
    const auto hw = require_hw(input_hw, name, "input_hw");
    require_grid(strides, hw, array.shape(0));
    layout.input_h = hw.first;
    layout.input_w = hw.second;
  }
  const FilterArguments arguments(name, num_classes, score_threshold, multi_label, max_candidates, class_mask);
  Candidates found;
  {
    py::gil_scoped_release nogil;
    found = decode_rows(matrix_of<float>(array), num_classes, layout, arguments.filter());
  }
  return to_tuple(std::move(found));
}

py::tuple decode_queries_(py::object boxes, py::object logits, std::optional<int64_t> num_classes, py::object input_hw,
                          int64_t top_k, double score_threshold, bool multi_label, int64_t max_candidates,
                          py::object class_mask) {
  const char* name = "decode_queries";
  const auto box_array = require<float>(boxes, {kAny, 4}, name, "boxes");
  const auto logit_array = require<float>(logits, {box_array.shape(0), kAny}, name, "logits");
  const int64_t classes = num_classes.value_or(logit_array.shape(1));
  if (classes < 1 || classes > logit_array.shape(1)) {
    fail(name, "num_classes must be within 1 and the columns of logits (" + std::to_string(logit_array.shape(1)) +
                   "), got " + std::to_string(classes));
  }
  if (top_k < 1) fail(name, "top_k must be 1 or more, got " + std::to_string(top_k));
  const auto hw = require_hw(input_hw, name, "input_hw");
  const FilterArguments arguments(name, classes, score_threshold, multi_label, max_candidates, class_mask);
  Candidates found;
  {
    py::gil_scoped_release nogil;
    found = decode_queries(matrix_of<float>(box_array), matrix_of<float>(logit_array), classes, hw.first, hw.second,
                           top_k, arguments.filter());
  }
  return to_tuple(std::move(found));
}

// The number of classes: as said, as long as the mask, or unlimited.
int64_t classes_of(const char* name, std::optional<int64_t> num_classes, py::handle class_mask) {
  if (num_classes.has_value()) {
    if (*num_classes < 1) fail(name, "num_classes must be 1 or more, got " + std::to_string(*num_classes));
    return *num_classes;
  }
  if (py::isinstance<py::array>(class_mask)) return py::reinterpret_borrow<py::array>(class_mask).size();
  return int64_t{1} << 31;
}

py::tuple finish_final(const char* name, const FinalRows& rows, std::optional<int64_t> num_classes,
                       double score_threshold, int64_t max_candidates, py::object class_mask) {
  const int64_t classes = classes_of(name, num_classes, class_mask);
  const FilterArguments arguments(name, classes, score_threshold, false, max_candidates, class_mask);
  Candidates found;
  {
    py::gil_scoped_release nogil;
    found = decode_final(rows, classes, arguments.filter());
  }
  return to_tuple(std::move(found));
}

FinalClassIds class_ids_of(const py::array& array) {
  FinalClassIds ids;
  if (py::isinstance<py::array_t<int32_t>>(array)) ids.as_int32 = data_of<int32_t>(array);
  if (py::isinstance<py::array_t<int64_t>>(array)) ids.as_int64 = data_of<int64_t>(array);
  if (py::isinstance<py::array_t<float>>(array)) ids.as_float = data_of<float>(array);
  return ids;
}

py::array require_class_ids(py::handle object, int64_t rows, const char* name) {
  if (py::isinstance<py::array>(object)) {
    const auto dtype = py::reinterpret_borrow<py::array>(object).dtype();
    if (dtype.is(py::dtype::of<float>())) return require<float>(object, {rows}, name, "class_ids");
    if (dtype.is(py::dtype::of<int64_t>())) return require<int64_t>(object, {rows}, name, "class_ids");
  }
  return require<int32_t>(object, {rows}, name, "class_ids");
}

py::tuple decode_final_(py::object boxes, py::object scores, py::object class_ids, std::optional<int64_t> count,
                        std::optional<int64_t> num_classes, double score_threshold, int64_t max_candidates,
                        py::object class_mask) {
  const char* name = "decode_final";
  const auto box_array = require<float>(boxes, {kAny, 4}, name, "boxes");
  const int64_t present = box_array.shape(0);
  const auto score_array = require<float>(scores, {present}, name, "scores");
  const auto id_array = require_class_ids(class_ids, present, name);
  const int64_t used = count.value_or(present);
  if (used < 0 || used > present) {
    fail(name, "count must be within 0 and the number of rows (" + std::to_string(present) + "), got " +
                   std::to_string(used));
  }
  const FinalRows rows{data_of<float>(box_array), 4, data_of<float>(score_array), 1, class_ids_of(id_array), used};
  return finish_final(name, rows, num_classes, score_threshold, max_candidates, class_mask);
}

py::tuple decode_table_(py::object output, std::optional<int64_t> num_classes, double score_threshold,
                        int64_t max_candidates, py::object class_mask) {
  const char* name = "decode_table";
  const auto array = require<float>(output, {kAny, kAny}, name, "output");
  if (array.shape(1) < 6) fail(name, "output must have 6 or more columns, got " + std::to_string(array.shape(1)));
  const float* data = data_of<float>(array);
  FinalClassIds ids;
  ids.as_float = data + 5;
  ids.stride = array.shape(1);
  const FinalRows rows{data, array.shape(1), data + 4, array.shape(1), ids, array.shape(0)};
  return finish_final(name, rows, num_classes, score_threshold, max_candidates, class_mask);
}

py::array_t<float> gather_extras_(py::object output, py::object anchor_index, int64_t first, int64_t count,
                                  bool channel_major) {
  const char* name = "gather_extras";
  const auto array = require<float>(output, {kAny, kAny}, name, "output");
  const auto index = require<int64_t>(anchor_index, {kAny}, name, "anchor_index");
  const int64_t anchors = array.shape(channel_major ? 1 : 0);
  const int64_t channels = array.shape(channel_major ? 0 : 1);
  if (first < 0 || count < 0 || first > channels || count > channels - first) {
    fail(name, "first and count must lie within the " + std::to_string(channels) + " channels of output, got first " +
                   std::to_string(first) + ", count " + std::to_string(count));
  }
  const std::span<const int64_t> view(data_of<int64_t>(index), static_cast<size_t>(index.size()));
  for (const int64_t anchor : view) {
    if (anchor >= 0 && anchor < anchors) continue;
    fail(name, "anchor_index must be within 0 and the number of anchors (" + std::to_string(anchors) + "), got " +
                   std::to_string(anchor));
  }
  py::array_t<float> out({index.shape(0), static_cast<py::ssize_t>(count)});
  const MatrixView<float> out_view{out.mutable_data(), index.shape(0), count};
  {
    py::gil_scoped_release nogil;
    gather_extras(matrix_of<float>(array), view, first, channel_major, out_view);
  }
  return out;
}

}  // namespace

void bind_decode(py::module_& module) {
  module.def("decode_channels", &decode_channels_);
  module.def("decode_rows", &decode_rows_);
  module.def("decode_queries", &decode_queries_);
  module.def("decode_final", &decode_final_);
  module.def("decode_table", &decode_table_);
  module.def("gather_extras", &gather_extras_);
}

}  // namespace yolokkn::bindings
