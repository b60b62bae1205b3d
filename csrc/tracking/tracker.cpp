#include <algorithm>
#include <limits>

#include "track_table.h"
#include "yolokkn/trackers.h"

namespace yolokkn {

float clamped_to_float(double value) noexcept {
  constexpr double kMax = static_cast<double>(std::numeric_limits<float>::max());
  return static_cast<float>(std::clamp(value, -kMax, kMax));
}

void Tracker::update(const DetectionsView& detections, std::optional<double> timestamp_s,
                     std::span<int64_t> track_ids) {
  const std::lock_guard lock(mutex_);
  do_update(detections, timestamp_s, track_ids);
}

void Tracker::reset() {
  const std::lock_guard lock(mutex_);
  do_reset();
}

std::vector<LiveTrack> Tracker::tracks() const {
  const std::lock_guard lock(mutex_);
  return do_tracks();
}

}  // namespace yolokkn
