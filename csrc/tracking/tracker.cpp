#include <algorithm>
#include <limits>

#include "archive.h"
#include "track_table.h"
#include "yolokkn/trackers.h"

namespace yolokkn {

namespace {

// FNV-1a, 64 bits.
uint64_t checksum(std::span<const char> bytes) noexcept {
  uint64_t sum = 0xcbf29ce484222325U;
  for (const char byte : bytes) sum = (sum ^ static_cast<uint8_t>(byte)) * 0x100000001b3U;
  return sum;
}

}  // namespace

float clamped_to_float(double value) noexcept {
  constexpr double kMax = static_cast<double>(std::numeric_limits<float>::max());
  return static_cast<float>(std::clamp(value, -kMax, kMax));
}

void Tracker::update(const FrameView& frame, const FrameResult& result) {
  const std::lock_guard lock(mutex_);
  do_update(frame, result);
}

std::string Tracker::save() {
  const std::lock_guard lock(mutex_);
  std::string state = do_save();
  Saver saver;
  saver(checksum(state));
  return state + saver.take();
}

void Tracker::load(std::span<const char> state) {
  uint64_t sum = 0;
  Loader::require(state.size() >= sizeof(sum), "it ends early");
  const auto body = state.first(state.size() - sizeof(sum));
  Loader(state.last(sizeof(sum)))(sum);
  Loader::require(sum == checksum(body), "its checksum is wrong");
  const std::lock_guard lock(mutex_);
  do_load(body);
}

void Tracker::reset(bool keeps_ids) {
  const std::lock_guard lock(mutex_);
  do_reset(keeps_ids);
}

std::vector<LiveTrack> Tracker::tracks() const {
  const std::lock_guard lock(mutex_);
  return do_tracks();
}

std::vector<LiveTrack> Tracker::predict(std::optional<double> timestamp_s) const {
  const std::lock_guard lock(mutex_);
  return do_predict(timestamp_s);
}

}  // namespace yolokkn
