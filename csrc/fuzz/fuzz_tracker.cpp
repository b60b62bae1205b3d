// libFuzzer target: any sequence of detections, timestamps and settings. Ids must be unique in a frame and states
// finite.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "yolokkn/trackers.h"

namespace {

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  bool empty() const { return size_ == 0; }

  template <typename T>
  T take() {
    T value{};
    const size_t count = std::min(sizeof(T), size_);
    std::memcpy(&value, data_, count);
    data_ += count;
    size_ -= count;
    return value;
  }

  // A number that is usual half of the time, so that boxes meet; else any bits.
  float number() {
    const auto kind = take<uint8_t>();
    return kind < 200 ? static_cast<float>(kind) : take<float>();
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

void require(bool condition) {
  if (!condition) std::abort();
}

std::unique_ptr<yolokkn::Tracker> make(Bytes& bytes) {
  const auto policy = bytes.take<uint8_t>() % 2 ? yolokkn::ClassPolicy::kStrict : yolokkn::ClassPolicy::kAgnostic;
  const auto fraction = [&] { return bytes.take<uint8_t>() / 255.0; };
  const double age = bytes.take<uint8_t>() % 40;
  if (bytes.take<uint8_t>() % 2) {
    return yolokkn::make_sort({age, 1 + bytes.take<uint8_t>() % 4, fraction(), fraction()}, 30.0, policy);
  }
  const double low = fraction();
  const double high = std::max(low, fraction());
  return yolokkn::make_bytetrack({high, low, fraction(), age, fraction(), bytes.take<uint8_t>() % 2 == 0}, 25.0,
                                 policy);
}

void check(const yolokkn::Tracker& tracker, std::vector<int64_t> track_ids) {
  std::erase(track_ids, -1);
  std::sort(track_ids.begin(), track_ids.end());
  require(track_ids.empty() || track_ids[0] >= 1);
  require(std::adjacent_find(track_ids.begin(), track_ids.end()) == track_ids.end());
  for (const yolokkn::LiveTrack& track : tracker.tracks()) {
    require(std::isfinite(track.x1) && std::isfinite(track.y1) && std::isfinite(track.x2) && std::isfinite(track.y2));
    require(track.x1 <= track.x2 && track.y1 <= track.y2 && std::isfinite(track.age));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes(data, size);
  const auto tracker = make(bytes);
  std::vector<float> boxes, scores;
  std::vector<int32_t> class_ids;
  std::vector<int64_t> track_ids;
  for (int frame = 0; frame < 64 && !bytes.empty(); ++frame) {
    const size_t count = bytes.take<uint8_t>() % 48;
    boxes.resize(count * 4);
    scores.resize(count);
    class_ids.resize(count);
    track_ids.assign(count, 0);
    for (float& value : boxes) value = bytes.number();
    for (float& value : scores) value = bytes.number() / 200.0f;
    for (int32_t& value : class_ids) value = bytes.take<uint8_t>() % 3;
    const auto kind = bytes.take<uint8_t>();
    std::optional<double> time_s;
    if (kind % 3 == 1) time_s = frame / 25.0;
    if (kind % 3 == 2) time_s = bytes.take<double>();
    tracker->update({{boxes.data(), static_cast<int64_t>(count), 4}, scores.data(), class_ids.data()}, time_s,
                    track_ids);
    check(*tracker, track_ids);
  }
  return 0;
}
