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
  const yolokkn::TrackerTerms terms{25.0, static_cast<yolokkn::ClassPolicy>(bytes.take<uint8_t>() % 3)};
  const auto fraction = [&] { return bytes.take<uint8_t>() / 255.0; };
  const double age = bytes.take<uint8_t>() % 40;
  const double low = fraction();
  const double high = std::max(low, fraction());
  const int64_t hits = 1 + bytes.take<uint8_t>() % 4;
  const yolokkn::ByteTrackSettings common{high, low, fraction(), age, fraction(), bytes.take<uint8_t>() % 2 == 0};
  switch (bytes.take<uint8_t>() % 6) {
    case 0:
      return yolokkn::make_sort({age, hits, fraction(), fraction()}, terms);
    case 1:
      return yolokkn::make_bytetrack(common, terms);
    case 2:
      return yolokkn::make_botsort({common, fraction(), fraction()}, terms);
    case 3:
      return yolokkn::make_ocsort({age, hits, fraction(), fraction(), fraction() * 9.0, fraction()}, terms);
    case 4:
      return yolokkn::make_cbiou({high, fraction(), age, fraction(), fraction() * 5.0, fraction() * 5.0}, terms);
    default:
      return yolokkn::make_kkn({common,
                                fraction(),
                                fraction(),
                                fraction() * 5.0,
                                fraction() * 9.0,
                                fraction(),
                                fraction() * 5.0,
                                fraction(),
                                fraction(),
                                fraction(),
                                fraction() * 2.0,
                                {}},
                               terms);
  }
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
  std::vector<float> boxes, scores, embeddings;
  std::vector<int32_t> class_ids;
  std::vector<int64_t> track_ids;
  std::vector<yolokkn::MaskShape> shapes;
  for (int frame = 0; frame < 64 && !bytes.empty(); ++frame) {
    const size_t count = bytes.take<uint8_t>() % 48;
    boxes.resize(count * 4);
    scores.resize(count);
    class_ids.resize(count);
    track_ids.assign(count, 0);
    for (float& value : boxes) value = bytes.number();
    for (float& value : scores) value = bytes.number() / 200.0f;
    for (int32_t& value : class_ids) value = bytes.take<uint8_t>() % 3;
    yolokkn::FrameView view{
        {boxes.data(), static_cast<int64_t>(count), 4}, scores.data(), class_ids.data(), {}, {}, {}};
    const auto kind = bytes.take<uint8_t>();
    if (kind % 3 == 1) view.timestamp_s = frame / 25.0;
    if (kind % 3 == 2) view.timestamp_s = bytes.take<double>();
    if (kind % 5 == 1) {
      view.camera = yolokkn::CameraMotion{1.0, 0.0, bytes.number() - 100.0, 0.0, 1.0, bytes.number() - 100.0};
    }
    if (kind % 5 == 2) {
      yolokkn::CameraMotion m;
      for (double* value : {&m.xx, &m.xy, &m.x0, &m.yx, &m.yy, &m.y0}) *value = bytes.number() / 50.0;
      view.camera = m;
    }
    if (kind % 7 == 1) {
      embeddings.resize(count * 4);
      for (float& value : embeddings) value = bytes.number();
      view.embeddings = {embeddings.data(), static_cast<int64_t>(count), 4};
    }
    if (kind % 7 == 2) {
      shapes.assign(count, {});
      for (auto& shape : shapes) shape.rows.fill(bytes.take<uint16_t>());
      view.shapes = shapes;
    }
    if (kind % 11 == 1) tracker->load(std::string(tracker->save()));
    require(tracker->predict(view.timestamp_s).size() <= tracker->tracks().size());
    tracker->update(view, {track_ids, {}});
    check(*tracker, track_ids);
  }
  return 0;
}
