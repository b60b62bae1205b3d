#include <algorithm>
#include <array>

#include "candidate_list.h"
#include "decode_scan.h"
#include "yolokkn/decode.h"
#include "yolokkn/elementary.h"

namespace yolokkn {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Decodes boxes of rows; anchors must ascend from call to call.
class RowBoxes {
 public:
  RowBoxes(MatrixView<const float> output, const RowsLayout& layout) : output_(output), layout_(layout) {}

  Box operator()(int64_t anchor) noexcept {
    const float* t = output_.row(anchor);
    if (layout_.box_format == BoxFormat::kGrid) return grid_box(anchor, t);
    if (layout_.box_format == BoxFormat::kXyxy) return {t[0], t[1], t[2], t[3]};
    return corners(t[0], t[1], t[2], t[3]);
  }

 private:
  Box grid_box(int64_t anchor, const float* t) noexcept {
    while (anchor >= begin_ + cells()) {
      begin_ += cells();
      ++level_;
    }
    const int64_t stride = layout_.strides[level_];
    const int64_t grid_w = layout_.input_w / stride;
    const float step = static_cast<float>(stride);
    return yolox_box([t](int64_t i) { return t[i]; }, grid_cell(anchor - begin_, grid_w, step, step));
  }

  int64_t cells() const noexcept {
    return (layout_.input_h / layout_.strides[level_]) * (layout_.input_w / layout_.strides[level_]);
  }

  MatrixView<const float> output_;
  const RowsLayout& layout_;
  size_t level_ = 0;
  int64_t begin_ = 0;
};

// The scores of one anchor lie side by side: objectness (or 1) times class.
class RowDecoder {
 public:
  RowDecoder(MatrixView<const float> output, int64_t num_classes, const RowsLayout& layout, CandidateList& list)
      : output_(output),
        boxes_(output, layout),
        list_(list),
        first_(layout.objectness ? 5 : 4),
        num_classes_(num_classes),
        bits_(static_cast<size_t>(num_classes + 31) / 32),
        all_classes_(list.considered().size() == static_cast<size_t>(num_classes)) {}

  void visit(int64_t anchor, float factor) {
    const float* scores = output_.row(anchor) + first_;
    const auto score_of = [&](int32_t c) { return scores[c] * factor; };
    if (!all_classes_) {
      list_.visit(anchor, score_of, [&] { return boxes_(anchor); });
    } else if (list_.multi_label()) {
      if (scan_.labels_of_row(scores, num_classes_, factor, list_.threshold(), bits_.data())) return list_.drop();
      if (std::all_of(bits_.begin(), bits_.end(), [](uint32_t word) { return word == 0; })) return;
      const Box box = boxes_(anchor);
      if (!is_finite(box)) return list_.drop();
      list_.push_labels(anchor, bits_.data(), bits_.size(), score_of, box);
    } else {
      float best;
      int32_t best_class;
      if (scan_.best_of_row(scores, num_classes_, factor, &best, &best_class)) return list_.drop();
      if (!(best > list_.threshold())) return;
      const Box box = boxes_(anchor);
      if (!is_finite(box)) return list_.drop();
      list_.push(anchor, best_class, best, box);
    }
  }

 private:
  MatrixView<const float> output_;
  RowBoxes boxes_;
  CandidateList& list_;
  const DecodeScan& scan_ = decode_scan();
  int64_t first_;
  int64_t num_classes_;
  std::vector<uint32_t> bits_;
  bool all_classes_;
};

constexpr int64_t kBlock = 256;
constexpr int64_t kAhead = 24;  // rows

// The anchors of begin .. end whose objectness is not at most the threshold; returns how many.
size_t find_present(MatrixView<const float> output, int64_t begin, int64_t end, float threshold, int32_t* present) {
  size_t count = 0;
  for (int64_t a = begin; a < end; ++a) {
    __builtin_prefetch(output.row(std::min(a + kAhead, output.rows - 1)) + 4);
    present[count] = static_cast<int32_t>(a - begin);
    count += !(output(a, 4) <= threshold);
  }
  return count;
}

}  // namespace

Candidates decode_rows(MatrixView<const float> output, int64_t num_classes, const RowsLayout& layout,
                       const CandidateFilter& filter) {
  CandidateList list(num_classes, filter);
  RowDecoder decoder(output, num_classes, layout, list);
  if (!layout.objectness) {
    for (int64_t a = 0; a < output.rows; ++a) decoder.visit(a, 1.0f);
    return list.finish();
  }
  std::array<int32_t, kBlock> present;
  for (int64_t begin = 0; begin < output.rows; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, output.rows);
    const size_t count = find_present(output, begin, end, filter.score_threshold, present.data());
    for (size_t i = 0; i < count; ++i) {
      const int64_t anchor = begin + present[i];
      const float objectness = output(anchor, 4);
      if (objectness < kInfinity) {
        decoder.visit(anchor, objectness);
      } else {
        list.drop();
      }
    }
  }
  return list.finish();
}

}  // namespace yolokkn
