// What is measured of a box, how that moves and how sure it is: the filters of SORT, ByteTrack and BoT-SORT.
// Specification: yolokkn/tracking/reference/box_models.py, equal bit for bit.
#pragma once

#include "yolokkn/kalman.h"

namespace yolokkn {

// SORT's: centre, area, aspect ratio w/h; the aspect has no velocity.
struct AreaModel {
  static Lanes measure(const CornerBox& box) noexcept;
  static KalmanState start(const Lanes& z) noexcept;
  static void predict(KalmanState& s, double dt, bool lost) noexcept;
  static void correct(KalmanState& s, const Lanes& z) noexcept;
  static void move(KalmanState& s, const CameraMotion& motion) noexcept;
  static CornerBox box(const KalmanState& s) noexcept;
};

// ByteTrack's: centre, aspect ratio w/h, height; the noise is proportional to the height; a lost track keeps its
// height.
struct HeightModel {
  static Lanes measure(const CornerBox& box) noexcept;
  static KalmanState start(const Lanes& z) noexcept;
  static void predict(KalmanState& s, double dt, bool lost) noexcept;
  static void correct(KalmanState& s, const Lanes& z) noexcept;
  static void move(KalmanState& s, const CameraMotion& motion) noexcept;
  static CornerBox box(const KalmanState& s) noexcept;
};

// Standard deviations as shares of the box's sides.
struct SizeNoise {
  double position = 1.0 / 20.0;       // of the motion in one nominal frame
  double velocity = 1.0 / 160.0;      // of its change
  double measurement = 1.0 / 20.0;    // of a measured centre
  double measured_size = 1.0 / 20.0;  // of a measured side
};

// BoT-SORT's: centre, width, height; each is as noisy as its side is long; a lost track keeps its size.
class SizeModel {
 public:
  SizeModel() = default;
  explicit SizeModel(const SizeNoise& noise) noexcept : noise_(noise) {}

  static Lanes measure(const CornerBox& box) noexcept;
  KalmanState start(const Lanes& z) const noexcept;
  void predict(KalmanState& s, double dt, bool lost) const noexcept;
  void correct(KalmanState& s, const Lanes& z) const noexcept;
  static void move(KalmanState& s, const CameraMotion& motion) noexcept;
  static CornerBox box(const KalmanState& s) noexcept;

 private:
  SizeNoise noise_;
};

}  // namespace yolokkn
