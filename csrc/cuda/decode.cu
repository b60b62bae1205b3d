// YOLOv8 and its descendants: channels first.
#include "candidates.h"

namespace yolokkn::cuda {
namespace {

struct ChannelsSource {
  Values output;
  int64_t num_anchors, num_classes;

  __device__ Presence presence(int64_t, float) const { return Presence::kPresent; }
  __device__ float score(int64_t c, int64_t anchor) const { return value_at(output, (4 + c) * num_anchors + anchor); }
  __device__ Box box(int64_t anchor) const {
    const auto at = [&](int64_t channel) { return value_at(output, channel * num_anchors + anchor); };
    return corners(at(0), at(1), at(2), at(3));
  }
};

}  // namespace

void decode_channels(Values output, int64_t num_anchors, int64_t num_classes, const AnchorFilter& filter,
                     const CandidateBuffers& out, Stream stream) {
  if (num_anchors == 0) return;
  launch_columns("decode_channels", ChannelsSource{output, num_anchors, num_classes}, filter, out, stream);
}

}  // namespace yolokkn::cuda
