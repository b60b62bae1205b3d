// BoT-SORT (Aharon et al., BoT-SORT: robust associations multi-pedestrian tracking, 2022): ByteTrack's rounds with a
// filter of width and height, the camera's motion, and the caller's appearance vectors where there are any.
#include "bytetrack.h"

namespace yolokkn {
namespace {

constexpr double kKeep = 0.9;  // share of the old appearance

using Vector = std::vector<double>;

double dot(const Vector& a, const Vector& b) noexcept {
  double sum = 0.0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Of length 1; empty where the vector has no direction.
void normalise(Vector& v) {
  const double length = std::sqrt(dot(v, v));
  if (!(length > 0.0 && std::isfinite(length))) return v.clear();
  for (double& value : v) value = value / length;
}

void load_direction(Vector& into, std::span<const float> embedding) {
  into.assign(embedding.begin(), embedding.end());
  normalise(into);
}

// What a track looks like: the running mean of its detections' directions.
struct Appearance {
  Vector direction;  // of length 1, or empty

  void see(const Seen& seen) {
    if (seen.embedding.empty()) return;
    Vector fresh;
    load_direction(fresh, seen.embedding);
    if (fresh.empty()) return;
    if (direction.size() == fresh.size()) {
      for (size_t i = 0; i < fresh.size(); ++i) fresh[i] = kKeep * direction[i] + (1.0 - kKeep) * fresh[i];
      normalise(fresh);
    }
    direction = std::move(fresh);
  }

  template <typename Archive>
  friend void exchange(Archive& archive, Appearance& a) {
    exchange_all(archive, a.direction);
  }
};

class BotSort final : public ByteRounds<FilterMotionWith<SizeModel, Appearance>> {
 public:
  BotSort(const BotSortSettings& settings, const TrackerTerms& terms)
      : ByteRounds(settings, terms),
        proximity_thresh_(settings.proximity_thresh),
        appearance_thresh_(settings.appearance_thresh) {}

 private:
  void match_high(std::span<const int32_t> tracks, std::span<const int32_t> rows, double max_cost) override {
    if (table_.frame().embeddings.cols == 0) return table_.match_boxes(tracks, rows, max_cost, settings_.fuse_score);
    directions_.resize(static_cast<size_t>(table_.frame().boxes.rows));
    for (const int32_t row : rows) load_direction(directions_[static_cast<size_t>(row)], table_.seen(row).embedding);
    const auto cost = [&](const Item& track, int32_t row, double iou) {
      const double apart = 1.0 - (settings_.fuse_score ? iou * table_.share(row) : iou);
      const Vector& own = track.motion.trait.direction;
      const Vector& other = directions_[static_cast<size_t>(row)];
      if (own.empty() || own.size() != other.size() || 1.0 - iou > proximity_thresh_) return apart;
      const double unlike = (1.0 - dot(own, other)) * 0.5;
      return unlike > appearance_thresh_ ? apart : std::min(apart, unlike);
    };
    const double least_iou = std::min(1.0 - max_cost, 1.0 - proximity_thresh_);
    table_.match(tracks, rows, least_iou, max_cost, cost, [](const Item&) { return Growth{}; });
  }

  double proximity_thresh_, appearance_thresh_;
  std::vector<Vector> directions_;  // by row
};

}  // namespace

std::unique_ptr<Tracker> make_botsort(const BotSortSettings& settings, const TrackerTerms& terms) {
  return std::make_unique<BotSort>(settings, terms);
}

}  // namespace yolokkn
