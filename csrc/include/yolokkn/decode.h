// From a model's raw output to candidates: boxes, scores and classes that passed the score threshold. The rules (what
// is a candidate, what is dropped, in which order) are fixed by yolokkn/ops/reference/decode*.py.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "yolokkn/views.h"

namespace yolokkn {

struct CandidateFilter {
  float score_threshold = 0.25f;        // a candidate's score is strictly greater
  bool multi_label = false;             // every class above the threshold, or an anchor's best one only
  int64_t max_candidates = 30000;       // beyond it only the best scores stay, in input order
  const uint8_t* class_mask = nullptr;  // (num_classes,), 0 = not considered; nullptr = all are
};

// Structure of arrays, indexed together, in anchor order and then class order.
struct Candidates {
  std::vector<float> boxes;  // (N, 4) xyxy, model-input pixels
  std::vector<float> scores;
  std::vector<int32_t> class_ids;
  std::vector<int64_t> anchor_index;
  int64_t num_dropped = 0;  // anchors left out for NaN or infinity
};

// (4+nc+e, A): cx cy w h cls..., channel-major.
Candidates decode_channels(MatrixView<const float> output, int64_t num_classes, const CandidateFilter& filter);

enum class BoxFormat { kCxcywh, kXyxy, kGrid };

struct RowsLayout {
  bool objectness = true;
  BoxFormat box_format = BoxFormat::kCxcywh;
  std::span<const int64_t> strides;  // kGrid only: anchors run stride by stride, each grid row-major
  int64_t input_h = 0;
  int64_t input_w = 0;
};

// (A, C): box, [objectness], classes, extras.
Candidates decode_rows(MatrixView<const float> output, int64_t num_classes, const RowsLayout& layout,
                       const CandidateFilter& filter);

enum class HeadFormula { kDarknet, kV5 };

// One raw head: (num_anchors * (5 + nc), grid_h, grid_w) logits and its anchors' widths and heights in pixels.
struct Head {
  const float* logits = nullptr;
  int64_t num_anchors = 0;
  int64_t grid_h = 0;
  int64_t grid_w = 0;
  const float* anchors = nullptr;  // (num_anchors, 2)
  float scale_xy = 1.0f;           // kDarknet only
};

struct HeadsLayout {
  int64_t input_h = 0;
  int64_t input_w = 0;
  HeadFormula formula = HeadFormula::kDarknet;
  bool objectness_times_class = true;
};

// anchor_index runs head by head, within a head by (anchor, gy, gx).
Candidates decode_heads(std::span<const Head> heads, int64_t num_classes, const HeadsLayout& layout,
                        const CandidateFilter& filter);

// One raw level of an anchor-free head: (4 * num_bins + nc + extras, grid_h, grid_w) logits.
struct DistanceLevel {
  const float* logits = nullptr;
  int64_t grid_h = 0;
  int64_t grid_w = 0;
};

struct DistanceLayout {
  int64_t input_h = 0;
  int64_t input_w = 0;
  int64_t num_bins = 16;  // a side; 1: the softplus of one number
};

// Boxes from the distances of a cell's centre to left, top, right and bottom. anchor_index runs level by level, within
// a level by (gy, gx).
Candidates decode_distances(std::span<const DistanceLevel> levels, int64_t num_classes, const DistanceLayout& layout,
                            const CandidateFilter& filter);

// boxes (Q, 4) normalised cxcywh, logits (Q, C >= nc): the best top_k of all (query, class), by descending score.
Candidates decode_queries(MatrixView<const float> boxes, MatrixView<const float> logits, int64_t num_classes,
                          int64_t input_h, int64_t input_w, int64_t top_k, const CandidateFilter& filter);

// Finished detections of which the first `count` are used. Class ids are of one of three types.
struct FinalClassIds {
  const int32_t* as_int32 = nullptr;
  const int64_t* as_int64 = nullptr;
  const float* as_float = nullptr;
  int64_t stride = 1;  // elements
};

struct FinalRows {
  const float* boxes = nullptr;  // xyxy
  int64_t box_stride = 4;
  const float* scores = nullptr;
  int64_t score_stride = 1;
  FinalClassIds class_ids;
  int64_t count = 0;
};

Candidates decode_final(const FinalRows& rows, int64_t num_classes, const CandidateFilter& filter);

// Columns first .. first + out.cols of the anchors, (N, count). Indices must be within the output.
void gather_extras(MatrixView<const float> output, std::span<const int64_t> anchor_index, int64_t first,
                   bool channel_major, MatrixView<float> out);

}  // namespace yolokkn
