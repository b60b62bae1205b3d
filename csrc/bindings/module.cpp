// The extension module: a list of the topics, nothing else.
#include "../cpu/dispatch.h"
#include "arrays.h"
#include "yolokkn/error.h"

PYBIND11_MODULE(_native, module) {
  using namespace yolokkn;
  using namespace yolokkn::bindings;
  module.doc() = "Compiled kernels of yolokkn; the documented doors are in yolokkn.ops and yolokkn.tracking.";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ValueError& error) {
      py::set_error(PyExc_ValueError, error.what());
    }
  });
  module.def("instruction_set", [] { return isa_name(active_isa()); });
  bind_decode(module);
  bind_decode_distances(module);
  bind_decode_heads(module);
  bind_iou(module);
  bind_letterbox(module);
  bind_keypoints(module);
  bind_mot_files(module);
  bind_nms(module);
  bind_masks(module);
  bind_assignment(module);
  bind_tracking(module);
}
