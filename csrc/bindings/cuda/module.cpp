// The extension module of the CUDA kernels: a list of the topics, nothing else.
#include "device_arrays.h"
#include "yolokkn/error.h"

PYBIND11_MODULE(YOLOKKN_CUDA_MODULE, module) {
  using namespace yolokkn;
  using namespace yolokkn::bindings;
  module.doc() = "CUDA kernels of yolokkn; the documented doors are in yolokkn.ops.cuda.";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const ValueError& error) {
      py::set_error(PyExc_ValueError, error.what());
    } catch (const DeviceError& error) {
      const py::object type = py::module_::import("yolokkn.errors").attr("DeviceError");
      py::set_error(type, error.what());
    }
  });
  module.def("count_devices", &cuda::count_devices);
  module.def("check_image", &cuda::check_image);
  bind_frames(module);
  bind_decoders(module);
  bind_results(module);
#ifdef YOLOKKN_EMULATED
  bind_emulator(module);
#endif
}
