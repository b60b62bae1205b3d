// The project's raw anchor-free head: distances of a cell's centre to the four sides.
#include "candidates.h"
#include "yolokkn/logit_gate.h"

namespace yolokkn::cuda {
namespace {

struct DistancesSource {
  DistanceLevels levels;
  float gate;
  int64_t num_anchors, num_classes;

  struct Place {
    const DistanceLevels::Level& level;
    int64_t cell, cells;
  };

  __device__ Place place(int64_t anchor) const {
    int l = 0;
    for (; l + 1 < levels.num_levels; ++l) {
      const int64_t cells = levels.levels[l].grid_h * levels.levels[l].grid_w;
      if (anchor < cells) break;
      anchor -= cells;
    }
    return {levels.levels[l], anchor, levels.levels[l].grid_h * levels.levels[l].grid_w};
  }
  __device__ float at(const Place& place, int64_t channel) const {
    return value_at(place.level.logits, channel * place.cells + place.cell);
  }
  __device__ Presence presence(int64_t, float) const { return Presence::kPresent; }
  __device__ float score(int64_t c, int64_t anchor) const {
    const float logit = at(place(anchor), 4 * levels.num_bins + c);
    if (logit <= gate) return -kInfinity;  // cannot pass: no exp
    return logit < kInfinity ? sigmoid(logit) : kInfinity;
  }
  __device__ Box box(int64_t anchor) const {
    const Place here = place(anchor);
    const GridCell cell = grid_cell(here.cell, here.level.grid_w, grid_step(levels.input_w, here.level.grid_w),
                                    grid_step(levels.input_h, here.level.grid_h));
    return distance_box([&](int64_t channel) { return at(here, channel); }, cell, levels.num_bins);
  }
};

}  // namespace

void decode_distances(const DistanceLevels& levels, const AnchorFilter& filter, const CandidateBuffers& out,
                      Stream stream) {
  DistancesSource source{levels, safe_logit(filter.score_threshold), 0, levels.num_classes};
  for (int l = 0; l < levels.num_levels; ++l) {
    source.num_anchors += levels.levels[l].grid_h * levels.levels[l].grid_w;
  }
  if (source.num_anchors > 0) launch_columns("decode_distances", source, filter, out, stream);
}

}  // namespace yolokkn::cuda
