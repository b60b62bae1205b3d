#include <limits>
#include <optional>

#include "arrays.h"
#include "yolokkn/trackers.h"

namespace yolokkn::bindings {
namespace {

constexpr const char* kUpdate = "update";

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
  const auto box_array = require<float>(boxes, {kAny, 4}, kUpdate, "boxes");
  const py::ssize_t count = box_array.shape(0);
  const auto score_array = require<float>(scores, {count}, kUpdate, "scores");
  const auto class_array = require<int32_t>(class_ids, {count}, kUpdate, "class_ids");
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
}

}  // namespace yolokkn::bindings
