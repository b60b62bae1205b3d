// Non-owning views of dense row-major data. Passed by value; inputs are views of const.
#pragma once

#include <cstddef>
#include <cstdint>

namespace yolokkn {

// A dense (rows, cols) matrix, row-major.
template <typename T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;

  T* row(int64_t index) const noexcept { return data + index * cols; }
  T& operator()(int64_t r, int64_t c) const noexcept { return data[r * cols + c]; }
};

// An (height, width, 3) uint8 image whose pixels are dense and whose rows lie `row_stride` bytes apart.
struct ImageView {
  const uint8_t* data = nullptr;
  int64_t height = 0;
  int64_t width = 0;
  int64_t row_stride = 0;  // bytes; may be negative (a flipped view)
};

}  // namespace yolokkn
