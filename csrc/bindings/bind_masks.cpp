#include "arrays.h"
#include "yolokkn/error.h"
#include "yolokkn/masks.h"

namespace yolokkn::bindings {
namespace {

using Size = std::pair<int64_t, int64_t>;

MasksView view_of(const py::array& data, const py::array& crops, Size frame_hw) {
  return {{data_of<uint8_t>(data), static_cast<size_t>(data.size())},
          matrix_of<int32_t>(crops),
          frame_hw.first,
          frame_hw.second};
}

// Returns (data, crops): the fields of yolokkn.types.Masks.
py::tuple assemble_masks_(py::object coeffs, py::object prototypes, py::object boxes, py::object geometry) {
  const char* name = "assemble_masks";
  const auto c = require<float>(coeffs, {kAny, kAny}, name, "coeffs");
  const auto p = require<float>(prototypes, {c.shape(1), kAny, kAny}, name, "prototypes");
  const auto b = require<float>(boxes, {c.shape(0), 4}, name, "boxes");
  const Letterbox letterbox = require_letterbox(geometry, name, "geometry");
  check_mask_geometry(letterbox);
  py::array_t<int32_t> crops({c.shape(0), py::ssize_t{4}});
  const MatrixView<int32_t> view{crops.mutable_data(), c.shape(0), 4};
  const int64_t size = mask_crops(matrix_of<float>(b), letterbox.image_h, letterbox.image_w, view);
  py::array_t<uint8_t> data(size);
  const PrototypesView planes{data_of<float>(p), p.shape(0), p.shape(1), p.shape(2)};
  const std::span<uint8_t> out{data.mutable_data(), static_cast<size_t>(size)};
  {
    py::gil_scoped_release nogil;
    assemble_masks(matrix_of<float>(c), planes, {view.data, view.rows, view.cols}, letterbox, out);
  }
  return py::make_tuple(data, crops);
}

// Packed masks as the field data of yolokkn.types.Masks; starts has one or more values than there are crops.
py::array_t<uint8_t> unpack_masks_(py::object bits, py::object starts, py::object crops) {
  const char* name = "unpack_masks";
  const auto b = require<uint32_t>(bits, {kAny}, name, "bits");
  const auto s = require<int32_t>(starts, {kAny}, name, "starts");
  const auto c = require<int32_t>(crops, {kAny, 4}, name, "crops");
  if (s.size() < c.shape(0)) {
    fail(name, "starts must have a value for each of " + std::to_string(c.shape(0)) + " masks, got " +
                   std::to_string(s.size()));
  }
  const auto view = matrix_of<int32_t>(c);
  int64_t size = 0;
  for (int64_t n = 0; n < view.rows; ++n) {
    const int32_t* crop = view.data + 4 * n;
    if (crop[0] < 0 || crop[1] < 0 || crop[2] < crop[0] || crop[3] < crop[1]) {
      fail(name, "crops must be x1 <= x2 and y1 <= y2 from 0 on, got another for mask " + std::to_string(n));
    }
    size += (int64_t{crop[2]} - crop[0]) * (int64_t{crop[3]} - crop[1]);
  }
  if (size > b.size() * 32) {
    fail(name,
         "bits must hold the crops' " + std::to_string(size) + " pixels, got " + std::to_string(b.size()) + " words");
  }
  py::array_t<uint8_t> data(size);
  const std::span<uint8_t> out{data.mutable_data(), static_cast<size_t>(size)};
  {
    py::gil_scoped_release nogil;
    unpack_masks({data_of<uint32_t>(b), static_cast<size_t>(b.size())},
                 {data_of<int32_t>(s), static_cast<size_t>(s.size())}, view, out);
  }
  return data;
}

py::list encode_rle_(py::object data, py::object crops, Size frame_hw) {
  const auto d = require<uint8_t>(data, {kAny}, "encode_rle", "masks.data");
  const auto c = require<int32_t>(crops, {kAny, 4}, "encode_rle", "masks.crops");
  const MasksView view = view_of(d, c, frame_hw);
  std::vector<std::string> texts;
  {
    py::gil_scoped_release nogil;
    texts = encode_rle(view);
  }
  py::list out;
  const py::str size_key("size"), counts_key("counts");
  for (const std::string& text : texts) {
    py::list size;
    size.append(frame_hw.first);
    size.append(frame_hw.second);
    py::dict rle;
    rle[size_key] = size;
    rle[counts_key] = py::bytes(text);
    out.append(rle);
  }
  return out;
}

// counts: per mask COCO's compressed bytes, or an int64 array of run lengths; checked by the door.
py::tuple decode_rle_(py::list counts, Size frame_hw) {
  std::vector<std::vector<int64_t>> runs;
  for (const py::handle item : counts) {
    const std::string name = "rles[" + std::to_string(runs.size()) + "]['counts']";
    if (py::isinstance<py::bytes>(item)) {
      runs.push_back(parse_rle(std::string_view(py::reinterpret_borrow<py::bytes>(item)), name));
    } else {
      const auto array = require<int64_t>(item, {kAny}, "decode_rle", name.c_str());
      runs.emplace_back(data_of<int64_t>(array), data_of<int64_t>(array) + array.size());
    }
  }
  DecodedMasks masks;
  {
    py::gil_scoped_release nogil;
    masks = decode_rle(runs, frame_hw.first, frame_hw.second);
  }
  const auto size = static_cast<py::ssize_t>(masks.data.size());
  const auto rows = static_cast<py::ssize_t>(runs.size());
  return py::make_tuple(to_array(std::move(masks.data), {size}), to_array(std::move(masks.crops), {rows, 4}));
}

void paint_masks_(py::object data, py::object crops, Size frame_hw, py::object out) {
  const auto d = require<uint8_t>(data, {kAny}, "paint_masks", "masks.data");
  const auto c = require<int32_t>(crops, {kAny, 4}, "paint_masks", "masks.crops");
  const MasksView view = view_of(d, c, frame_hw);
  check_masks("paint_masks", view);
  auto canvas = require_output<bool>(out, {c.shape(0), frame_hw.first, frame_hw.second}, "paint_masks", "out");
  const std::span<uint8_t> bytes{static_cast<uint8_t*>(canvas.mutable_data()), static_cast<size_t>(canvas.size())};
  py::gil_scoped_release nogil;
  paint_masks(view, bytes);
}

py::list mask_polygons_(py::object data, py::object crops, Size frame_hw) {
  const auto d = require<uint8_t>(data, {kAny}, "mask_polygons", "masks.data");
  const auto c = require<int32_t>(crops, {kAny, 4}, "mask_polygons", "masks.crops");
  const MasksView view = view_of(d, c, frame_hw);
  Polygons polygons;
  {
    py::gil_scoped_release nogil;
    polygons = mask_polygons(view);
  }
  py::list out;
  for (size_t n = 0; n + 1 < polygons.first.size(); ++n) {
    py::list contours;
    for (auto i = static_cast<size_t>(polygons.first[n]); i < static_cast<size_t>(polygons.first[n + 1]); ++i) {
      const py::ssize_t count = polygons.starts[i + 1] - polygons.starts[i];
      contours.append(py::array_t<int32_t>({count, py::ssize_t{2}}, polygons.points[polygons.starts[i]].data()));
    }
    out.append(contours);
  }
  return out;
}

}  // namespace

void bind_masks(py::module_& module) {
  module.def("assemble_masks", &assemble_masks_, py::arg("coeffs"), py::arg("prototypes"), py::arg("boxes"),
             py::arg("geometry"));
  module.def("unpack_masks", &unpack_masks_);
  module.def("encode_rle", &encode_rle_, py::arg("data"), py::arg("crops"), py::arg("frame_hw"));
  module.def("decode_rle", &decode_rle_, py::arg("counts"), py::arg("frame_hw"));
  module.def("paint_masks", &paint_masks_, py::arg("data"), py::arg("crops"), py::arg("frame_hw"), py::arg("out"));
  module.def("mask_polygons", &mask_polygons_, py::arg("data"), py::arg("crops"), py::arg("frame_hw"));
}

}  // namespace yolokkn::bindings
