// How tracks move: a state that a detection starts, time and the camera move on, and detections correct.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "archive.h"
#include "yolokkn/box_models.h"
#include "yolokkn/mask_shape.h"

namespace yolokkn {

// A detection that belongs to a track.
struct Seen {
  CornerBox box;
  double score = 0.0;
  double time = 0.0;                 // nominal frames
  std::span<const float> embedding;  // empty where there are none
  const MaskShape* shape = nullptr;  // null where there are none
};

template <typename Archive>
void exchange(Archive& archive, CornerBox& box) {
  archive(box.x1), archive(box.y1), archive(box.x2), archive(box.y2);
}

template <typename Archive>
void exchange(Archive& archive, KalmanState& s) {
  for (Lanes* lanes : {&s.x, &s.v, &s.a, &s.l, &s.b}) {
    for (double& value : *lanes) archive(value);
  }
  if constexpr (Archive::kLoads) {
    bool sound = is_reasonable(s.x);
    for (size_t i = 0; i < 4; ++i) {
      sound = sound && s.a[i] > 0.0 && s.a[i] < kMostVariance && s.b[i] >= 0.0 && s.b[i] < kMostVariance &&
              std::abs(s.v[i]) < kMostVariance && std::abs(s.l[i]) < kMostVariance;
    }
    Archive::require(sound, "a filter is none");
  }
}

// A Kalman filter of one of the box models.
template <typename Model>
struct FilterMotion {
  using State = KalmanState;
  Model model;

  State start(const Seen& seen) const { return model.start(model.measure(seen.box)); }
  void predict(State& s, double dt, bool lost) const noexcept { model.predict(s, dt, lost); }
  void correct(State& s, const Seen& seen) const noexcept { model.correct(s, model.measure(seen.box)); }
  void move(State& s, const CameraMotion& motion) const noexcept { model.move(s, motion); }
  CornerBox box(const State& s) const noexcept { return model.box(s); }
};

// The same, and something else that each detection tells about a track: `trait.see(seen)`.
template <typename Model, typename Trait>
struct FilterMotionWith {
  struct State {
    KalmanState filter;
    Trait trait;

    template <typename Archive>
    friend void exchange(Archive& archive, State& s) {
      exchange(archive, s.filter);
      exchange(archive, s.trait);
    }
  };

  FilterMotion<Model> filter;

  State start(const Seen& seen) const {
    State s{filter.start(seen), {}};
    s.trait.see(seen);
    return s;
  }
  void predict(State& s, double dt, bool lost) const noexcept { filter.predict(s.filter, dt, lost); }
  void correct(State& s, const Seen& seen) const {
    filter.correct(s.filter, seen);
    s.trait.see(seen);
  }
  void move(State& s, const CameraMotion& motion) const noexcept { filter.move(s.filter, motion); }
  CornerBox box(const State& s) const noexcept { return filter.box(s.filter); }
};

// The last few observations of a track, oldest first: centre, width and height.
template <size_t kMost>
class Observations {
 public:
  struct Item {
    Lanes place;
    double time;  // nominal frames
  };

  void push(const Seen& seen) noexcept {
    if (count_ == kMost) {
      for (size_t i = 1; i < kMost; ++i) items_[i - 1] = items_[i];
      --count_;
    }
    items_[count_++] = {SizeModel::measure(seen.box), seen.time};
  }
  void move(const CameraMotion& motion) noexcept {
    for (size_t i = 0; i < count_; ++i)
      items_[i].place = moved(items_[i].place, motion, motion.scale(), motion.scale());
  }
  size_t size() const noexcept { return count_; }
  const Item& operator[](size_t i) const noexcept { return items_[i]; }
  const Item& first() const noexcept { return items_[0]; }
  const Item& last() const noexcept { return items_[count_ - 1]; }

  template <typename Archive>
  friend void exchange(Archive& archive, Observations& o) {
    auto count = static_cast<uint64_t>(o.count_);
    archive(count);
    if constexpr (Archive::kLoads) {
      Archive::require(count >= 1 && count <= kMost, "a track has no observation, or too many");
      o.count_ = static_cast<size_t>(count);
    }
    for (size_t i = 0; i < o.count_; ++i) {
      for (double& value : o.items_[i].place) archive(value);
      archive(o.items_[i].time);
      if constexpr (Archive::kLoads) {
        Archive::require(is_reasonable(o.items_[i].place), "a box has no area");
        Archive::require(i == 0 || o.items_[i].time > o.items_[i - 1].time, "a track's times are no order");
      }
    }
  }

 private:
  std::array<Item, kMost> items_{};
  size_t count_ = 0;
};

inline CornerBox box_at(const Lanes& place) noexcept {
  return {place[0] - place[2] * 0.5, place[1] - place[3] * 0.5, place[0] + place[2] * 0.5, place[1] + place[3] * 0.5};
}

}  // namespace yolokkn
