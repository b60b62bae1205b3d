// Which logits cannot pass a score threshold, without an exponential.
#pragma once

#include <cmath>
#include <limits>

namespace yolokkn {

// A logit whose sigmoid, as sigmoid() computes it, cannot be above the threshold when the logit is not above this.
inline float safe_logit(float threshold) noexcept {
  const double lowered = static_cast<double>(threshold) * (1.0 - 1e-6) - 1e-30;
  if (lowered <= 0.0) return -std::numeric_limits<float>::infinity();
  if (threshold >= 1.0f) return std::numeric_limits<float>::max();  // only +inf and NaN are looked at
  return static_cast<float>(std::log(lowered / (1.0 - lowered)) - 1e-4);
}

}  // namespace yolokkn
