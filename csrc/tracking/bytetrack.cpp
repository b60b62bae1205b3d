#include "bytetrack.h"

namespace yolokkn {
namespace {

using Motion = FilterMotion<HeightModel>;

class ByteTrack final : public ByteRounds<Motion> {
 public:
  ByteTrack(const ByteTrackSettings& settings, const TrackerTerms& terms) : ByteRounds(settings, terms) {}
};

}  // namespace

std::unique_ptr<Tracker> make_bytetrack(const ByteTrackSettings& settings, const TrackerTerms& terms) {
  return std::make_unique<ByteTrack>(settings, terms);
}

}  // namespace yolokkn
