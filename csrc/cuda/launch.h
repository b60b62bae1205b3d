// How kernels are started, and what all of them share. Internal to csrc/cuda. Rules that every launcher keeps: the
// stream comes last; nothing is allocated, waited for or read back, so that all of it can stand in a CUDA graph;
// products of sizes are 64-bit.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <typeinfo>

#include "yolokkn/error.h"

namespace yolokkn::cuda {

inline void check(const char* function, cudaError_t status) {
  if (status == cudaSuccess) return;
  throw DeviceError(std::string(function) + ": CUDA failed: " + cudaGetErrorString(status) + " (" +
                    cudaGetErrorName(status) + ")");
}

inline constexpr unsigned kAllLanes = 0xffffffffu;

inline unsigned blocks_for(int64_t count, int64_t per_block) {
  return static_cast<unsigned>((count + per_block - 1) / per_block);
}

// Multiprocessors of this thread's GPU.
inline unsigned count_processors(const char* function) {
  int device = 0, count = 0;
  check(function, cudaGetDevice(&device));
  check(function, cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return static_cast<unsigned>(count > 0 ? count : 1);
}

// `shared_bytes` is what the kernel asks shared_memory() for, at most 48 KiB.
template <typename... Parameters, typename... Arguments>
void launch(const char* function, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            cudaStream_t stream, const Arguments&... arguments) {
#ifdef __CUDACC__
  kernel<<<grid, block, shared_bytes, stream>>>(arguments...);
  check(function, cudaGetLastError());
#else
  check(function, emulator::launch(reinterpret_cast<const void*>(kernel), typeid(void(Parameters...)).name(), grid,
                                   block, shared_bytes, stream, [=] { kernel(arguments...); }));
#endif
}

// The block's shared memory as one struct.
template <typename T>
__device__ __forceinline__ T& shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char bytes[];
  return *reinterpret_cast<T*>(bytes);
#else
  return *static_cast<T*>(emulator::shared_memory());
#endif
}

}  // namespace yolokkn::cuda
