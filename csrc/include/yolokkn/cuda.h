// The CUDA twins of the ops: launchers, whose kernels are in csrc/cuda, one file per op. Pointers are device memory
// (results may be pinned host memory that the device sees). Everything is queued on the stream and nothing waits.
#pragma once

#include <cstdint>

#include "yolokkn/frame_axis.h"
#include "yolokkn/half.h"
#include "yolokkn/letterbox.h"
#include "yolokkn/mask_sample.h"

struct CUstream_st;

namespace yolokkn::cuda {

using Stream = void*;  // a cudaStream_t

// GPUs that the driver shows. Throws DeviceError where there is no driver, or one that is too old for this build.
int count_devices();

// Throws DeviceError where these kernels were not compiled for the calling thread's GPU.
void check_image();

// float32 or float16 values, as networks give and take them.
struct Values {
  const void* data = nullptr;
  bool is_half = false;
};

// ---- letterbox

enum class PixelFormat { kBgr, kNv12 };

// A frame on the device. NV12: the second plane has one U, V pair for each 2 x 2 pixels; sides are even.
struct DeviceFrame {
  const uint8_t* pixels = nullptr;
  int64_t row_stride = 0;  // bytes
  PixelFormat format = PixelFormat::kBgr;
  const uint8_t* chroma = nullptr;
  int64_t chroma_stride = 0;
  bool bt709 = false;       // the matrix of NV12: BT.709, else BT.601
  bool full_range = false;  // 0 to 255, else 16 to 235
};

// (3, input_h, input_w), in float32 or float16. Equal to letterbox() of the CPU, bit for bit; float16 is that rounded.
void letterbox(const DeviceFrame& frame, const Letterbox& geometry, const LetterboxValues& values, void* out,
               bool is_half, Stream stream);

// ---- decoders: from raw outputs to candidates

// What a decoder appends to. A key is score_key(score, anchor * num_classes + class); they come in no order.
struct CandidateBuffers {
  uint64_t* keys = nullptr;     // (capacity)
  float* boxes = nullptr;       // (anchors, 4) xyxy in input pixels; written where an anchor has a candidate
  int32_t* counters = nullptr;  // (2) candidates found, anchors dropped: 0 before, and again after select_best()
  int64_t capacity = 0;  // beyond it candidates are lost, which the counter tells; the worst case never loses any
};

struct AnchorFilter {
  float score_threshold = 0.25f;
  bool multi_label = false;
  const uint8_t* class_mask = nullptr;  // (num_classes) on the device, 0 = not considered; nullptr = all are
};

inline constexpr int kMostLevels = 8;

// (4 + nc + e, A): cx cy w h, class scores.
void decode_channels(Values output, int64_t num_anchors, int64_t num_classes, const AnchorFilter& filter,
                     const CandidateBuffers& out, Stream stream);

enum class RowBox { kCxcywh, kXyxy, kGrid };

struct RowsShape {
  int64_t num_anchors = 0;
  int64_t num_columns = 0;
  int64_t num_classes = 0;
  bool objectness = true;
  RowBox box = RowBox::kCxcywh;
  int num_levels = 0;  // kGrid only
  int64_t strides[kMostLevels] = {};
  int64_t input_h = 0;
  int64_t input_w = 0;
};

// (A, C): box, [objectness], class scores.
void decode_rows(Values output, const RowsShape& shape, const AnchorFilter& filter, const CandidateBuffers& out,
                 Stream stream);

inline constexpr int kMostAnchorBoxes = 8;

// One raw head with objectness: (boxes * (5 + nc), grid_h, grid_w) logits.
struct RawHead {
  Values logits;
  int64_t num_boxes = 0;
  int64_t grid_h = 0;
  int64_t grid_w = 0;
  float anchors[2 * kMostAnchorBoxes] = {};  // widths and heights, pixels
  float scale_xy = 1.0f;
};

struct RawHeads {
  RawHead heads[kMostLevels];
  int num_heads = 0;
  int64_t num_classes = 0;
  int64_t input_h = 0;
  int64_t input_w = 0;
  bool is_v5 = false;  // else darknet's formula
  bool objectness_times_class = true;
};

void decode_heads(const RawHeads& heads, const AnchorFilter& filter, const CandidateBuffers& out, Stream stream);

// Raw levels of an anchor-free head: (4 * bins + nc + extras, grid_h, grid_w) logits.
struct DistanceLevels {
  struct Level {
    Values logits;
    int64_t grid_h = 0;
    int64_t grid_w = 0;
  };
  Level levels[kMostLevels];
  int num_levels = 0;
  int64_t num_classes = 0;
  int64_t num_bins = 16;
  int64_t input_h = 0;
  int64_t input_w = 0;
};

void decode_distances(const DistanceLevels& levels, const AnchorFilter& filter, const CandidateBuffers& out,
                      Stream stream);

// boxes (Q, 4) normalised cxcywh, logits (Q, columns >= nc).
void decode_queries(Values boxes, Values logits, int64_t num_queries, int64_t num_columns, int64_t num_classes,
                    int64_t input_h, int64_t input_w, const AnchorFilter& filter, const CandidateBuffers& out,
                    Stream stream);

// Finished rows: x1 y1 x2 y2 score class.
void decode_final(Values rows, int64_t num_rows, int64_t num_columns, int64_t num_classes, const AnchorFilter& filter,
                  const CandidateBuffers& out, Stream stream);

// ---- non-maximum suppression

inline constexpr int64_t kMostDetections = 1024;

struct SuppressionRule {
  bool suppress = true;  // else only the best are taken, in order
  bool agnostic = false;
  float iou_threshold = 0.7f;
  int64_t max_candidates = 30000;  // the best so many are looked at
  int64_t max_detections = 300;
};

struct Selection {
  uint64_t* keys = nullptr;   // (max_detections) of those kept, best first
  int32_t* header = nullptr;  // (3): kept, candidates found, anchors dropped
};

// Keeps the best candidates, as nms() of the CPU does, and sets the counters to 0.
void select_best(const CandidateBuffers& candidates, int64_t num_classes, const SuppressionRule& rule,
                 const Selection& out, Stream stream);

// Keys of boxes (N, 4), scores (N), class_ids (N) or null, for select_best with num_classes 1: rows that are not finite
// are left out. `counters` must be 0.
void collect_boxes(const float* boxes, const float* scores, int64_t count, const CandidateBuffers& out, Stream stream);
void select_boxes(const CandidateBuffers& candidates, const int32_t* class_ids, const SuppressionRule& rule,
                  const Selection& out, Stream stream);

// ---- results

// Where the values lie that an anchor has beside its box and classes.
struct AnchorExtras {
  struct Level {
    Values values;  // of anchor `first_anchor`, extra 0
    int64_t first_anchor = 0;
    int64_t anchor_step = 1;
    int64_t extra_step = 1;
    int64_t grid_w = 0;   // raw keypoints only
    float stride = 0.0f;  // raw keypoints only: input pixels a cell
  };
  Level levels[kMostLevels];
  int num_levels = 0;
  int64_t num_coeffs = 0;
  int64_t num_keypoints = 0;
  int64_t keypoint_width = 3;  // x, y and a visibility, or x and y
  bool raw_keypoints = false;  // in halves of a cell from its centre, visibility a logit
};

// Rows of the results, `capacity` of each; what is null is not written.
struct Detections {
  int32_t* header = nullptr;  // (4): detections, candidates found, anchors dropped, words of all masks
  float* boxes = nullptr;     // (capacity, 4) frame pixels, clipped
  float* scores = nullptr;
  int32_t* class_ids = nullptr;
  int32_t* anchors = nullptr;
  float* keypoints = nullptr;  // (capacity, K, 3) frame pixels, visibility
  float* coeffs = nullptr;     // (capacity, num_coeffs), for the masks
  int32_t* crops = nullptr;    // (capacity, 4) of the masks
  int32_t* words = nullptr;    // (capacity + 1) where each mask begins in the packed bits
  int64_t capacity = 0;
};

// From a selection to rows in frame pixels: boxes outside the frame, and rows whose extras are not finite, are left
// out. `copy` takes the same rows once more, such as for the host in pinned memory; its capacity is that of `out`.
void gather_detections(const Selection& selection, const float* anchor_boxes, int64_t num_classes,
                       const AnchorExtras& extras, const Letterbox& geometry, const Detections& out,
                       const Detections& copy, Stream stream);

// ---- masks

struct DevicePrototypes {
  Values values;  // (count, height, width)
  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// Bits of the masks, packed into words row by row of each crop, the leftmost pixel in bit 0. Words beyond `capacity`
// are not written; header[3] tells how many there would be.
void assemble_masks(const Detections& detections, const DevicePrototypes& prototypes, const Letterbox& geometry,
                    uint32_t* bits, int64_t capacity, Stream stream);

// Run lengths of masks, `capacity` of each.
struct RunLengths {
  uint32_t* lengths = nullptr;  // (masks, capacity)
  int32_t* counts = nullptr;    // (masks): how many there are, also where there was room for fewer
  int64_t capacity = 0;
};

// COCO's run lengths of packed masks: column by column of the frame, the first run of zeros, together the frame's
// pixels (below 2**32). A mask whose words lie beyond `num_words` gets 0 of them.
void encode_rle(const Detections& detections, const uint32_t* bits, int64_t num_words, int64_t frame_h, int64_t frame_w,
                const RunLengths& out, Stream stream);

// inverse letterbox of (N, 2k) x, y pairs; out may be the input
void inverse_letterbox(const float* pairs, int64_t num_pairs, const Letterbox& geometry, bool clip, float* out,
                       Stream stream);

}  // namespace yolokkn::cuda
