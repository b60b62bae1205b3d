// The decoders on hand-computed and hostile outputs; run under sanitizers for what Python cannot see.
#include <bit>
#include <cmath>
#include <cstdio>
#include <random>

#include "yolokkn/decode.h"
#include "yolokkn/elementary.h"

namespace {

using yolokkn::CandidateFilter;
using yolokkn::Candidates;

bool check(bool holds, const char* what) {
  if (!holds) std::fprintf(stderr, "FAILED: %s\n", what);
  return holds;
}

bool consistent(const Candidates& found, int64_t anchors, const CandidateFilter& filter) {
  const size_t n = found.scores.size();
  bool good = found.boxes.size() == 4 * n && found.class_ids.size() == n && found.anchor_index.size() == n;
  good &= static_cast<int64_t>(n) <= filter.max_candidates && found.num_dropped <= anchors;
  for (size_t i = 0; i < n && good; ++i)
    good = found.scores[i] > filter.score_threshold && found.anchor_index[i] < anchors;
  for (const float v : found.boxes) good &= std::isfinite(v);
  return good;
}

// Any bits are floats: NaN with payloads, infinities, denormals.
std::vector<float> any_bits(std::mt19937& rng, size_t count) {
  std::vector<float> values(count);
  for (float& v : values) v = std::bit_cast<float>(static_cast<uint32_t>(rng()));
  return values;
}

bool hand_computed() {
  const std::vector<float> output = {10, 50, 20, 60, 4, 10, 8, 10, 0.1f, 0.3f, 0.9f, 0.2f};  // (6, 2)
  const Candidates found = yolokkn::decode_channels({output.data(), 6, 2}, 2, {});
  return found.boxes == std::vector<float>{8, 16, 12, 24, 45, 55, 55, 65} &&
         found.class_ids == std::vector<int32_t>{1, 0} && found.anchor_index == std::vector<int64_t>{0, 1} &&
         found.num_dropped == 0;
}

bool hostile(std::mt19937& rng) {
  const int64_t nc = 1 + rng() % 70;
  const int64_t anchors = rng() % 1100;
  const CandidateFilter filter{rng() % 2 ? 0.0f : 0.25f, rng() % 2 == 0, static_cast<int64_t>(1 + rng() % 60), nullptr};
  const auto values = any_bits(rng, static_cast<size_t>((5 + nc) * anchors));
  const yolokkn::MatrixView<const float> columns{values.data(), 5 + nc, anchors};
  const yolokkn::MatrixView<const float> rows{values.data(), anchors, 5 + nc};
  const float sizes[] = {8, 8};
  const yolokkn::Head head{values.data(), 1, anchors, 1, sizes, 1.05f};
  const yolokkn::HeadsLayout layout{640, 640, rng() % 2 ? yolokkn::HeadFormula::kV5 : yolokkn::HeadFormula::kDarknet,
                                    true};
  bool good = consistent(yolokkn::decode_channels(columns, nc, filter), anchors, filter);
  good &= consistent(yolokkn::decode_rows(rows, nc, {}, filter), anchors, filter);
  good &= consistent(yolokkn::decode_heads({&head, 1}, nc, layout, filter), anchors, filter);
  return good;
}

}  // namespace

int main() {
  bool good = check(hand_computed(), "hand-computed channels");
  std::mt19937 rng(7);
  for (int i = 0; i < 300 && good; ++i) good = check(hostile(rng), "hostile outputs");
  for (float x = -87.0f; x < 88.0f; x += 0.001f) {
    good &= std::abs(yolokkn::exp_f32(x) / std::exp(static_cast<double>(x)) - 1) < 2.5e-7;
  }
  return check(good, "exp within 2 ulp") ? 0 : 1;
}
