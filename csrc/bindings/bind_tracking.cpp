#include <limits>
#include <optional>

#include "../tracking/archive.h"
#include "arrays.h"
#include "yolokkn/trackers.h"

namespace yolokkn::bindings {
namespace {

constexpr const char* kUpdate = "update";

// Any number of seconds, NaN and infinity included; None: no timestamp.
std::optional<double> require_time(const char* function, const py::object& object) {
  if (object.is_none()) return std::nullopt;
  const double value = PyFloat_AsDouble(object.ptr());
  if (value != -1.0 || !PyErr_Occurred()) return value;
  PyErr_Clear();
  throw py::type_error(std::string(function) + ": timestamp_s must be seconds as a float or None, got " +
                       py::cast<std::string>(py::type::of(object).attr("__name__")));
}

ClassPolicy require_policy(const std::string& name) {
  if (name == "strict") return ClassPolicy::kStrict;
  if (name == "agnostic") return ClassPolicy::kAgnostic;
  if (name == "vote") return ClassPolicy::kVote;
  throw py::value_error("make_tracker: class_policy must be strict, agnostic or vote, got " + name);
}

std::optional<CameraMotion> require_camera(const py::object& object) {
  if (object.is_none()) return std::nullopt;
  const auto m = matrix_of<double>(require<double>(object, {2, 3}, kUpdate, "camera"));
  return CameraMotion{m(0, 0), m(0, 1), m(0, 2), m(1, 0), m(1, 1), m(1, 2)};
}

// The fields of a yolokkn.types.Masks, or None. Optional, because a py::array by default is a new NumPy array: 0.35 us.
struct MaskArrays {
  explicit MaskArrays(const py::object& masks) : given(!masks.is_none()) {
    if (!given) return;
    data = require<uint8_t>(masks.attr("data"), {kAny}, kUpdate, "masks.data");
    crops = require<int32_t>(masks.attr("crops"), {kAny, 4}, kUpdate, "masks.crops");
    const auto [h, w] = py::cast<std::pair<int64_t, int64_t>>(masks.attr("frame_hw"));
    view = {{data_of<uint8_t>(*data), static_cast<size_t>(data->size())}, matrix_of<int32_t>(*crops), h, w};
  }

  bool given;
  std::optional<py::array> data, crops;
  MasksView view;
};

// The identities of the detections; with_classes: and the classes of their tracks.
py::object update_(Tracker& tracker, py::object boxes, py::object scores, py::object class_ids, py::object timestamp_s,
                   py::object camera, py::object embeddings, bool with_classes, py::object masks) {
  const auto box_array = require<float>(boxes, {kAny, 4}, kUpdate, "boxes");
  const py::ssize_t count = box_array.shape(0);
  const auto score_array = require<float>(scores, {count}, kUpdate, "scores");
  const auto class_array = require<int32_t>(class_ids, {count}, kUpdate, "class_ids");
  if (count > std::numeric_limits<int32_t>::max()) {
    throw py::value_error("update: boxes must be fewer than 2^31, got " + std::to_string(count));
  }
  FrameView frame{matrix_of<float>(box_array), data_of<float>(score_array), data_of<int32_t>(class_array),
                  require_time(kUpdate, timestamp_s), require_camera(camera)};
  std::optional<py::array> embedding_array;
  if (!embeddings.is_none()) {
    embedding_array = require<float>(embeddings, {count, kAny}, kUpdate, "embeddings");
    frame.embeddings = matrix_of<float>(*embedding_array);
  }
  const MaskArrays mask_arrays(masks);
  py::array_t<int64_t> ids(count);
  FrameResult result{{ids.mutable_data(), static_cast<size_t>(count)}, {}};
  std::optional<py::array_t<int32_t>> classes;
  if (with_classes) {
    classes.emplace(count);
    result.class_ids = {classes->mutable_data(), static_cast<size_t>(count)};
  }
  {
    py::gil_scoped_release nogil;
    std::vector<MaskShape> shapes;
    if (mask_arrays.given) {
      shapes = mask_shapes(kUpdate, mask_arrays.view, frame.boxes);
      frame.shapes = shapes;
    }
    tracker.update(frame, result);
  }
  if (with_classes) return py::make_tuple(ids, *classes);
  return ids;
}

py::bytes save_(Tracker& tracker) {
  std::string state;
  {
    py::gil_scoped_release nogil;
    state = tracker.save();
  }
  return py::bytes(state);
}

void load_(Tracker& tracker, const py::bytes& state) {
  const std::string_view view(state);
  try {
    py::gil_scoped_release nogil;
    tracker.load({view.data(), view.size()});
  } catch (const ArchiveError& error) {
    throw py::value_error("from_bytes: data must be what to_bytes gave, but " + std::string(error.what()));
  }
}

// Live tracks, column by column: boxes, track_ids, scores, class_ids, states, ages.
py::tuple columns_of(const std::vector<LiveTrack>& live) {
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

py::tuple tracks_(const Tracker& tracker) {
  std::vector<LiveTrack> live;
  {
    py::gil_scoped_release nogil;
    live = tracker.tracks();
  }
  return columns_of(live);
}

py::tuple predict_(const Tracker& tracker, const py::object& timestamp_s) {
  const auto time = require_time("predict", timestamp_s);
  std::vector<LiveTrack> live;
  {
    py::gil_scoped_release nogil;
    live = tracker.predict(time);
  }
  return columns_of(live);
}

// The settings of a tracker from keywords: all of its fields, and no others.
class Fields {
 public:
  explicit Fields(const py::kwargs& values) : values_(values) {}

  template <typename T>
  Fields& operator()(const char* name, T& field) {
    field = py::cast<T>(values_[name]);
    ++read_;
    return *this;
  }

  Fields& bytetrack(ByteTrackSettings& s) {
    return (*this)("track_high_thresh", s.track_high_thresh)("track_low_thresh", s.track_low_thresh)(
        "new_track_thresh", s.new_track_thresh)("track_buffer", s.track_buffer)("match_thresh", s.match_thresh)(
        "fuse_score", s.fuse_score);
  }

  void finish() const {
    if (read_ != py::len(values_)) throw py::value_error("make_tracker: settings must be those of the tracker");
  }

 private:
  const py::kwargs& values_;
  size_t read_ = 0;
};

std::unique_ptr<Tracker> make_sort_(Fields fields, const TrackerTerms& terms) {
  SortSettings s;
  fields("max_age", s.max_age)("min_hits", s.min_hits)("iou_threshold", s.iou_threshold)("score_threshold",
                                                                                         s.score_threshold);
  fields.finish();
  return make_sort(s, terms);
}

std::unique_ptr<Tracker> make_bytetrack_(Fields fields, const TrackerTerms& terms) {
  ByteTrackSettings s;
  fields.bytetrack(s).finish();
  return make_bytetrack(s, terms);
}

std::unique_ptr<Tracker> make_botsort_(Fields fields, const TrackerTerms& terms) {
  BotSortSettings s;
  fields.bytetrack(s)("proximity_thresh", s.proximity_thresh)("appearance_thresh", s.appearance_thresh).finish();
  return make_botsort(s, terms);
}

std::unique_ptr<Tracker> make_ocsort_(Fields fields, const TrackerTerms& terms) {
  OcSortSettings s;
  fields("max_age", s.max_age)("min_hits", s.min_hits)("iou_threshold", s.iou_threshold)(
      "score_threshold", s.score_threshold)("delta_t", s.delta_t)("inertia", s.inertia);
  fields.finish();
  return make_ocsort(s, terms);
}

std::unique_ptr<Tracker> make_cbiou_(Fields fields, const TrackerTerms& terms) {
  CBiouSettings s;
  fields("track_high_thresh", s.track_high_thresh)("new_track_thresh", s.new_track_thresh)(
      "track_buffer", s.track_buffer)("match_thresh", s.match_thresh)("buffer_small", s.buffer_small)("buffer_large",
                                                                                                      s.buffer_large);
  fields.finish();
  return make_cbiou(s, terms);
}

std::unique_ptr<Tracker> make_kkn_(Fields fields, const TrackerTerms& terms) {
  KknSettings s;
  fields.bytetrack(s)("second_thresh", s.second_thresh)("recover_thresh", s.recover_thresh)(
      "recover_buffer", s.recover_buffer)("growth", s.growth)("growth_floor", s.growth_floor)(
      "growth_limit", s.growth_limit)("age_penalty", s.age_penalty)("start_overlap", s.start_overlap)(
      "duplicate_overlap", s.duplicate_overlap)("sure_thresh", s.sure_thresh)("mask_weight", s.mask_weight)(
      "position_noise", s.noise.position)("velocity_noise", s.noise.velocity)("measurement_noise", s.noise.measurement)(
      "size_noise", s.noise.measured_size);
  fields.finish();
  return make_kkn(s, terms);
}

std::unique_ptr<Tracker> make_tracker(const std::string& name, double frame_rate, const std::string& class_policy,
                                      const py::kwargs& settings) {
  const TrackerTerms terms{frame_rate, require_policy(class_policy)};
  const Fields fields(settings);
  if (name == "sort") return make_sort_(fields, terms);
  if (name == "bytetrack") return make_bytetrack_(fields, terms);
  if (name == "botsort") return make_botsort_(fields, terms);
  if (name == "ocsort") return make_ocsort_(fields, terms);
  if (name == "cbiou") return make_cbiou_(fields, terms);
  if (name == "kkn") return make_kkn_(fields, terms);
  throw py::value_error("make_tracker: name must be that of a tracker, got " + name);
}

}  // namespace

void bind_tracking(py::module_& module) {
  py::class_<Tracker>(module, "Tracker")
      .def("update", &update_, py::arg("boxes"), py::arg("scores"), py::arg("class_ids"),
           py::arg("timestamp_s") = py::none(), py::arg("camera") = py::none(), py::arg("embeddings") = py::none(),
           py::arg("with_classes") = false, py::arg("masks") = py::none())
      .def("reset", &Tracker::reset, py::arg("keep_ids") = false, py::call_guard<py::gil_scoped_release>())
      .def("tracks", &tracks_)
      .def("predict", &predict_, py::arg("timestamp_s") = py::none())
      .def("save", &save_)
      .def("load", &load_, py::arg("state"));
  module.def("make_tracker", &make_tracker, py::arg("name"), py::pos_only(), py::arg("frame_rate"),
             py::arg("class_policy"));
}

}  // namespace yolokkn::bindings
