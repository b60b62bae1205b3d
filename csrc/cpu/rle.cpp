// COCO's run lengths. Of a mask only the changes from row to row are looked at: sorted by column they are the ends of
// the runs, so that neither the frame nor a transposed copy is ever painted.
#include <algorithm>
#include <cstring>

#include "simd/mask_kernels.h"
#include "yolokkn/error.h"
#include "yolokkn/masks.h"

namespace yolokkn {
namespace {

constexpr int kLongestGroup = 7;  // characters of 5 bits that hold any difference of two 32-bit run lengths

void append_number(int64_t value, std::string& text) {
  for (bool more = true; more;) {
    auto digit = static_cast<int>(value & 0x1f);
    value >>= 5;
    more = (digit & 0x10) != 0 ? value != -1 : value != 0;
    text.push_back(static_cast<char>((more ? digit | 0x20 : digit) + 48));
  }
}

// Writes run lengths as COCO does: from the fourth on as the difference to the one before the last.
class RleWriter {
 public:
  explicit RleWriter(std::string& text) : text_(text) {}

  void add(int64_t run) {
    append_number(count_ > 2 ? run - older_ : run, text_);
    older_ = newer_;
    newer_ = run;
    ++count_;
  }

  int64_t count() const noexcept { return count_; }

 private:
  std::string& text_;
  int64_t older_ = 0, newer_ = 0, count_ = 0;
};

// Finds where the runs of one crop end; owns the scratch memory that the masks share.
class RleEncoder {
 public:
  explicit RleEncoder(const MasksView& masks) : masks_(masks) {}

  std::string encode(const int32_t* crop, const uint8_t* data) {
    const int64_t width = crop[2] - crop[0];
    const int64_t height = crop[3] - crop[1];
    positions_.clear();
    if (width > 0 && height > 0) {
      find_changes(data, width, height);
      sort_by_column(width, height);
      join_columns(crop, width);
    }
    std::string text;
    RleWriter writer(text);
    int64_t previous = 0;
    for (const int64_t position : positions_) {
      writer.add(position - previous);
      previous = position;
    }
    const int64_t end = masks_.frame_h * masks_.frame_w;
    if (previous < end || writer.count() == 0) writer.add(end - previous);
    return text;
  }

 private:
  // A pointer from which the kernels may read past the row: the row itself, or a padded copy at the end of the data.
  const uint8_t* readable(const uint8_t* row, int64_t width, std::vector<uint8_t>& copy) {
    if (masks_.data.data() + masks_.data.size() - row >= width + kMaskSlack) return row;
    std::memcpy(copy.data(), row, static_cast<size_t>(width));
    return copy.data();
  }

  // changes_[row_ends_[y - 1], row_ends_[y]): the columns where row y differs from row y - 1; outside all is 0.
  void find_changes(const uint8_t* data, int64_t width, int64_t height) {
    const auto padded = static_cast<size_t>(width + kMaskSlack);
    zeros_.assign(padded, 0);
    upper_.resize(padded);
    lower_.resize(padded);
    row_ends_.resize(static_cast<size_t>(height + 1));
    int64_t used = 0;
    for (int64_t y = 0; y <= height; ++y) {
      if (static_cast<int64_t>(changes_.size()) < used + width + kMaskSlack) {
        changes_.resize(static_cast<size_t>(2 * (used + width) + kMaskSlack));
      }
      const uint8_t* upper = y == 0 ? zeros_.data() : readable(data + (y - 1) * width, width, upper_);
      const uint8_t* lower = y == height ? zeros_.data() : readable(data + y * width, width, lower_);
      used += kernels_.row_changes(upper, lower, width, changes_.data() + used);
      row_ends_[static_cast<size_t>(y)] = used;
    }
  }

  // rows_[column_begins_[x], column_begins_[x + 1]): the rows that differ from the row above in column x, ascending.
  void sort_by_column(int64_t width, int64_t height) {
    const int64_t used = row_ends_[static_cast<size_t>(height)];
    column_begins_.assign(static_cast<size_t>(width + 2), 0);
    for (int64_t i = 0; i < used; ++i) ++column_begins_[static_cast<size_t>(changes_[static_cast<size_t>(i)] + 2)];
    for (size_t x = 2; x < column_begins_.size(); ++x) column_begins_[x] += column_begins_[x - 1];
    rows_.resize(std::max(rows_.size(), static_cast<size_t>(used)));
    int64_t i = 0;
    for (int64_t y = 0; y <= height; ++y) {
      for (; i < row_ends_[static_cast<size_t>(y)]; ++i) {
        int64_t& next = column_begins_[static_cast<size_t>(changes_[static_cast<size_t>(i)] + 1)];
        rows_[static_cast<size_t>(next++)] = static_cast<int32_t>(y);
      }
    }
  }

  // Positions in the column-major frame where the value changes; a run that goes on at the top of the next column is
  // one.
  void join_columns(const int32_t* crop, int64_t width) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t top = (crop[0] + x) * masks_.frame_h + crop[1];
      for (int64_t i = column_begins_[static_cast<size_t>(x)]; i < column_begins_[static_cast<size_t>(x + 1)]; ++i) {
        const int64_t position = top + rows_[static_cast<size_t>(i)];
        if (!positions_.empty() && positions_.back() == position) {
          positions_.pop_back();
        } else {
          positions_.push_back(position);
        }
      }
    }
  }

  const MasksView& masks_;
  const MaskKernels& kernels_ = mask_kernels();
  std::vector<uint8_t> zeros_, upper_, lower_;
  std::vector<int32_t> changes_, rows_;
  std::vector<int64_t> row_ends_, column_begins_, positions_;
};

// Calls visit(column, first row, end row) for each piece of each run of ones.
template <typename Visit>
void for_each_piece(const std::vector<int64_t>& runs, int64_t frame_h, Visit visit) {
  int64_t position = 0;
  for (size_t i = 0; i < runs.size(); ++i) {
    const int64_t end = position + runs[i];
    while (i % 2 == 1 && position < end) {
      const int64_t column = position / frame_h;
      const int64_t stop = std::min(end, (column + 1) * frame_h);
      visit(column, position - column * frame_h, stop - column * frame_h);
      position = stop;
    }
    position = end;
  }
}

void check_runs(const std::vector<int64_t>& runs, int64_t size, size_t index) {
  const std::string which = "rles[" + std::to_string(index) + "]['counts'] must ";
  int64_t left = size;
  for (const int64_t run : runs) {
    if (run < 0) fail("decode_rle", which + "hold runs of 0 or more pixels, got " + std::to_string(run));
    if (run > left) fail("decode_rle", which + "sum to the frame's " + std::to_string(size) + " pixels, got more");
    left -= run;
  }
  if (left != 0) {
    fail("decode_rle",
         which + "sum to the frame's " + std::to_string(size) + " pixels, got " + std::to_string(size - left));
  }
}

std::array<int32_t, 4> bounding_box(const std::vector<int64_t>& runs, int64_t frame_h) {
  int64_t box[4] = {INT64_MAX, INT64_MAX, 0, 0};
  for_each_piece(runs, frame_h, [&](int64_t column, int64_t begin, int64_t end) {
    box[0] = std::min(box[0], column);
    box[1] = std::min(box[1], begin);
    box[2] = column + 1;
    box[3] = std::max(box[3], end);
  });
  if (box[2] == 0) return {0, 0, 0, 0};
  return {static_cast<int32_t>(box[0]), static_cast<int32_t>(box[1]), static_cast<int32_t>(box[2]),
          static_cast<int32_t>(box[3])};
}

// Marks where columns change, then lets every row take over what the row above it holds.
void paint_runs(const std::vector<int64_t>& runs, int64_t frame_h, const int32_t* crop, uint8_t* out) {
  const int64_t width = crop[2] - crop[0];
  for_each_piece(runs, frame_h, [&](int64_t column, int64_t begin, int64_t end) {
    uint8_t* top = out + (column - crop[0]);
    top[(begin - crop[1]) * width] ^= 1;
    if (end < crop[3]) top[(end - crop[1]) * width] ^= 1;
  });
  const MaskKernels& kernels = mask_kernels();
  for (int64_t y = 1; y < crop[3] - crop[1]; ++y) kernels.xor_row(out + y * width, out + (y - 1) * width, width);
}

}  // namespace

std::vector<std::string> encode_rle(const MasksView& masks) {
  check_masks("encode_rle", masks);
  if (masks.frame_h > 0 && masks.frame_w > UINT32_MAX / masks.frame_h) {
    fail("encode_rle", "masks.frame_hw must have fewer than 2**32 pixels, got " + std::to_string(masks.frame_h) + "x" +
                           std::to_string(masks.frame_w));
  }
  RleEncoder encoder(masks);
  std::vector<std::string> texts;
  texts.reserve(static_cast<size_t>(masks.crops.rows));
  const uint8_t* data = masks.data.data();
  for (int64_t n = 0; n < masks.crops.rows; ++n) {
    const int32_t* crop = masks.crops.row(n);
    texts.push_back(encoder.encode(crop, data));
    data += (int64_t{crop[2]} - crop[0]) * (int64_t{crop[3]} - crop[1]);
  }
  return texts;
}

std::vector<int64_t> parse_rle(std::string_view text, const std::string& name) {
  std::vector<int64_t> runs;
  int64_t value = 0;
  int digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const int code = static_cast<unsigned char>(text[i]) - 48;
    if (code < 0 || code > 63) {
      fail("decode_rle", name + " must hold characters from '0' to 'o', got code " + std::to_string(code + 48) +
                             " at position " + std::to_string(i));
    }
    if (digits == kLongestGroup)
      fail("decode_rle", name + " must hold numbers of at most 7 characters, got a longer one");
    value |= static_cast<int64_t>(code & 0x1f) << (5 * digits++);
    if ((code & 0x20) != 0) continue;
    if ((code & 0x10) != 0) value -= int64_t{1} << (5 * digits);
    if (runs.size() > 2) value += runs[runs.size() - 2];
    if (value < 0 || value > UINT32_MAX) {
      fail("decode_rle", name + " must hold run lengths from 0 to 2**32 - 1, got " + std::to_string(value));
    }
    runs.push_back(value);
    value = 0;
    digits = 0;
  }
  if (digits != 0) fail("decode_rle", name + " must end with a complete number, got a truncated string");
  return runs;
}

DecodedMasks decode_rle(const std::vector<std::vector<int64_t>>& runs, int64_t frame_h, int64_t frame_w) {
  const auto limit = int64_t{1} << 31;
  if (frame_h < 0 || frame_w < 0 || frame_h >= limit || frame_w >= limit ||
      (frame_h > 0 && frame_w > UINT32_MAX / frame_h)) {
    fail("decode_rle", "rles[0]['size'] must be 0 or more with fewer than 2**32 pixels, got " +
                           std::to_string(frame_h) + "x" + std::to_string(frame_w));
  }
  DecodedMasks masks;
  std::vector<size_t> offsets{0};
  for (size_t n = 0; n < runs.size(); ++n) {
    check_runs(runs[n], frame_h * frame_w, n);
    const auto box = bounding_box(runs[n], frame_h);
    masks.crops.insert(masks.crops.end(), box.begin(), box.end());
    offsets.push_back(offsets.back() + static_cast<size_t>(box[2] - box[0]) * static_cast<size_t>(box[3] - box[1]));
  }
  masks.data.resize(offsets.back(), 0);
  for (size_t n = 0; n < runs.size(); ++n) {
    paint_runs(runs[n], frame_h, masks.crops.data() + 4 * n, masks.data.data() + offsets[n]);
  }
  return masks;
}

}  // namespace yolokkn
