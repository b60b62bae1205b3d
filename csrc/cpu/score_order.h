// Rows by descending score, ties in input order, sorted piece by piece as they are asked for. Internal to csrc/cpu.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "yolokkn/score_rank.h"

namespace yolokkn {

// NMS stops early, so most of a dense output never needs to be sorted: rows are dealt into buckets by the leading bits
// of their score, and a bucket is sorted when it is reached.
class ScoreOrder {
 public:
  // Rows with a score that is not finite are left out.
  explicit ScoreOrder(std::span<const float> scores) {
    std::vector<uint64_t> keys;
    keys.reserve(scores.size());
    uint32_t low = UINT32_MAX;
    uint32_t high = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!std::isfinite(scores[i])) continue;
      const uint32_t rank = score_rank(scores[i]);
      low = std::min(low, rank);
      high = std::max(high, rank);
      keys.push_back((uint64_t{rank} << 32) | i);
    }
    if (keys.size() <= kSmall) {
      begins_ = {0, keys.size()};
      keys_ = std::move(keys);
      return;
    }
    deal(keys, low, high);
  }

  // The next rows in order; empty at the end.
  std::span<const uint64_t> next() {
    while (bucket_ + 1 < begins_.size()) {
      const auto piece = std::span(keys_).subspan(begins_[bucket_], begins_[bucket_ + 1] - begins_[bucket_]);
      ++bucket_;
      if (piece.empty()) continue;
      std::sort(piece.begin(), piece.end());
      return piece;
    }
    return {};
  }

  static size_t row_of(uint64_t key) noexcept { return static_cast<size_t>(key & UINT32_MAX); }

 private:
  static constexpr size_t kSmall = 256;
  static constexpr int kBucketBits = 11;

  void deal(const std::vector<uint64_t>& keys, uint32_t low, uint32_t high) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(high - low)) - kBucketBits);
    const size_t buckets = static_cast<size_t>((high - low) >> shift) + 1;
    const auto bucket_of = [&](uint64_t key) { return (static_cast<uint32_t>(key >> 32) - low) >> shift; };
    begins_.assign(buckets + 1, 0);
    for (const uint64_t key : keys) ++begins_[bucket_of(key) + 1];
    for (size_t i = 0; i < buckets; ++i) begins_[i + 1] += begins_[i];
    std::vector<size_t> places(begins_.begin(), begins_.end() - 1);
    keys_.resize(keys.size());
    for (const uint64_t key : keys) keys_[places[bucket_of(key)]++] = key;
  }

  std::vector<uint64_t> keys_;
  std::vector<size_t> begins_;
  size_t bucket_ = 0;
};

}  // namespace yolokkn
