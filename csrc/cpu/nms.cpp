#include "yolokkn/nms.h"

#include "candidate_list.h"
#include "nms_scan.h"
#include "score_order.h"

namespace yolokkn {
namespace {

// The kept boxes, in one chain of chunks for each class.
class KeptBoxes {
 public:
  // The first chunk of a class, or -1. Classes are found by a small open-addressing table.
  int32_t& head(int32_t class_id) {
    if ((num_classes_ + 1) * 2 > table_.size()) grow();
    size_t at = place(class_id);
    while (table_[at].in_use && table_[at].class_id != class_id) at = (at + 1) & (table_.size() - 1);
    if (!table_[at].in_use) {
      table_[at] = {class_id, -1, true};
      ++num_classes_;
    }
    return table_[at].head;
  }

  void add(int32_t& head, Box box, float area) {
    if (head < 0 || chunks_[static_cast<size_t>(head)].used == 8) {
      chunks_.emplace_back();
      chunks_.back().next = head;
      head = static_cast<int32_t>(chunks_.size() - 1);
    }
    KeptChunk& chunk = chunks_[static_cast<size_t>(head)];
    const int32_t lane = chunk.used++;
    chunk.x1[lane] = box.x1;
    chunk.y1[lane] = box.y1;
    chunk.x2[lane] = box.x2;
    chunk.y2[lane] = box.y2;
    chunk.area[lane] = area;
  }

  const KeptChunk* chunks() const noexcept { return chunks_.data(); }

 private:
  struct ClassHead {
    int32_t class_id = 0;
    int32_t head = -1;
    bool in_use = false;
  };

  size_t place(int32_t class_id) const noexcept {
    return (static_cast<uint32_t>(class_id) * 0x9E3779B1u >> 7) & (table_.size() - 1);
  }

  void grow() {
    std::vector<ClassHead> old(std::max<size_t>(64, table_.size() * 2));
    old.swap(table_);
    for (const ClassHead& entry : old) {
      if (!entry.in_use) continue;
      size_t at = place(entry.class_id);
      while (table_[at].in_use) at = (at + 1) & (table_.size() - 1);
      table_[at] = entry;
    }
  }

  std::vector<ClassHead> table_;
  size_t num_classes_ = 0;
  std::vector<KeptChunk> chunks_;
};

}  // namespace

std::vector<int64_t> nms(MatrixView<const float> boxes, std::span<const float> scores,
                         std::span<const int32_t> class_ids, float iou_threshold, int64_t max_detections) {
  const NmsScan& scan = nms_scan();
  KeptBoxes kept_boxes;
  std::vector<int64_t> kept;
  ScoreOrder order(scores);
  for (auto piece = order.next(); !piece.empty(); piece = order.next()) {
    for (const uint64_t key : piece) {
      const size_t row = ScoreOrder::row_of(key);
      const float* b = boxes.row(static_cast<int64_t>(row));
      const Box box{b[0], b[1], b[2], b[3]};
      if (!is_finite(box)) continue;
      const float area = box_area(box);
      int32_t& head = kept_boxes.head(class_ids.empty() ? 0 : class_ids[row]);
      if (scan.overlaps(kept_boxes.chunks(), head, box, area, iou_threshold)) continue;
      kept_boxes.add(head, box, area);
      kept.push_back(static_cast<int64_t>(row));
      if (static_cast<int64_t>(kept.size()) == max_detections) return kept;
    }
  }
  return kept;
}

}  // namespace yolokkn
