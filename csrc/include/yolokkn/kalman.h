// Constant-velocity Kalman filter of four independent coordinates (position, velocity), each with a 2x2 covariance.
//
// Transition, noise and measurement of the trackers' box models couple no two coordinates, so that the 8x8 covariance
// stays block-diagonal and this is exactly the 8-state filter. A block is kept as [[a, a*l], [a*l, a*l*l + b]] with
// a, b > 0: a correction changes only a, and every sum below has positive terms only, so that a covariance stays
// positive definite whatever comes in. The four coordinates lie side by side as SIMD lanes. Specification:
// yolokkn/tracking/reference_kalman.py, equal bit for bit.
#pragma once

#include <array>
#include <cmath>

namespace yolokkn {

using Lanes = std::array<double, 4>;

// Corners in double: predicted boxes are no float32.
struct CornerBox {
  double x1, y1, x2, y2;
};

struct KalmanState {
  Lanes x, v;     // position, velocity per nominal frame
  Lanes a, l, b;  // covariance of each coordinate, as above
};

inline KalmanState kalman_start(const Lanes& z, const Lanes& position_var, const Lanes& velocity_var) noexcept {
  return {z, {}, position_var, {}, velocity_var};
}

// Moves over dt nominal frames; the noise grows by dt. A size (coordinates 2 and 3) never shrinks to nothing.
inline void kalman_predict(KalmanState& s, double dt, const Lanes& position_var, const Lanes& velocity_var) noexcept {
  for (size_t i = 2; i < 4; ++i) s.v[i] = s.x[i] + s.v[i] * dt > 0.0 ? s.v[i] : 0.0;
  for (size_t i = 0; i < 4; ++i) {
    s.x[i] = s.x[i] + s.v[i] * dt;
    const double q0 = position_var[i] * dt;
    const double q1 = velocity_var[i] * dt;
    const double a = s.a[i];
    const double l = s.l[i];
    const double b = s.b[i];
    const double t = 1.0 + dt * l;
    const double p00 = a * t * t + dt * dt * b + q0;
    s.l[i] = (a * l * t + dt * b) / p00;
    s.b[i] = q1 + (a * b + q0 * (a * l * l + b)) / p00;
    s.a[i] = p00;
  }
}

// Corrects by a measured position. A size that would round to nothing becomes the measured one.
inline void kalman_update(KalmanState& s, const Lanes& z, const Lanes& measurement_var) noexcept {
  for (size_t i = 0; i < 4; ++i) {
    const double gain = s.a[i] / (s.a[i] + measurement_var[i]);
    const double y = z[i] - s.x[i];
    s.x[i] = s.x[i] + gain * y;
    s.v[i] = s.v[i] + s.l[i] * gain * y;
    s.a[i] = gain * measurement_var[i];
  }
  for (size_t i = 2; i < 4; ++i) s.x[i] = s.x[i] > 0.0 ? s.x[i] : z[i];
}

// SORT's model: centre, area, aspect ratio w/h; the aspect has no velocity.
struct AreaMotion {
  static Lanes measure(const CornerBox& box) noexcept;
  static KalmanState start(const Lanes& z) noexcept;
  static void predict(KalmanState& s, double dt, bool lost) noexcept;
  static void correct(KalmanState& s, const Lanes& z) noexcept;
  static CornerBox box(const KalmanState& s) noexcept;
};

// ByteTrack's model: centre, aspect ratio w/h, height; the noise is proportional to the height; a lost track keeps its
// height.
struct HeightMotion {
  static Lanes measure(const CornerBox& box) noexcept;
  static KalmanState start(const Lanes& z) noexcept;
  static void predict(KalmanState& s, double dt, bool lost) noexcept;
  static void correct(KalmanState& s, const Lanes& z) noexcept;
  static CornerBox box(const KalmanState& s) noexcept;
};

}  // namespace yolokkn
