// How the camera moved the picture from the frame before to this one. Specification: reference/camera.py.
#pragma once

#include <cmath>

namespace yolokkn {

// A point of the frame before lies at (xx * x + xy * y + x0, yx * x + yy * y + y0) in this one.
struct CameraMotion {
  double xx = 1.0, xy = 0.0, x0 = 0.0;
  double yx = 0.0, yy = 1.0, y0 = 0.0;

  static constexpr double kMostScale = 10.0;

  // Lengths grow by this much.
  double scale() const noexcept { return std::sqrt(std::abs(xx * yy - xy * yx)); }

  // A motion that is not finite, or that shrinks or grows the picture by more than kMostScale, is none.
  bool is_sound() const noexcept {
    const double s = scale();
    return std::isfinite(x0) && std::isfinite(y0) && std::isfinite(xx) && std::isfinite(xy) && std::isfinite(yx) &&
           std::isfinite(yy) && s >= 1.0 / kMostScale && s <= kMostScale;
  }
};

}  // namespace yolokkn
