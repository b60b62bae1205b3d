// Every check of an array on the GPU that comes from Python: whatever has __cuda_array_interface__ (PyTorch, CuPy,
// PyCUDA, Numba, yolokkn.ops.cuda.DeviceArray). Nothing is copied, converted or waited for. Errors as in
// bindings/arrays.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../arrays.h"
#include "yolokkn/cuda.h"

namespace yolokkn::bindings {

struct DeviceArray {
  void* data = nullptr;
  std::string type;  // as NumPy writes it, without the byte order: f4, f2, u1, i4, u4, u8
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // bytes

  template <typename T>
  T* as() const {
    return static_cast<T*>(data);
  }
  int64_t size() const;
};

// The object as an array on the device with one of these types, C-contiguous, of this shape (kAny matches every
// extent).
DeviceArray require_device(py::handle object, const std::vector<std::string>& types, const std::vector<int64_t>& shape,
                           const char* function, const char* argument, bool writeable = false);

// The same with rows that may lie apart: only its last dimension must be dense.
DeviceArray require_device_rows(py::handle object, const std::vector<std::string>& types,
                                const std::vector<int64_t>& shape, const char* function, const char* argument);

// float32 or float16 values.
cuda::Values values_of(const DeviceArray& array);
DeviceArray require_values(py::handle object, const std::vector<int64_t>& shape, const char* function,
                           const char* argument);

// A stream's handle: an integer, 0 for the default one, or an object with __cuda_stream__, .cuda_stream (PyTorch), .ptr
// (CuPy) or .handle (PyCUDA).
cuda::Stream require_stream(py::handle object, const char* function);

// The thresholds and class mask of a decoder.
cuda::AnchorFilter require_filter(py::handle class_mask, double score_threshold, bool multi_label, int64_t num_classes,
                                  const char* function);

// A yolokkn.ops.cuda.CandidateBuffers with room for `num_anchors` boxes.
cuda::CandidateBuffers require_candidates(py::handle object, int64_t num_anchors, int64_t num_classes,
                                          const char* function);

// A yolokkn.ops.cuda.Selection with room for `rows`.
cuda::Selection require_selection(py::handle object, int64_t rows, const char* function);

void bind_frames(py::module_& module);
void bind_decoders(py::module_& module);
void bind_results(py::module_& module);
#ifdef YOLOKKN_EMULATED
void bind_emulator(py::module_& module);
#endif

}  // namespace yolokkn::bindings
