// libFuzzer: bytes become a raw output; every decoder must return finite boxes above the threshold, inside its limits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "yolokkn/decode.h"

namespace {

using yolokkn::CandidateFilter;
using yolokkn::Candidates;

void verify(const Candidates& found, int64_t anchors, int64_t num_classes, const CandidateFilter& filter) {
  const size_t n = found.scores.size();
  bool good = static_cast<int64_t>(n) <= filter.max_candidates && found.num_dropped <= anchors;
  for (size_t i = 0; i < n; ++i) {
    good &= found.scores[i] > filter.score_threshold && found.class_ids[i] >= 0 && found.class_ids[i] < num_classes;
    good &= found.anchor_index[i] >= 0 && found.anchor_index[i] < anchors;
  }
  for (const float v : found.boxes) good &= std::isfinite(v);
  if (!good) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 5) return 0;
  const int64_t nc = 1 + data[0] % 70;
  std::vector<uint8_t> mask(static_cast<size_t>(nc));
  for (size_t i = 0; i < mask.size(); ++i) mask[i] = (data[4] >> (i % 8)) & 1;
  const CandidateFilter filter{static_cast<float>(data[1]) / 255.0f, data[2] % 2 == 0, 1 + data[3],
                               data[2] % 4 < 2 ? nullptr : mask.data()};
  std::vector<float> values((size - 5) / sizeof(float));
  if (values.empty()) return 0;
  std::memcpy(values.data(), data + 5, values.size() * sizeof(float));
  const auto count = static_cast<int64_t>(values.size());
  const int64_t columns = count / (4 + nc);
  const int64_t rows = count / (5 + nc);
  const int64_t table = count / 6;
  verify(yolokkn::decode_channels({values.data(), 4 + nc, columns}, nc, filter), columns, nc, filter);
  for (const auto format : {yolokkn::BoxFormat::kCxcywh, yolokkn::BoxFormat::kXyxy}) {
    verify(yolokkn::decode_rows({values.data(), columns, 4 + nc}, nc, {false, format, {}, 0, 0}, filter), columns, nc,
           filter);
    verify(yolokkn::decode_rows({values.data(), rows, 5 + nc}, nc, {true, format, {}, 0, 0}, filter), rows, nc, filter);
  }
  const float sizes[] = {8, 16};
  const yolokkn::Head head{values.data(), 1, rows, 1, sizes, 1.2f};
  for (const auto formula : {yolokkn::HeadFormula::kDarknet, yolokkn::HeadFormula::kV5}) {
    verify(yolokkn::decode_heads({&head, 1}, nc, {64, 64, formula, true}, filter), rows, nc, filter);
  }
  const yolokkn::DistanceLevel level{values.data(), rows, 1};
  verify(yolokkn::decode_distances({&level, 1}, nc, {64, 64, 1}, filter), rows, nc, filter);
  const int64_t queries = count / (4 + nc);
  verify(yolokkn::decode_queries({values.data(), queries, 4}, {values.data() + 4 * queries, queries, nc}, nc, 64, 64, 9,
                                 filter),
         queries, nc, filter);
  yolokkn::FinalRows final_rows{values.data(), 6, values.data() + 4, 6, {}, table};
  final_rows.class_ids.as_float = values.data() + 5;
  final_rows.class_ids.stride = 6;
  verify(yolokkn::decode_final(final_rows, nc, filter), table, nc, filter);
  return 0;
}
