#include "yolokkn/decode.h"

#include <algorithm>
#include <array>

#include "candidate_list.h"
#include "decode_scan.h"

namespace yolokkn {
namespace {

// The class scores of a channel-major output, walked in groups of kLanes anchors.
class ColumnDecoder {
 public:
  ColumnDecoder(MatrixView<const float> output, CandidateList& list)
      : output_(output), list_(list), words_((list.considered().size() + 31) / 32), bits_(kLanes * words_) {}

  // Anchors begin .. begin + width, width a multiple of kLanes up to kScanBlock.
  void scan(int64_t begin, int64_t width) {
    std::array<uint8_t, kScanBlock / kLanes> flags;
    scan_.flag_columns(rows_at(begin), width, list_.threshold(), flags.data());
    for (int64_t group = 0; group < width / kLanes; ++group) {
      const uint32_t flagged = flags[static_cast<size_t>(group)];
      if (flagged != 0) visit_group(begin + group * kLanes, flagged);
    }
  }

  void visit_one(int64_t anchor) {
    list_.visit(anchor, [&](int32_t c) { return output_(4 + c, anchor); }, [&] { return box_at(anchor); });
  }

 private:
  ClassRows rows_at(int64_t anchor) const noexcept {
    const auto& classes = list_.considered();
    return {output_.row(4) + anchor, output_.cols, classes.data(), static_cast<int64_t>(classes.size())};
  }

  Box box_at(int64_t anchor) const noexcept {
    return corners(output_(0, anchor), output_(1, anchor), output_(2, anchor), output_(3, anchor));
  }

  // Lanes with a flag are all that may pass or be bad.
  void visit_group(int64_t begin, uint32_t flagged) {
    std::array<float, kLanes> best;
    std::array<int32_t, kLanes> best_class;
    const ClassRows rows = rows_at(begin);
    const uint32_t bad = list_.multi_label() ? scan_.labels_of_columns(rows, list_.threshold(), bits_.data(),
                                                                       static_cast<int64_t>(words_))
                                             : scan_.best_of_columns(rows, best.data(), best_class.data());
    for (uint32_t rest = flagged; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<size_t>(std::countr_zero(rest));
      const int64_t anchor = begin + static_cast<int64_t>(lane);
      const Box box = box_at(anchor);
      if (((bad >> lane) & 1) != 0 || !is_finite(box)) {
        list_.drop();
      } else if (list_.multi_label()) {
        const auto score_of = [&](int32_t c) { return output_(4 + c, anchor); };
        list_.push_labels(anchor, &bits_[lane * words_], words_, score_of, box);
      } else {
        list_.push(anchor, best_class[lane], best[lane], box);
      }
    }
  }

  MatrixView<const float> output_;
  CandidateList& list_;
  const DecodeScan& scan_ = decode_scan();
  size_t words_;
  std::vector<uint32_t> bits_;
};

}  // namespace

Candidates decode_channels(MatrixView<const float> output, int64_t num_classes, const CandidateFilter& filter) {
  CandidateList list(num_classes, filter);
  ColumnDecoder decoder(output, list);
  const int64_t whole = output.cols - output.cols % kLanes;
  for (int64_t begin = 0; begin < whole; begin += kScanBlock) decoder.scan(begin, std::min(kScanBlock, whole - begin));
  for (int64_t anchor = whole; anchor < output.cols; ++anchor) decoder.visit_one(anchor);
  return list.finish();
}

}  // namespace yolokkn
