#include "yolokkn/kalman.h"

namespace yolokkn {
namespace {

constexpr Lanes kAreaStartPosition{10.0, 10.0, 10.0, 10.0};
constexpr Lanes kAreaStartVelocity{1e4, 1e4, 1e4, 0.0};
constexpr Lanes kAreaPosition{1.0, 1.0, 1.0, 1.0};
constexpr Lanes kAreaVelocity{0.01, 0.01, 0.0001, 0.0};
constexpr Lanes kAreaMeasurement{1.0, 1.0, 10.0, 10.0};

Lanes height_variances(double height, double weight, double aspect_var) noexcept {
  const double std = height * weight;
  const double var = std * std;
  return {var, var, aspect_var, var};
}

}  // namespace

Lanes AreaMotion::measure(const CornerBox& box) noexcept {
  const double w = box.x2 - box.x1;
  const double h = box.y2 - box.y1;
  return {(box.x1 + box.x2) * 0.5, (box.y1 + box.y2) * 0.5, w * h, w / h};
}

KalmanState AreaMotion::start(const Lanes& z) noexcept {
  return kalman_start(z, kAreaStartPosition, kAreaStartVelocity);
}

void AreaMotion::predict(KalmanState& s, double dt, bool) noexcept {
  kalman_predict(s, dt, kAreaPosition, kAreaVelocity);
}

void AreaMotion::correct(KalmanState& s, const Lanes& z) noexcept { kalman_update(s, z, kAreaMeasurement); }

CornerBox AreaMotion::box(const KalmanState& s) noexcept {
  const double w = std::sqrt(s.x[2] * s.x[3]);
  const double h = s.x[2] / w;
  return {s.x[0] - w * 0.5, s.x[1] - h * 0.5, s.x[0] + w * 0.5, s.x[1] + h * 0.5};
}

Lanes HeightMotion::measure(const CornerBox& box) noexcept {
  const double h = box.y2 - box.y1;
  return {(box.x1 + box.x2) * 0.5, (box.y1 + box.y2) * 0.5, (box.x2 - box.x1) / h, h};
}

KalmanState HeightMotion::start(const Lanes& z) noexcept {
  return kalman_start(z, height_variances(z[3], 2.0 / 20.0, 1e-4), height_variances(z[3], 10.0 / 160.0, 1e-10));
}

void HeightMotion::predict(KalmanState& s, double dt, bool lost) noexcept {
  if (lost) s.v[3] = 0.0;
  const Lanes position = height_variances(s.x[3], 1.0 / 20.0, 1e-4);
  kalman_predict(s, dt, position, height_variances(s.x[3], 1.0 / 160.0, 1e-10));
}

void HeightMotion::correct(KalmanState& s, const Lanes& z) noexcept {
  kalman_update(s, z, height_variances(s.x[3], 1.0 / 20.0, 1e-2));
}

CornerBox HeightMotion::box(const KalmanState& s) noexcept {
  const double w = s.x[2] * s.x[3];
  return {s.x[0] - w * 0.5, s.x[1] - s.x[3] * 0.5, s.x[0] + w * 0.5, s.x[1] + s.x[3] * 0.5};
}

}  // namespace yolokkn
