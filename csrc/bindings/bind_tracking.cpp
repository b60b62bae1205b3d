#include <limits>
#include <optional>

#include "arrays.h"
#include "yolokkn/assignment.h"
#include "yolokkn/trackers.h"

namespace yolokkn::bindings {
namespace {

constexpr const char* kUpdate = "update";

// As `require`, but an array that fits passes without a message being prepared: trackers are called for every frame.
template <typename T>
py::array require_fast(const py::object& object, py::ssize_t rows, py::ssize_t cols, const char* function,
                       const char* argument) {
  if (py::isinstance<py::array_t<T, py::array::c_style>>(object)) {
    auto array = py::reinterpret_borrow<py::array>(object);
    const bool shape = array.ndim() == (cols == 0 ? 1 : 2) && (rows == kAny || array.shape(0) == rows) &&
                       (cols == 0 || cols == kAny || array.shape(1) == cols);
    const bool aligned = reinterpret_cast<uintptr_t>(array.data()) % alignof(T) == 0;
    if (shape && aligned) return array;
  }
  if (cols == 0) return require<T>(object, {rows}, function, argument);
  return require<T>(object, {rows, cols}, function, argument);
}

// Any number of seconds, NaN and infinity included; None: no timestamp.
std::optional<double> require_time(const py::object& object) {
  if (object.is_none()) return std::nullopt;
  const double value = PyFloat_AsDouble(object.ptr());
  if (value != -1.0 || !PyErr_Occurred()) return value;
  PyErr_Clear();
  throw py::type_error("update: timestamp_s must be seconds as a float or None, got " +
                       py::cast<std::string>(py::type::of(object).attr("__name__")));
}

ClassPolicy policy_of(bool strict) { return strict ? ClassPolicy::kStrict : ClassPolicy::kAgnostic; }

py::array_t<int64_t> update_(Tracker& tracker, py::object boxes, py::object scores, py::object class_ids,
                             py::object timestamp_s) {
  const auto box_array = require_fast<float>(boxes, kAny, 4, kUpdate, "boxes");
  const py::ssize_t count = box_array.shape(0);
  const auto score_array = require_fast<float>(scores, count, 0, kUpdate, "scores");
  const auto class_array = require_fast<int32_t>(class_ids, count, 0, kUpdate, "class_ids");
  const std::optional<double> time_s = require_time(timestamp_s);
  if (count > std::numeric_limits<int32_t>::max()) {
    throw py::value_error("update: boxes must be fewer than 2^31, got " + std::to_string(count));
  }
  py::array_t<int64_t> out(count);
  const DetectionsView view{matrix_of<float>(box_array), data_of<float>(score_array), data_of<int32_t>(class_array)};
  const std::span<int64_t> ids(out.mutable_data(), static_cast<size_t>(count));
  {
    py::gil_scoped_release nogil;
    tracker.update(view, time_s, ids);
  }
  return out;
}

// The live tracks, column by column: boxes, track_ids, scores, class_ids, states, ages.
py::tuple tracks_(const Tracker& tracker) {
  std::vector<LiveTrack> live;
  {
    py::gil_scoped_release nogil;
    live = tracker.tracks();
  }
  const auto count = static_cast<py::ssize_t>(live.size());
  py::array_t<float> boxes({count, py::ssize_t{4}});
  py::array_t<int64_t> track_ids(count);
  py::array_t<float> scores(count);
  py::array_t<int32_t> class_ids(count);
  py::array_t<uint8_t> states(count);
  py::array_t<double> ages(count);
  for (py::ssize_t i = 0; i < count; ++i) {
    const LiveTrack& track = live[static_cast<size_t>(i)];
    float* box = boxes.mutable_data(i, 0);
    box[0] = track.x1;
    box[1] = track.y1;
    box[2] = track.x2;
    box[3] = track.y2;
    *track_ids.mutable_data(i) = track.track_id;
    *scores.mutable_data(i) = track.score;
    *class_ids.mutable_data(i) = track.class_id;
    *states.mutable_data(i) = static_cast<uint8_t>(track.state);
    *ages.mutable_data(i) = track.age;
  }
  return py::make_tuple(boxes, track_ids, scores, class_ids, states, ages);
}

py::array_t<int64_t> assign_(py::object costs, double max_cost) {
  const auto array = require_fast<float>(costs, kAny, kAny, "assign", "costs");
  const auto view = matrix_of<float>(array);
  CostGraph graph;
  std::vector<int64_t> pairs;
  {
    py::gil_scoped_release nogil;
    graph.clear(static_cast<int32_t>(view.cols));
    for (int64_t row = 0; row < view.rows; ++row) {
      for (int64_t column = 0; column < view.cols; ++column) {
        const auto cost = static_cast<double>(view(row, column));
        if (cost <= max_cost && cost >= -std::numeric_limits<float>::max()) {
          graph.edges.push_back({static_cast<int32_t>(column), cost});
        }
      }
      graph.end_row();
    }
    AssignmentSolver solver;
    const auto column_of = solver.solve(graph, max_cost);
    for (size_t row = 0; row < column_of.size(); ++row) {
      if (column_of[row] < 0) continue;
      pairs.push_back(static_cast<int64_t>(row));
      pairs.push_back(column_of[row]);
    }
  }
  const auto count = static_cast<py::ssize_t>(pairs.size() / 2);
  return to_array(std::move(pairs), {count, 2});
}

std::unique_ptr<Tracker> sort_(double frame_rate, bool strict, double max_age, int64_t min_hits, double iou_threshold,
                               double score_threshold) {
  return make_sort({max_age, min_hits, iou_threshold, score_threshold}, frame_rate, policy_of(strict));
}

std::unique_ptr<Tracker> bytetrack_(double frame_rate, bool strict, double track_high_thresh, double track_low_thresh,
                                    double new_track_thresh, double track_buffer, double match_thresh,
                                    bool fuse_score) {
  return make_bytetrack({track_high_thresh, track_low_thresh, new_track_thresh, track_buffer, match_thresh, fuse_score},
                        frame_rate, policy_of(strict));
}

}  // namespace

void bind_tracking(py::module_& module) {
  py::class_<Tracker>(module, "Tracker")
      .def("update", &update_, py::arg("boxes"), py::arg("scores"), py::arg("class_ids"),
           py::arg("timestamp_s") = py::none())
      .def("reset", &Tracker::reset, py::call_guard<py::gil_scoped_release>())
      .def("tracks", &tracks_);
  module.def("make_sort", &sort_, py::kw_only(), py::arg("frame_rate"), py::arg("strict"), py::arg("max_age"),
             py::arg("min_hits"), py::arg("iou_threshold"), py::arg("score_threshold"));
  module.def("make_bytetrack", &bytetrack_, py::kw_only(), py::arg("frame_rate"), py::arg("strict"),
             py::arg("track_high_thresh"), py::arg("track_low_thresh"), py::arg("new_track_thresh"),
             py::arg("track_buffer"), py::arg("match_thresh"), py::arg("fuse_score"));
  module.def("assign", &assign_, py::arg("costs"), py::arg("max_cost"));
}

}  // namespace yolokkn::bindings
