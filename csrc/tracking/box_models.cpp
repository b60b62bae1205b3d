#include "yolokkn/box_models.h"

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

Lanes side_variances(double width, double height, double weight, double size_weight) noexcept {
  const double x = width * weight;
  const double y = height * weight;
  const double w = width * size_weight;
  const double h = height * size_weight;
  return {x * x, y * y, w * w, h * h};
}

}  // namespace

Lanes AreaModel::measure(const CornerBox& box) noexcept {
  const double w = box.x2 - box.x1;
  const double h = box.y2 - box.y1;
  return {(box.x1 + box.x2) * 0.5, (box.y1 + box.y2) * 0.5, w * h, w / h};
}

KalmanState AreaModel::start(const Lanes& z) noexcept {
  return kalman_start(z, kAreaStartPosition, kAreaStartVelocity);
}

void AreaModel::predict(KalmanState& s, double dt, bool) noexcept {
  kalman_predict(s, dt, kAreaPosition, kAreaVelocity);
}

void AreaModel::correct(KalmanState& s, const Lanes& z) noexcept { kalman_update(s, z, kAreaMeasurement); }

void AreaModel::move(KalmanState& s, const CameraMotion& motion) noexcept {
  const double scale = motion.scale();
  kalman_move(s, motion, scale * scale, 1.0);
}

CornerBox AreaModel::box(const KalmanState& s) noexcept {
  const double w = std::sqrt(s.x[2] * s.x[3]);
  const double h = s.x[2] / w;
  return {s.x[0] - w * 0.5, s.x[1] - h * 0.5, s.x[0] + w * 0.5, s.x[1] + h * 0.5};
}

Lanes HeightModel::measure(const CornerBox& box) noexcept {
  const double h = box.y2 - box.y1;
  return {(box.x1 + box.x2) * 0.5, (box.y1 + box.y2) * 0.5, (box.x2 - box.x1) / h, h};
}

KalmanState HeightModel::start(const Lanes& z) noexcept {
  return kalman_start(z, height_variances(z[3], 2.0 / 20.0, 1e-4), height_variances(z[3], 10.0 / 160.0, 1e-10));
}

void HeightModel::predict(KalmanState& s, double dt, bool lost) noexcept {
  if (lost) s.v[3] = 0.0;
  const Lanes position = height_variances(s.x[3], 1.0 / 20.0, 1e-4);
  kalman_predict(s, dt, position, height_variances(s.x[3], 1.0 / 160.0, 1e-10));
}

void HeightModel::correct(KalmanState& s, const Lanes& z) noexcept {
  kalman_update(s, z, height_variances(s.x[3], 1.0 / 20.0, 1e-2));
}

void HeightModel::move(KalmanState& s, const CameraMotion& motion) noexcept {
  kalman_move(s, motion, 1.0, motion.scale());
}

CornerBox HeightModel::box(const KalmanState& s) noexcept {
  const double w = s.x[2] * s.x[3];
  return {s.x[0] - w * 0.5, s.x[1] - s.x[3] * 0.5, s.x[0] + w * 0.5, s.x[1] + s.x[3] * 0.5};
}

Lanes SizeModel::measure(const CornerBox& box) noexcept {
  return {(box.x1 + box.x2) * 0.5, (box.y1 + box.y2) * 0.5, box.x2 - box.x1, box.y2 - box.y1};
}

KalmanState SizeModel::start(const Lanes& z) const noexcept {
  return kalman_start(z, side_variances(z[2], z[3], 2.0 * noise_.position, 2.0 * noise_.position),
                      side_variances(z[2], z[3], 10.0 * noise_.velocity, 10.0 * noise_.velocity));
}

void SizeModel::predict(KalmanState& s, double dt, bool lost) const noexcept {
  if (lost) s.v[2] = s.v[3] = 0.0;
  const Lanes position = side_variances(s.x[2], s.x[3], noise_.position, noise_.position);
  kalman_predict(s, dt, position, side_variances(s.x[2], s.x[3], noise_.velocity, noise_.velocity));
}

void SizeModel::correct(KalmanState& s, const Lanes& z) const noexcept {
  kalman_update(s, z, side_variances(s.x[2], s.x[3], noise_.measurement, noise_.measured_size));
}

void SizeModel::move(KalmanState& s, const CameraMotion& motion) noexcept {
  kalman_move(s, motion, motion.scale(), motion.scale());
}

CornerBox SizeModel::box(const KalmanState& s) noexcept {
  return {s.x[0] - s.x[2] * 0.5, s.x[1] - s.x[3] * 0.5, s.x[0] + s.x[2] * 0.5, s.x[1] + s.x[3] * 0.5};
}

}  // namespace yolokkn
