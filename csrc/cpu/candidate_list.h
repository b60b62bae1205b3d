// Collects candidates while a decoder walks over the anchors. Internal to csrc/cpu.
#pragma once

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "yolokkn/box.h"
#include "yolokkn/decode.h"

namespace yolokkn {

inline bool is_finite(Box box) noexcept {
  return std::isfinite(box.x1) && std::isfinite(box.y1) && std::isfinite(box.x2) && std::isfinite(box.y2);
}

// Centre and size to corners.
inline Box corners(float cx, float cy, float w, float h) noexcept {
  return {cx - w * 0.5f, cy - h * 0.5f, cx + w * 0.5f, cy + h * 0.5f};
}

class CandidateList {
 public:
  CandidateList(int64_t num_classes, const CandidateFilter& filter);

  // The classes that the mask leaves in, ascending.
  const std::vector<int32_t>& considered() const noexcept { return considered_; }
  float threshold() const noexcept { return filter_.score_threshold; }

  void drop() noexcept { ++found_.num_dropped; }
  void push(int64_t anchor, int32_t class_id, float score, Box box) {
    found_.boxes.insert(found_.boxes.end(), {box.x1, box.y1, box.x2, box.y2});
    found_.scores.push_back(score);
    found_.class_ids.push_back(class_id);
    found_.anchor_index.push_back(anchor);
  }

  // Applies the rules to one anchor. score_of(class) gives a score, box_of() the corners; box_of is called only where
  // a class passes.
  template <typename ScoreOf, typename BoxOf>
  void visit(int64_t anchor, ScoreOf score_of, BoxOf box_of) {
    float best = -std::numeric_limits<float>::infinity();
    int32_t best_class = -1;
    bool bad = false;
    for (size_t i = 0; i < considered_.size(); ++i) {
      const float score = score_of(considered_[i]);
      scores_[i] = score;
      bad |= !(score < std::numeric_limits<float>::infinity());
      if (score > best) {
        best = score;
        best_class = considered_[i];
      }
    }
    if (bad) return drop();
    if (!(best > threshold())) return;
    const Box box = box_of();
    if (!is_finite(box)) return drop();
    if (!filter_.multi_label) return push(anchor, best_class, best, box);
    for (size_t i = 0; i < considered_.size(); ++i) {
      if (scores_[i] > threshold()) push(anchor, considered_[i], scores_[i], box);
    }
  }

  // Cuts to max_candidates and hands the candidates over.
  Candidates finish();

 private:
  CandidateFilter filter_;
  std::vector<int32_t> considered_;
  std::vector<float> scores_;  // of the anchor at hand, by position in considered_
  Candidates found_;
};

}  // namespace yolokkn
