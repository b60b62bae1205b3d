#include <algorithm>
#include <array>

#include "candidate_list.h"
#include "decode_scan.h"
#include "logit_gate.h"
#include "yolokkn/decode.h"
#include "yolokkn/elementary.h"

namespace yolokkn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class LevelDecoder {
 public:
  LevelDecoder(const DistanceLevel& level, const DistanceLayout& layout, int64_t first_anchor, float gate,
               CandidateList& list)
      : level_(level), bins_(layout.num_bins), first_(first_anchor), gate_(gate), list_(list) {
    step_x_ = static_cast<float>(static_cast<double>(layout.input_w) / static_cast<double>(level.grid_w));
    step_y_ = static_cast<float>(static_cast<double>(layout.input_h) / static_cast<double>(level.grid_h));
  }

  // Looks closely at the cells that have a class above the gate, or one that is NaN.
  void scan() {
    const auto& classes = list_.considered();
    std::array<uint8_t, kScanBlock / kLanes> flags;
    const int64_t whole = cells() - cells() % kLanes;
    for (int64_t begin = 0; begin < whole; begin += kScanBlock) {
      const int64_t width = std::min(kScanBlock, whole - begin);
      const ClassRows rows{level_.logits + 4 * bins_ * cells() + begin, cells(), classes.data(),
                           static_cast<int64_t>(classes.size())};
      scan_.flag_columns(rows, width, gate_, flags.data());
      for (int64_t i = 0; i < width; ++i) {
        if ((flags[static_cast<size_t>(i / kLanes)] >> (i % kLanes)) & 1) visit(begin + i);
      }
    }
    for (int64_t cell = whole; cell < cells(); ++cell) visit(cell);
  }

 private:
  int64_t cells() const noexcept { return level_.grid_h * level_.grid_w; }
  float at(int64_t channel, int64_t cell) const noexcept { return level_.logits[channel * cells() + cell]; }

  void visit(int64_t cell) {
    const auto score_of = [&](int32_t c) {
      const float logit = at(4 * bins_ + c, cell);
      if (logit <= gate_) return -kInfinity;  // cannot pass: no exp
      return logit < kInfinity ? sigmoid(logit) : kInfinity;
    };
    list_.visit(first_ + cell, score_of, [&] { return box_at(cell); });
  }

  Box box_at(int64_t cell) const noexcept {
    const float x = static_cast<float>(cell % level_.grid_w) + 0.5f;
    const float y = static_cast<float>(cell / level_.grid_w) + 0.5f;
    return {(x - distance(0, cell)) * step_x_, (y - distance(1, cell)) * step_y_, (x + distance(2, cell)) * step_x_,
            (y + distance(3, cell)) * step_y_};
  }

  // In cells: the mean of the bins 0, 1, ... weighed by their softmax.
  float distance(int64_t side, int64_t cell) const noexcept {
    const float* bin = level_.logits + side * bins_ * cells() + cell;
    if (bins_ == 1) return softplus(*bin);
    float most = bin[0];
    for (int64_t i = 1; i < bins_; ++i) most = bin[i * cells()] > most ? bin[i * cells()] : most;
    float sum = 0.0f, weighed = 0.0f;
    for (int64_t i = 0; i < bins_; ++i) {
      const float weight = exp_f32(bin[i * cells()] - most);
      sum += weight;
      weighed += weight * static_cast<float>(i);
    }
    return weighed / sum;
  }

  const DistanceLevel& level_;
  int64_t bins_, first_;
  float gate_, step_x_, step_y_;
  CandidateList& list_;
  const DecodeScan& scan_ = decode_scan();
};

}  // namespace

Candidates decode_distances(std::span<const DistanceLevel> levels, int64_t num_classes, const DistanceLayout& layout,
                            const CandidateFilter& filter) {
  CandidateList list(num_classes, filter);
  const float gate = safe_logit(filter.score_threshold);
  int64_t first = 0;
  for (const DistanceLevel& level : levels) {
    LevelDecoder(level, layout, first, gate, list).scan();
    first += level.grid_h * level.grid_w;
  }
  return list.finish();
}

}  // namespace yolokkn
