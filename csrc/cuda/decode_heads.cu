// Raw heads with objectness: darknet's and YOLOv5's formulas.
#include "candidates.h"
#include "yolokkn/logit_gate.h"

namespace yolokkn::cuda {
namespace {

struct HeadsSource {
  RawHeads heads;
  float gate;  // logits that are not above it cannot pass
  int64_t num_anchors, num_classes;

  // Where an anchor lies: its head, its anchor box, its cell.
  struct Place {
    const RawHead& head;
    int64_t box, cell, cells;
  };

  __device__ Place place(int64_t anchor) const {
    int h = 0;
    for (; h + 1 < heads.num_heads; ++h) {
      const int64_t count = heads.heads[h].num_boxes * heads.heads[h].grid_h * heads.heads[h].grid_w;
      if (anchor < count) break;
      anchor -= count;
    }
    const RawHead& head = heads.heads[h];
    const int64_t cells = head.grid_h * head.grid_w;
    return {head, anchor / cells, anchor % cells, cells};
  }
  __device__ float at(const Place& place, int64_t channel) const {
    return value_at(place.head.logits, (place.box * (5 + num_classes) + channel) * place.cells + place.cell);
  }
  __device__ Presence presence(int64_t anchor, float threshold) const {
    const float logit = at(place(anchor), 4);
    if (logit <= gate) return Presence::kAbsent;
    if (!(logit < kInfinity)) return Presence::kBad;
    return sigmoid(logit) > threshold ? Presence::kPresent : Presence::kAbsent;
  }
  __device__ float score(int64_t c, int64_t anchor) const {
    const Place at_anchor = place(anchor);
    const float logit = at(at_anchor, 5 + c);
    if (logit <= gate) return -kInfinity;  // cannot pass: no exp
    if (!(logit < kInfinity)) return kInfinity;
    return (heads.objectness_times_class ? sigmoid(at(at_anchor, 4)) : 1.0f) * sigmoid(logit);
  }
  __device__ Box box(int64_t anchor) const {
    const Place here = place(anchor);
    const RawHead& head = here.head;
    const GridCell cell =
        grid_cell(here.cell, head.grid_w, grid_step(heads.input_w, head.grid_w), grid_step(heads.input_h, head.grid_h));
    const auto of_cell = [&](int64_t channel) { return at(here, channel); };
    const float w = head.anchors[2 * here.box], h = head.anchors[2 * here.box + 1];
    return heads.is_v5 ? yolov5_box(of_cell, cell, w, h) : darknet_box(of_cell, cell, w, h, head.scale_xy);
  }
};

}  // namespace

void decode_heads(const RawHeads& heads, const AnchorFilter& filter, const CandidateBuffers& out, Stream stream) {
  HeadsSource source{heads, safe_logit(filter.score_threshold), 0, heads.num_classes};
  for (int h = 0; h < heads.num_heads; ++h) {
    source.num_anchors += heads.heads[h].num_boxes * heads.heads[h].grid_h * heads.heads[h].grid_w;
  }
  if (source.num_anchors > 0) launch_columns("decode_heads", source, filter, out, stream);
}

}  // namespace yolokkn::cuda
