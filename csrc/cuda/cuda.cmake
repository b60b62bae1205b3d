# The extension yolokkn.ops._cuda: the kernels of csrc/cuda by nvcc, or by the host's compiler on csrc/emulator.

file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
file(GLOB cuda_bindings CONFIGURE_DEPENDS csrc/bindings/cuda/*.cpp)
list(FILTER cuda_bindings EXCLUDE REGEX bind_emulator)

function(finish_cuda_module name)
  target_compile_definitions(${name} PRIVATE YOLOKKN_CUDA_MODULE=${name})
  target_include_directories(${name} PRIVATE csrc/include csrc/cuda)
endfunction()

if(YOLOKKN_CUDA STREQUAL "on")
  set(is_chosen ${CMAKE_CUDA_ARCHITECTURES})
  enable_language(CUDA)
  if(NOT is_chosen)
    # machine code for Turing to Blackwell, Orin (87) among them, and PTX for what lies between and comes after
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 87-real 89-real 90)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
      list(APPEND CMAKE_CUDA_ARCHITECTURES 100-real 120)
    endif()
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  find_package(CUDAToolkit REQUIRED)
  add_library(yolokkn_cuda STATIC ${cuda_sources})
  set_target_properties(yolokkn_cuda PROPERTIES CUDA_RUNTIME_LIBRARY Static)
  target_include_directories(yolokkn_cuda PRIVATE csrc/include csrc/cuda)
  # no contraction, as on the CPU: the same operations give the same bytes
  target_compile_options(yolokkn_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false --expt-relaxed-constexpr>)
  if(YOLOKKN_PYTHON)
    pybind11_add_module(_cuda MODULE ${cuda_bindings} csrc/bindings/arrays.cpp
                      csrc/cpu/check_geometry.cpp)
    target_link_libraries(_cuda PRIVATE yolokkn_cuda CUDA::cudart_static)
    finish_cuda_module(_cuda)
  endif()
endif()

if(YOLOKKN_CUDA STREQUAL "emulated" AND YOLOKKN_PYTHON)
  file(GLOB emulator_sources CONFIGURE_DEPENDS csrc/emulator/*.cpp)
  set_source_files_properties(${cuda_sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "-xc++;-Wno-unknown-pragmas")
  pybind11_add_module(_cuda_emulated MODULE ${cuda_sources} ${emulator_sources} ${cuda_bindings}
                      csrc/bindings/cuda/bind_emulator.cpp csrc/bindings/arrays.cpp
                      csrc/cpu/check_geometry.cpp)
  target_compile_definitions(_cuda_emulated PRIVATE YOLOKKN_EMULATED)
  target_include_directories(_cuda_emulated PRIVATE csrc/emulator)
  finish_cuda_module(_cuda_emulated)
endif()
