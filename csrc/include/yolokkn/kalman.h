// Constant-velocity Kalman filter of four independent coordinates (position, velocity), each with a 2x2 covariance.
//
// Transition, noise and measurement of the trackers' box models couple no two coordinates, so that the 8x8 covariance
// stays block-diagonal and this is exactly the 8-state filter. A block is kept as [[a, a*l], [a*l, a*l*l + b]] with
// a > 0 and b >= 0: a correction changes only a, and every sum below has positive terms only, so that a covariance
// stays positive definite whatever comes in. The four coordinates lie side by side as SIMD lanes. Specification:
// yolokkn/tracking/reference/kalman.py, equal bit for bit.
#pragma once

#include <array>
#include <cmath>

#include "yolokkn/camera_motion.h"

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

inline constexpr double kMostVariance = 1e200;

// Numbers that any frame can give, and that the arithmetic here can bear.
inline bool is_reasonable(const Lanes& place) noexcept {
  constexpr double kMost = 1e100;
  for (const double value : place) {
    if (!(std::abs(value) < kMost)) return false;
  }
  return place[2] > 1.0 / kMost && place[3] > 1.0 / kMost;
}

// A centre, and two sizes that grow by these factors, as the camera moved them; as they were where that leaves what is
// reasonable.
inline Lanes moved(const Lanes& place, const CameraMotion& m, double scale2, double scale3) noexcept {
  const Lanes to{m.xx * place[0] + m.xy * place[1] + m.x0, m.yx * place[0] + m.yy * place[1] + m.y0, place[2] * scale2,
                 place[3] * scale3};
  return is_reasonable(to) ? to : place;
}

// Moves the centre and its velocity as the camera did; the sizes grow by these factors. Of the centre's covariance a
// turn couples the coordinates: what couples them is left out, blocks are summed by the squares of the matrix.
inline void kalman_move(KalmanState& s, const CameraMotion& m, double scale2, double scale3) noexcept {
  KalmanState to = s;
  to.x = {m.xx * s.x[0] + m.xy * s.x[1] + m.x0, m.yx * s.x[0] + m.yy * s.x[1] + m.y0, s.x[2] * scale2, s.x[3] * scale3};
  to.v = {m.xx * s.v[0] + m.xy * s.v[1], m.yx * s.v[0] + m.yy * s.v[1], s.v[2] * scale2, s.v[3] * scale3};
  const double weights[2][2] = {{m.xx * m.xx, m.xy * m.xy}, {m.yx * m.yx, m.yy * m.yy}};
  for (size_t i = 0; i < 2; ++i) {
    const double p = weights[i][0] * s.a[0];
    const double q = weights[i][1] * s.a[1];
    const double gap = s.l[0] - s.l[1];
    to.a[i] = p + q;
    to.l[i] = (p * s.l[0] + q * s.l[1]) / (p + q);
    to.b[i] = weights[i][0] * s.b[0] + weights[i][1] * s.b[1] + p * q / (p + q) * (gap * gap);
  }
  const double scales[2] = {scale2, scale3};
  for (size_t i = 2; i < 4; ++i) {
    const double squared = scales[i - 2] * scales[i - 2];
    to.a[i] = s.a[i] * squared;
    to.b[i] = s.b[i] * squared;
  }
  bool sound = is_reasonable(to.x);
  for (size_t i = 0; i < 4; ++i) {
    sound = sound && to.a[i] > 1.0 / kMostVariance && to.a[i] < kMostVariance && to.b[i] < kMostVariance &&
            std::abs(to.v[i]) < kMostVariance;
  }
  if (sound) s = to;
}

}  // namespace yolokkn
