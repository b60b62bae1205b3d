// Turns timestamps into steps of nominal frames. Specification: Clock in yolokkn/tracking/reference.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>

namespace yolokkn {

class FrameClock {
 public:
  static constexpr double kMinStep = 0.1;
  static constexpr double kMaxStep = 30.0;
  static constexpr double kWholeTolerance = 0.05;
  static constexpr double kMaxGap = 1e6;
  static constexpr double kAgeTolerance = 0.01;

  explicit FrameClock(double frame_rate) noexcept : frame_rate_(frame_rate) {}

  double now() const noexcept { return now_; }  // nominal frames since the start

  // Moves on to the time of the next update; returns the step to predict over, within kMinStep and kMaxStep.
  double advance(std::optional<double> timestamp_s) noexcept {
    double step = 1.0;
    double age = 1.0;
    if (!timestamp_s || !std::isfinite(*timestamp_s)) {
      if (last_s_) *last_s_ += 1.0 / frame_rate_;
    } else {
      if (last_s_) {
        const double elapsed = (*timestamp_s - *last_s_) * frame_rate_;
        if (elapsed >= kMinStep) {
          age = std::min(elapsed, kMaxGap);
          const double whole = std::floor(age + 0.5);
          if (whole >= 1.0 && std::abs(age - whole) <= kWholeTolerance) age = whole;
          step = age <= kMaxStep ? age : 1.0;
        }
      }
      last_s_ = timestamp_s;
    }
    now_ += age;
    return step;
  }

 private:
  double frame_rate_;
  double now_ = 0.0;
  std::optional<double> last_s_;
};

}  // namespace yolokkn
