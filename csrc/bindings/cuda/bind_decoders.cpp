#include <pybind11/stl.h>

#include <utility>

#include "device_arrays.h"
#include "yolokkn/error.h"

namespace yolokkn::bindings {
namespace {

using Size = std::pair<int64_t, int64_t>;

// The options that every decoder takes, in this order.
struct DecoderOptions {
  py::object candidates;
  double score_threshold;
  bool multi_label;
  py::object class_mask;
  py::object stream;

  explicit DecoderOptions(const py::tuple& options)
      : candidates(options[0]),
        score_threshold(py::cast<double>(options[1])),
        multi_label(py::cast<bool>(options[2])),
        class_mask(options[3]),
        stream(options[4]) {}

  cuda::AnchorFilter filter(int64_t num_classes, const char* name) const {
    return require_filter(class_mask, score_threshold, multi_label, num_classes, name);
  }
};

void require_room(const char* name, int64_t num_classes, int64_t before, int64_t present, const char* axis) {
  if (num_classes >= 1 && before + num_classes <= present) return;
  fail(name, "num_classes must be 1 or more and leave room in the " + std::to_string(present) + " " + axis + ", got " +
                 std::to_string(num_classes));
}

void require_levels(const char* name, const char* argument, size_t count) {
  if (count >= 1 && count <= cuda::kMostLevels) return;
  fail(name, std::string(argument) + " must be 1 to " + std::to_string(cuda::kMostLevels) + " arrays, got " +
                 std::to_string(count));
}

void require_input(const char* name, const Size& hw) {
  if (hw.first >= 1 && hw.second >= 1) return;
  fail(name, "input_hw must be 1 or more in both, got " + shape_text({hw.first, hw.second}));
}

void decode_channels_(py::object output, int64_t num_classes, const py::tuple& options) {
  const char* name = "decode_channels";
  const DeviceArray array = require_values(output, {kAny, kAny}, name, "output");
  require_room(name, num_classes, 4, array.shape[0], "channels");
  const DecoderOptions given(options);
  cuda::decode_channels(values_of(array), array.shape[1], num_classes, given.filter(num_classes, name),
                        require_candidates(given.candidates, array.shape[1], num_classes, name),
                        require_stream(given.stream, name));
}

cuda::RowBox row_box_of(const std::string& format) {
  if (format == "cxcywh") return cuda::RowBox::kCxcywh;
  if (format == "xyxy") return cuda::RowBox::kXyxy;
  if (format == "grid") return cuda::RowBox::kGrid;
  fail("decode_rows", "box_format must be one of cxcywh, xyxy, grid, got '" + format + "'");
}

void place_grids(cuda::RowsShape& shape, const std::vector<int64_t>& strides, const Size& hw) {
  const char* name = "decode_rows";
  require_levels(name, "strides", strides.size());
  require_input(name, hw);
  int64_t anchors = 0;
  for (const int64_t stride : strides) {
    if (stride < 1 || hw.first % stride != 0 || hw.second % stride != 0) {
      fail(name, "input_hw must be multiples of every stride, got " + shape_text({hw.first, hw.second}) +
                     " with stride " + std::to_string(stride));
    }
    anchors += (hw.first / stride) * (hw.second / stride);
    shape.strides[shape.num_levels++] = stride;
  }
  if (anchors != shape.num_anchors) {
    fail(name, "output must have " + std::to_string(anchors) + " rows for this input_hw and these strides, got " +
                   std::to_string(shape.num_anchors));
  }
  shape.input_h = hw.first;
  shape.input_w = hw.second;
}

void decode_rows_(py::object output, int64_t num_classes, bool objectness, const std::string& box_format,
                  const std::vector<int64_t>& strides, const std::optional<Size>& input_hw, const py::tuple& options) {
  const char* name = "decode_rows";
  const DeviceArray array = require_values(output, {kAny, kAny}, name, "output");
  require_room(name, num_classes, objectness ? 5 : 4, array.shape[1], "columns");
  cuda::RowsShape shape;
  shape.num_anchors = array.shape[0];
  shape.num_columns = array.shape[1];
  shape.num_classes = num_classes;
  shape.objectness = objectness;
  shape.box = row_box_of(box_format);
  if (shape.box == cuda::RowBox::kGrid) {
    if (!input_hw.has_value()) fail(name, "input_hw must be given with grid, got None");
    place_grids(shape, strides, *input_hw);
  }
  const DecoderOptions given(options);
  cuda::decode_rows(values_of(array), shape, given.filter(num_classes, name),
                    require_candidates(given.candidates, array.shape[0], num_classes, name),
                    require_stream(given.stream, name));
}

cuda::RawHead head_of(py::handle logits, const std::vector<std::pair<float, float>>& anchors, int64_t num_classes,
                      float scale_xy) {
  const char* name = "decode_heads";
  const auto boxes = static_cast<int64_t>(anchors.size());
  if (boxes < 1 || boxes > cuda::kMostAnchorBoxes) {
    fail(name,
         "anchors must be 1 to " + std::to_string(cuda::kMostAnchorBoxes) + " a head, got " + std::to_string(boxes));
  }
  const DeviceArray array = require_values(logits, {boxes * (5 + num_classes), kAny, kAny}, name, "heads");
  cuda::RawHead head;
  head.logits = values_of(array);
  head.num_boxes = boxes;
  head.grid_h = array.shape[1];
  head.grid_w = array.shape[2];
  for (size_t i = 0; i < anchors.size(); ++i) {
    head.anchors[2 * i] = anchors[i].first;
    head.anchors[2 * i + 1] = anchors[i].second;
  }
  head.scale_xy = scale_xy;
  return head;
}

void decode_heads_(const std::vector<py::object>& heads, int64_t num_classes,
                   const std::vector<std::vector<std::pair<float, float>>>& anchors, const Size& input_hw,
                   const std::string& formula, const std::vector<float>& scale_xy, bool objectness_times_class,
                   const py::tuple& options) {
  const char* name = "decode_heads";
  require_levels(name, "heads", heads.size());
  require_input(name, input_hw);
  if (num_classes < 1) fail(name, "num_classes must be 1 or more, got " + std::to_string(num_classes));
  if (anchors.size() != heads.size() || scale_xy.size() != heads.size()) {
    fail(name, "anchors and scale_xy must have one entry for each of " + std::to_string(heads.size()) + " heads, got " +
                   std::to_string(anchors.size()) + " and " + std::to_string(scale_xy.size()));
  }
  if (formula != "darknet" && formula != "v5") fail(name, "formula must be darknet or v5, got '" + formula + "'");
  cuda::RawHeads raw;
  int64_t count = 0;
  for (size_t h = 0; h < heads.size(); ++h) {
    raw.heads[h] = head_of(heads[h], anchors[h], num_classes, scale_xy[h]);
    count += raw.heads[h].num_boxes * raw.heads[h].grid_h * raw.heads[h].grid_w;
  }
  raw.num_heads = static_cast<int>(heads.size());
  raw.num_classes = num_classes;
  raw.input_h = input_hw.first;
  raw.input_w = input_hw.second;
  raw.is_v5 = formula == "v5";
  raw.objectness_times_class = objectness_times_class;
  const DecoderOptions given(options);
  cuda::decode_heads(raw, given.filter(num_classes, name),
                     require_candidates(given.candidates, count, num_classes, name),
                     require_stream(given.stream, name));
}

void decode_distances_(const std::vector<py::object>& levels, int64_t num_classes, const Size& input_hw,
                       int64_t num_bins, const py::tuple& options) {
  const char* name = "decode_distances";
  require_levels(name, "levels", levels.size());
  require_input(name, input_hw);
  if (num_bins < 1) fail(name, "num_bins must be 1 or more, got " + std::to_string(num_bins));
  cuda::DistanceLevels raw;
  int64_t count = 0;
  for (size_t l = 0; l < levels.size(); ++l) {
    const DeviceArray array = require_values(levels[l], {kAny, kAny, kAny}, name, "levels");
    require_room(name, num_classes, 4 * num_bins, array.shape[0], "channels");
    raw.levels[l] = {values_of(array), array.shape[1], array.shape[2]};
    count += array.shape[1] * array.shape[2];
  }
  raw.num_levels = static_cast<int>(levels.size());
  raw.num_classes = num_classes;
  raw.num_bins = num_bins;
  raw.input_h = input_hw.first;
  raw.input_w = input_hw.second;
  const DecoderOptions given(options);
  cuda::decode_distances(raw, given.filter(num_classes, name),
                         require_candidates(given.candidates, count, num_classes, name),
                         require_stream(given.stream, name));
}

void decode_queries_(py::object boxes, py::object logits, int64_t num_classes, const Size& input_hw,
                     const py::tuple& options) {
  const char* name = "decode_queries";
  const DeviceArray box_array = require_values(boxes, {kAny, 4}, name, "boxes");
  const DeviceArray logit_array = require_values(logits, {box_array.shape[0], kAny}, name, "logits");
  require_room(name, num_classes, 0, logit_array.shape[1], "columns");
  require_input(name, input_hw);
  const DecoderOptions given(options);
  cuda::decode_queries(values_of(box_array), values_of(logit_array), box_array.shape[0], logit_array.shape[1],
                       num_classes, input_hw.first, input_hw.second, given.filter(num_classes, name),
                       require_candidates(given.candidates, box_array.shape[0], num_classes, name),
                       require_stream(given.stream, name));
}

void decode_table_(py::object rows, int64_t num_classes, const py::tuple& options) {
  const char* name = "decode_table";
  const DeviceArray array = require_values(rows, {kAny, kAny}, name, "rows");
  if (array.shape[1] < 6) fail(name, "rows must have 6 columns or more, got " + std::to_string(array.shape[1]));
  const DecoderOptions given(options);
  cuda::decode_final(values_of(array), array.shape[0], array.shape[1], num_classes, given.filter(num_classes, name),
                     require_candidates(given.candidates, array.shape[0], num_classes, name),
                     require_stream(given.stream, name));
}

}  // namespace

void bind_decoders(py::module_& module) {
  module.def("decode_channels", &decode_channels_);
  module.def("decode_rows", &decode_rows_);
  module.def("decode_heads", &decode_heads_);
  module.def("decode_distances", &decode_distances_);
  module.def("decode_queries", &decode_queries_);
  module.def("decode_table", &decode_table_);
}

}  // namespace yolokkn::bindings
