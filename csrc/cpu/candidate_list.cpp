#include "candidate_list.h"

#include <algorithm>
#include <array>

namespace yolokkn {

CandidateList::CandidateList(int64_t num_classes, const CandidateFilter& filter) : filter_(filter) {
  for (int64_t i = 0; i < num_classes; ++i) {
    if (filter.class_mask == nullptr || filter.class_mask[i] != 0) considered_.push_back(static_cast<int32_t>(i));
  }
  scores_.resize(considered_.size());
  slots_.reserve(1024);
  entries_.reserve(1024);
}

namespace {

// Scores are above a threshold of 0 or more, so their bits order as they do.
uint32_t key_of(float score) noexcept { return std::bit_cast<uint32_t>(score); }

struct Place {
  uint32_t prefix;  // the leading bits of the wanted key
  size_t rank;      // how many of the keys with this prefix are still to be passed over
};

// Narrows a place by the next digit (11, 11, 10 bits): counts the digits of the keys that share the prefix.
template <typename Entries>
Place narrowed(const Entries& entries, Place place, uint32_t shift, uint32_t digit_bits) {
  std::array<uint32_t, 2048> counts{};
  const uint32_t mask = (1u << digit_bits) - 1;
  for (const auto& entry : entries) {
    const uint64_t key = key_of(entry.score);
    if ((key >> (shift + digit_bits)) == place.prefix) ++counts[(key >> shift) & mask];
  }
  uint32_t digit = mask;
  while (place.rank >= counts[digit]) place.rank -= counts[digit--];
  return {(place.prefix << digit_bits) | digit, place.rank};
}

}  // namespace

void CandidateList::cut(size_t limit) {
  Place place{0, limit};  // the key of descending rank `limit` is the best of those that may have to go
  place = narrowed(entries_, place, 21, 11);
  place = narrowed(entries_, place, 10, 11);
  place = narrowed(entries_, place, 0, 10);
  size_t equals = place.rank;  // so many of the entries with exactly this key stay: the first ones
  size_t out = 0;
  for (const Entry& entry : entries_) {
    const uint32_t key = key_of(entry.score);
    const bool equal = key == place.prefix;
    const bool stays = key > place.prefix || (equal && equals > 0);
    equals -= equal && stays;
    entries_[out] = entry;
    out += stays;
  }
  entries_.resize(out);
}

Candidates CandidateList::finish() {
  const auto limit = static_cast<size_t>(filter_.max_candidates);
  if (entries_.size() > limit) cut(limit);
  const size_t count = entries_.size();
  Candidates found;
  found.boxes.resize(4 * count);
  found.scores.resize(count);
  found.class_ids.resize(count);
  found.anchor_index.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const Entry& entry = entries_[i];
    const Slot& slot = slots_[entry.slot];
    float* box = &found.boxes[4 * i];
    box[0] = slot.box.x1;
    box[1] = slot.box.y1;
    box[2] = slot.box.x2;
    box[3] = slot.box.y2;
    found.scores[i] = entry.score;
    found.class_ids[i] = entry.class_id;
    found.anchor_index[i] = slot.anchor;
  }
  found.num_dropped = num_dropped_;
  return found;
}

}  // namespace yolokkn
