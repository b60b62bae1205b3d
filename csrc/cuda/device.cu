// Whether there is a GPU that these kernels can run on.
#include "launch.h"
#include "yolokkn/cuda.h"

namespace yolokkn::cuda {
namespace {

// Compiled for the same architectures as every other kernel: where it has an image, they have one.
__global__ void probe_kernel() {}

}  // namespace

int count_devices() {
  int count = 0;
  check("count_devices", cudaGetDeviceCount(&count));
  return count;
}

void check_image() {
  cudaFuncAttributes attributes{};
  const cudaError_t status = cudaFuncGetAttributes(&attributes, probe_kernel);
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // else whoever asks next is told of it
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction ||
      status == cudaErrorInvalidPtx || status == cudaErrorUnsupportedPtxVersion) {
    throw DeviceError(std::string("the CUDA kernels of this build have no code for this GPU (") +
                      cudaGetErrorName(status) +
                      "); build the package on this machine with CMAKE_ARGS=-DCMAKE_CUDA_ARCHITECTURES=native");
  }
  check("check_image", status);
}

}  // namespace yolokkn::cuda
