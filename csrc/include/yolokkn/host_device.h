// Marks the arithmetic that the CPU and CUDA kernels share.
#pragma once

#ifdef __CUDACC__
#define YOLOKKN_HD __host__ __device__
#else
#define YOLOKKN_HD
#endif
