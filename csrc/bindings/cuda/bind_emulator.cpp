// The emulated CUDA runtime under the names and with the answers of NVIDIA's cuda.bindings.runtime, (status, value
// ...), so that what the package does with streams, memory and graphs runs in tests where there is no GPU.
#include <cuda_runtime.h>
#include <cxxabi.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdlib>
#include <string>

#include "device_arrays.h"

namespace yolokkn::bindings {
namespace {

uintptr_t number(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
template <typename T>
T handle(uintptr_t value) {
  return reinterpret_cast<T>(value);
}

void bind_memory(py::module_& module) {
  const auto allocate = [](size_t size) {
    void* pointer = nullptr;
    const cudaError_t status = cudaMalloc(&pointer, size);
    return py::make_tuple(status, number(pointer));
  };
  const auto release = [](uintptr_t pointer) { return py::make_tuple(cudaFree(handle<void*>(pointer))); };
  module.def("cudaMalloc", allocate);
  module.def("cudaMallocHost", allocate);
  module.def("cudaHostAlloc", [allocate](size_t size, unsigned) { return allocate(size); });
  module.def("cudaFree", release);
  module.def("cudaFreeHost", release);
  module.def("cudaMemcpyAsync", [](uintptr_t to, uintptr_t from, size_t size, cudaMemcpyKind kind, uintptr_t stream) {
    return py::make_tuple(
        cudaMemcpyAsync(handle<void*>(to), handle<void*>(from), size, kind, handle<cudaStream_t>(stream)));
  });
  module.def("cudaMemsetAsync", [](uintptr_t to, int value, size_t size, uintptr_t stream) {
    return py::make_tuple(cudaMemsetAsync(handle<void*>(to), value, size, handle<cudaStream_t>(stream)));
  });
}

void bind_streams(py::module_& module) {
  module.attr("cudaStreamNonBlocking") = 1;
  module.def("cudaStreamCreateWithFlags", [](unsigned flags) {
    cudaStream_t stream = nullptr;
    const cudaError_t status = cudaStreamCreateWithFlags(&stream, flags);
    return py::make_tuple(status, number(stream));
  });
  module.def("cudaStreamDestroy",
             [](uintptr_t stream) { return py::make_tuple(cudaStreamDestroy(handle<cudaStream_t>(stream))); });
  module.def("cudaStreamSynchronize",
             [](uintptr_t stream) { return py::make_tuple(cudaStreamSynchronize(handle<cudaStream_t>(stream))); });
  module.attr("cudaEventDisableTiming") = 2;
  module.def("cudaEventCreateWithFlags", [](unsigned flags) {
    cudaEvent_t event = nullptr;
    const cudaError_t status = cudaEventCreateWithFlags(&event, flags);
    return py::make_tuple(status, number(event));
  });
  module.def("cudaEventDestroy",
             [](uintptr_t event) { return py::make_tuple(cudaEventDestroy(handle<cudaEvent_t>(event))); });
  module.def("cudaEventRecord", [](uintptr_t event, uintptr_t stream) {
    return py::make_tuple(cudaEventRecord(handle<cudaEvent_t>(event), handle<cudaStream_t>(stream)));
  });
  module.def("cudaEventSynchronize",
             [](uintptr_t event) { return py::make_tuple(cudaEventSynchronize(handle<cudaEvent_t>(event))); });
  module.def("cudaStreamWaitEvent", [](uintptr_t stream, uintptr_t event, unsigned flags) {
    return py::make_tuple(cudaStreamWaitEvent(handle<cudaStream_t>(stream), handle<cudaEvent_t>(event), flags));
  });
  module.def("cudaStreamBeginCapture", [](uintptr_t stream, cudaStreamCaptureMode mode) {
    return py::make_tuple(cudaStreamBeginCapture(handle<cudaStream_t>(stream), mode));
  });
  module.def("cudaStreamEndCapture", [](uintptr_t stream) {
    cudaGraph_t graph = nullptr;
    const cudaError_t status = cudaStreamEndCapture(handle<cudaStream_t>(stream), &graph);
    return py::make_tuple(status, number(graph));
  });
  module.def("cudaGraphInstantiate", [](uintptr_t graph, unsigned long long flags) {
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, handle<cudaGraph_t>(graph), flags);
    return py::make_tuple(status, number(executable));
  });
  module.def("cudaGraphLaunch", [](uintptr_t graph, uintptr_t stream) {
    return py::make_tuple(cudaGraphLaunch(handle<cudaGraphExec_t>(graph), handle<cudaStream_t>(stream)));
  });
  module.def("cudaGraphDestroy",
             [](uintptr_t graph) { return py::make_tuple(cudaGraphDestroy(handle<cudaGraph_t>(graph))); });
  module.def("cudaGraphExecDestroy",
             [](uintptr_t graph) { return py::make_tuple(cudaGraphExecDestroy(handle<cudaGraphExec_t>(graph))); });
}

struct EmulatedGpu {
  std::string name = "emulated";
  int major = 0;
  int minor = 0;
  int l2CacheSize = 1 << 16;
};

// The kinds and modes are no integers, as with NVIDIA's bindings, the older of which take nothing else.
void bind_kinds(py::module_& module) {
  py::enum_<cudaMemcpyKind>(module, "cudaMemcpyKind")
      .value("cudaMemcpyHostToHost", cudaMemcpyHostToHost)
      .value("cudaMemcpyHostToDevice", cudaMemcpyHostToDevice)
      .value("cudaMemcpyDeviceToHost", cudaMemcpyDeviceToHost)
      .value("cudaMemcpyDeviceToDevice", cudaMemcpyDeviceToDevice)
      .value("cudaMemcpyDefault", cudaMemcpyDefault);
  py::enum_<cudaStreamCaptureMode>(module, "cudaStreamCaptureMode")
      .value("cudaStreamCaptureModeGlobal", cudaStreamCaptureModeGlobal)
      .value("cudaStreamCaptureModeThreadLocal", cudaStreamCaptureModeThreadLocal)
      .value("cudaStreamCaptureModeRelaxed", cudaStreamCaptureModeRelaxed);
}

std::string demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = text != nullptr ? text : name;
  std::free(text);
  return result;
}

// What the launches asked for so far, and a launch of a kernel that does nothing.
void bind_launches(py::module_& module) {
  module.def("launched", [] {
    py::list all;
    for (const auto& one : emulator::launched()) {
      all.append(py::make_tuple(demangled(one.signature), one.threads, one.shared_bytes));
    }
    return all;
  });
  module.def("demangle", &demangled);
  module.def("launch_nothing", [](std::array<unsigned, 3> grid, std::array<unsigned, 3> block, size_t shared_bytes) {
    return py::make_tuple(emulator::launch(nullptr, "nothing", {grid[0], grid[1], grid[2]},
                                           {block[0], block[1], block[2]}, shared_bytes, nullptr, [] {}));
  });
}

}  // namespace

void bind_emulator(py::module_& module) {
  py::enum_<cudaError_t>(module, "cudaError_t")
      .value("cudaSuccess", cudaSuccess)
      .value("cudaErrorInvalidValue", cudaErrorInvalidValue)
      .value("cudaErrorMemoryAllocation", cudaErrorMemoryAllocation)
      .value("cudaErrorInvalidConfiguration", cudaErrorInvalidConfiguration)
      .value("cudaErrorInvalidResourceHandle", cudaErrorInvalidResourceHandle)
      .value("cudaErrorLaunchFailure", cudaErrorLaunchFailure)
      .value("cudaErrorStreamCaptureUnsupported", cudaErrorStreamCaptureUnsupported)
      .value("cudaErrorStreamCaptureInvalidated", cudaErrorStreamCaptureInvalidated);
  py::class_<EmulatedGpu>(module, "EmulatedGpu")
      .def_readonly("name", &EmulatedGpu::name)
      .def_readonly("major", &EmulatedGpu::major)
      .def_readonly("minor", &EmulatedGpu::minor)
      .def_readonly("l2CacheSize", &EmulatedGpu::l2CacheSize);
  module.def("cudaGetErrorString",
             [](cudaError_t error) { return py::make_tuple(cudaSuccess, py::bytes(cudaGetErrorString(error))); });
  module.def("cudaGetLastError", [] { return py::make_tuple(cudaGetLastError()); });
  module.def("cudaGetDeviceCount", [] {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    return py::make_tuple(status, count);
  });
  module.def("cudaGetDevice", [] {
    int device = 0;
    const cudaError_t status = cudaGetDevice(&device);
    return py::make_tuple(status, device);
  });
  module.def("cudaSetDevice", [](int device) { return py::make_tuple(cudaSetDevice(device)); });
  module.def("cudaGetDeviceProperties", [](int) { return py::make_tuple(cudaSuccess, EmulatedGpu{}); });
  module.def("set_order", &emulator::set_order);
  py::enum_<emulator::Streams>(module, "Streams")
      .value("at_once", emulator::Streams::kAtOnce)
      .value("late", emulator::Streams::kLate)
      .value("others_first", emulator::Streams::kOthersFirst);
  module.def("set_streams", &emulator::set_streams);
  module.def("set_images", &emulator::set_images);
  // Work of the test's own on a stream, such as a network that runs on the host; a graph keeps it.
  module.def("enqueue", [](uintptr_t stream, const py::function& work) {
    return py::make_tuple(emulator::enqueue(handle<cudaStream_t>(stream), [work] { work(); }));
  });
  bind_kinds(module);
  bind_launches(module);
  bind_memory(module);
  bind_streams(module);
}

}  // namespace yolokkn::bindings
