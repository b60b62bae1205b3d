#include <cmath>

#include "candidate_list.h"
#include "yolokkn/decode.h"
#include "yolokkn/elementary.h"
#include "yolokkn/logit_gate.h"

namespace yolokkn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Where one anchor box of one head lies.
struct Plane {
  const Head& head;
  const HeadsLayout& layout;
  const float* logits;  // channel 0 of the anchor box
  const float* anchor;  // width, height
  int64_t cells() const noexcept { return head.grid_h * head.grid_w; }
  float at(int64_t channel, int64_t cell) const noexcept { return logits[channel * cells() + cell]; }
};

Box head_box(const Plane& plane, int64_t cell) noexcept {
  const Head& head = plane.head;
  const GridCell place = grid_cell(cell, head.grid_w, grid_step(plane.layout.input_w, head.grid_w),
                                   grid_step(plane.layout.input_h, head.grid_h));
  const auto at = [&](int64_t channel) { return plane.at(channel, cell); };
  if (plane.layout.formula == HeadFormula::kV5) return yolov5_box(at, place, plane.anchor[0], plane.anchor[1]);
  return darknet_box(at, place, plane.anchor[0], plane.anchor[1], head.scale_xy);
}

void visit_cell(const Plane& plane, int64_t cell, int64_t anchor, float gate, CandidateList& list) {
  const float logit = plane.at(4, cell);
  if (!(logit < kInfinity)) return list.drop();
  const float objectness = sigmoid(logit);
  if (!(objectness > list.threshold())) return;
  const float factor = plane.layout.objectness_times_class ? objectness : 1.0f;
  const auto score_of = [&](int32_t c) {
    const float t = plane.at(5 + c, cell);
    if (t <= gate) return -kInfinity;  // cannot pass: no exp
    return t < kInfinity ? factor * sigmoid(t) : kInfinity;
  };
  list.visit(anchor, score_of, [&] { return head_box(plane, cell); });
}

}  // namespace

Candidates decode_heads(std::span<const Head> heads, int64_t num_classes, const HeadsLayout& layout,
                        const CandidateFilter& filter) {
  CandidateList list(num_classes, filter);
  const float gate = safe_logit(filter.score_threshold);
  int64_t first = 0;
  for (const Head& head : heads) {
    const int64_t cells = head.grid_h * head.grid_w;
    for (int64_t a = 0; a < head.num_anchors; ++a) {
      const Plane plane{head, layout, head.logits + a * (5 + num_classes) * cells, head.anchors + 2 * a};
      const float* objectness = plane.logits + 4 * cells;
      for (int64_t cell = 0; cell < cells; ++cell) {
        if (!(objectness[cell] <= gate)) visit_cell(plane, cell, first + cell, gate, list);
      }
      first += cells;
    }
  }
  return list.finish();
}

}  // namespace yolokkn
