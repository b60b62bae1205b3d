// Turns timestamps into steps of nominal frames. Specification: Clock in yolokkn/tracking/reference/clock.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
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

  void restart() noexcept {
    now_ = 0.0;
    last_s_.reset();
  }

  double now() const noexcept { return now_; }  // nominal frames since the start

  double last_step() const noexcept { return last_step_; }  // how far the last update moved the time

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
    last_step_ = age;
    return step;
  }

  template <typename Archive>
  friend void exchange(Archive& archive, FrameClock& clock) {
    auto has_time = static_cast<uint8_t>(clock.last_s_.has_value());
    double last_s = clock.last_s_.value_or(0.0);
    archive(clock.now_), archive(clock.last_step_), archive(has_time), archive(last_s);
    if constexpr (Archive::kLoads) {
      Archive::require(has_time <= 1 && clock.now_ >= 0.0, "the clock is none");
      clock.last_s_ = has_time == 1 ? std::optional(last_s) : std::nullopt;
    }
  }

 private:
  double frame_rate_;
  double now_ = 0.0;
  double last_step_ = 1.0;
  std::optional<double> last_s_;
};

}  // namespace yolokkn
