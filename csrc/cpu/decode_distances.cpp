#include <algorithm>
#include <array>

#include "candidate_list.h"
#include "decode_scan.h"
#include "yolokkn/decode.h"
#include "yolokkn/elementary.h"
#include "yolokkn/logit_gate.h"

namespace yolokkn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class LevelDecoder {
 public:
  LevelDecoder(const DistanceLevel& level, const DistanceLayout& layout, int64_t first_anchor, float gate,
               CandidateList& list)
      : level_(level), bins_(layout.num_bins), first_(first_anchor), gate_(gate), list_(list) {
    step_x_ = grid_step(layout.input_w, level.grid_w);
    step_y_ = grid_step(layout.input_h, level.grid_h);
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
    const auto at_channel = [&](int64_t channel) { return at(channel, cell); };
    return distance_box(at_channel, grid_cell(cell, level_.grid_w, step_x_, step_y_), bins_);
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
