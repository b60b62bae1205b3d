// Collects candidates while a decoder walks over the anchors. Internal to csrc/cpu.
#pragma once

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "yolokkn/anchor_boxes.h"
#include "yolokkn/decode.h"

namespace yolokkn {

class CandidateList {
 public:
  CandidateList(int64_t num_classes, const CandidateFilter& filter);

  // The classes that the mask leaves in, ascending.
  const std::vector<int32_t>& considered() const noexcept { return considered_; }
  float threshold() const noexcept { return filter_.score_threshold; }
  bool multi_label() const noexcept { return filter_.multi_label; }

  void drop() noexcept { ++num_dropped_; }

  // Adds one candidate of an anchor.
  void push(int64_t anchor, int32_t class_id, float score, Box box) {
    slots_.push_back({box, anchor});
    entries_.push_back({score, class_id, static_cast<uint32_t>(slots_.size() - 1)});
  }

  // Adds the candidates of one anchor: those positions of considered() whose bits are set. score_of(class) is a score.
  template <typename ScoreOf>
  void push_labels(int64_t anchor, const uint32_t* bits, size_t words, ScoreOf score_of, Box box) {
    const auto slot = static_cast<uint32_t>(slots_.size());
    slots_.push_back({box, anchor});
    for (size_t w = 0; w < words; ++w) {
      for (uint32_t rest = bits[w]; rest != 0; rest &= rest - 1) {
        const int32_t class_id = considered_[w * 32 + static_cast<size_t>(std::countr_zero(rest))];
        entries_.push_back({score_of(class_id), class_id, slot});
      }
    }
  }

  // Applies the rules to one anchor, plainly. score_of(class) gives a score; box_of() the corners, called only where a
  // class passes.
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
    if (!multi_label()) return push(anchor, best_class, best, box);
    const auto slot = static_cast<uint32_t>(slots_.size());
    slots_.push_back({box, anchor});
    for (size_t i = 0; i < considered_.size(); ++i) {
      if (scores_[i] > threshold()) entries_.push_back({scores_[i], considered_[i], slot});
    }
  }

  // Cuts to max_candidates and hands the candidates over.
  Candidates finish();

 private:
  struct Slot {
    Box box;
    int64_t anchor;
  };
  struct Entry {
    float score;
    int32_t class_id;
    uint32_t slot;
  };

  void cut(size_t limit);

  CandidateFilter filter_;
  std::vector<int32_t> considered_;
  std::vector<float> scores_;   // of the anchor at hand, by position in considered_
  std::vector<Slot> slots_;     // anchors with a candidate
  std::vector<Entry> entries_;  // candidates
  int64_t num_dropped_ = 0;
};

}  // namespace yolokkn
