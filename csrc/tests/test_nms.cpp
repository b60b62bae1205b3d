// NMS against a plain statement of the rule, over many small cases, and the cases that must stay bounded.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>

#include "yolokkn/box.h"
#include "yolokkn/nms.h"

namespace {

using yolokkn::Box;

struct Case {
  std::vector<float> boxes, scores;
  std::vector<int32_t> class_ids;
  float iou_threshold = 0.5f;
  int64_t max_detections = 300;
};

Box box_at(const Case& c, size_t i) {
  return {c.boxes[4 * i], c.boxes[4 * i + 1], c.boxes[4 * i + 2], c.boxes[4 * i + 3]};
}

std::vector<int64_t> run(const Case& c) {
  const auto count = static_cast<int64_t>(c.scores.size());
  return yolokkn::nms({c.boxes.data(), count, 4}, c.scores, c.class_ids, c.iou_threshold, c.max_detections);
}

std::vector<int64_t> brute_force(const Case& c) {
  std::vector<size_t> order(c.scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::erase_if(order, [&](size_t i) {
    const Box b = box_at(c, i);
    return !(std::isfinite(c.scores[i]) && std::isfinite(b.x1) && std::isfinite(b.y1) && std::isfinite(b.x2) &&
             std::isfinite(b.y2));
  });
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return c.scores[a] > c.scores[b]; });
  std::vector<bool> struck(c.scores.size());
  std::vector<int64_t> kept;
  for (const size_t i : order) {
    if (struck[i] || static_cast<int64_t>(kept.size()) == c.max_detections) continue;
    kept.push_back(static_cast<int64_t>(i));
    for (const size_t j : order) {
      const bool same = c.class_ids.empty() || c.class_ids[i] == c.class_ids[j];
      if (same && yolokkn::box_iou(box_at(c, i), box_at(c, j)) > c.iou_threshold) struck[j] = true;
    }
  }
  return kept;
}

Case random_case(std::mt19937& rng) {
  const auto pick = [&](int n) { return static_cast<int>(rng() % static_cast<unsigned>(n)); };
  Case c;
  const int count = pick(24);
  const float step = pick(2) == 0 ? 1.0f : 0.37f;  // whole numbers make equal IoUs
  for (int i = 0; i < count; ++i) {
    const float x = static_cast<float>(pick(12)) * step;
    const float y = static_cast<float>(pick(12)) * step;
    c.boxes.insert(c.boxes.end(),
                   {x, y, x + static_cast<float>(pick(9) - 1) * step, y + static_cast<float>(pick(9) - 1)});
    c.scores.push_back(static_cast<float>(pick(6) - 1) * 0.25f);
    c.class_ids.push_back(pick(3) - 1);
  }
  if (count > 0 && pick(5) == 0) c.boxes[rng() % c.boxes.size()] = pick(2) == 0 ? NAN : INFINITY;
  if (count > 0 && pick(5) == 0) c.scores[rng() % c.scores.size()] = pick(2) == 0 ? -NAN : -INFINITY;
  if (pick(3) == 0) c.class_ids.clear();
  constexpr float kThresholds[] = {0.0f, 0.25f, 0.5f, 0.7f, 1.0f};
  c.iou_threshold = kThresholds[pick(5)];
  c.max_detections = pick(4) == 0 ? 2 : 300;
  return c;
}

bool check(bool holds, const char* what) {
  if (!holds) std::fprintf(stderr, "FAILED: %s\n", what);
  return holds;
}

}  // namespace

int main() {
  bool good = true;
  std::mt19937 rng(13);
  for (int i = 0; i < 100000 && good; ++i) {
    const Case c = random_case(rng);
    good = check(run(c) == brute_force(c), "equals brute force");
  }
  Case same;
  for (int i = 0; i < 8400; ++i) {
    same.boxes.insert(same.boxes.end(), {3, 3, 30, 30});
    same.scores.push_back(0.5f);
  }
  good &= check(run(same) == std::vector<int64_t>{0}, "8400 identical boxes leave one");
  for (int i = 0; i < 8400; ++i) same.class_ids.push_back(i * 7919);
  same.max_detections = 10000;
  good &= check(run(same).size() == 8400, "8400 classes keep every box");
  return good ? 0 : 1;
}
