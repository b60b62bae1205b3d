"""The doors of the CUDA kernels, under the names of their CPU twins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolokkn.geometry import Letterbox
from yolokkn.ops.cuda.arrays import AnchorExtras, CandidateBuffers, DetectionBuffers, DeviceArray, Selection


class CudaKernels:
    """CUDA kernels on arrays that the GPU sees; made by `yolokkn.ops.cuda.kernels`.

    Every call queues work on a stream and returns: nothing is allocated, waited for or read back, so that any sequence of
    them can be captured into a CUDA graph. Arrays are whatever has `__cuda_array_interface__`, float32 where nothing else is
    said. A stream is its handle (0: the default one) or a stream of PyTorch, CuPy or PyCUDA. Decoders take the arguments of
    their twins in `yolokkn.ops` and follow the same rules; results are equal, indices exactly and boxes and scores bit
    for bit where the input is float32.

    Every method raises TypeError for what is no such array or has a wrong dtype, ValueError for a wrong shape or value,
    and DeviceError where CUDA refuses the work.

    Args:
        native: The compiled module.
    """

    def __init__(self, native: Any) -> None:
        self._native = native

    def count_devices(self) -> int:
        """Return how many GPUs the driver shows.

        Raises:
            DeviceError: There is no driver, or one that is too old for this build.
        """
        count: int = self._native.count_devices()
        return count

    def check_image(self) -> None:
        """Raise DeviceError where the kernels were not compiled for this thread's GPU."""
        self._native.check_image()

    def letterbox(
        self,
        image: Any,
        geometry: Letterbox,
        *,
        out: Any,
        swap_rb: bool = True,
        scale: Sequence[float] = (1 / 255,) * 3,
        offset: Sequence[float] = (0.0,) * 3,
        pad_value: int = 114,
        keep_padding: bool = False,
        matrix: str = "bt601",
        full_range: bool = False,
        stream: Any = 0,
    ) -> None:
        """Resize, pad, split into planes and scale a frame; see `yolokkn.ops.letterbox`.

        Args:
            image: (H, W, 3) uint8 BGR, rows may lie apart; or NV12 as two arrays, (H, W) and (H / 2, W) uint8, even sides.
            geometry: Where the content lies in the input.
            out: (3, input_h, input_w) float32 or float16.
            swap_rb: Whether plane 0 is red.
            scale: Factor of each plane.
            offset: Added to each plane.
            pad_value: What surrounds the content, 0 to 255.
            keep_padding: Leave what surrounds the content as an earlier call wrote it.
            matrix: Of NV12: "bt601" or "bt709".
            full_range: Of NV12: luma from 0 to 255, else from 16 to 235.
            stream: Where it is queued.
        """
        self._native.letterbox(
            image, geometry, swap_rb, tuple(scale), tuple(offset), pad_value, out, keep_padding, matrix, full_range, stream
        )  # fmt: skip

    def decode_channels(
        self,
        output: Any,
        num_classes: int,
        *,
        candidates: CandidateBuffers,
        score_threshold: float = 0.25,
        multi_label: bool = False,
        class_mask: Any = None,
        stream: Any = 0,
    ) -> None:
        """Decode a channel-major output (4+nc+e, A), float32 or float16; see `yolokkn.ops.decode_channels`."""
        options = (candidates, score_threshold, multi_label, class_mask, stream)
        self._native.decode_channels(output, num_classes, options)

    def decode_rows(
        self,
        output: Any,
        num_classes: int,
        *,
        objectness: bool,
        candidates: CandidateBuffers,
        box_format: str = "cxcywh",
        strides: Sequence[int] = (8, 16, 32),
        input_hw: tuple[int, int] | None = None,
        score_threshold: float = 0.25,
        multi_label: bool = False,
        class_mask: Any = None,
        stream: Any = 0,
    ) -> None:
        """Decode an output with one row an anchor, (A, C), float32 or float16; see `yolokkn.ops.decode_rows`."""
        options = (candidates, score_threshold, multi_label, class_mask, stream)
        self._native.decode_rows(output, num_classes, objectness, box_format, list(strides), input_hw, options)

    def decode_heads(
        self,
        heads: Sequence[Any],
        num_classes: int,
        *,
        anchors: Sequence[Sequence[Sequence[float]]],
        input_hw: tuple[int, int],
        candidates: CandidateBuffers,
        formula: str = "darknet",
        scale_xy: float | Sequence[float] = 1.0,
        objectness_times_class: bool = True,
        score_threshold: float = 0.25,
        multi_label: bool = False,
        class_mask: Any = None,
        stream: Any = 0,
    ) -> None:
        """Decode raw heads with objectness, float32 or float16, up to 8; see `yolokkn.ops.decode_heads`."""
        options = (candidates, score_threshold, multi_label, class_mask, stream)
        spread = [float(scale_xy)] * len(heads) if isinstance(scale_xy, (int, float)) else [float(k) for k in scale_xy]
        sizes = [[(float(w), float(h)) for w, h in boxes] for boxes in anchors]
        self._native.decode_heads(
            list(heads), num_classes, sizes, input_hw, formula, spread, objectness_times_class, options
        )

    def decode_distances(
        self,
        levels: Sequence[Any],
        num_classes: int,
        *,
        input_hw: tuple[int, int],
        candidates: CandidateBuffers,
        num_bins: int = 16,
        score_threshold: float = 0.25,
        multi_label: bool = False,
        class_mask: Any = None,
        stream: Any = 0,
    ) -> None:
        """Decode raw levels of an anchor-free head, float32 or float16, up to 8; see `yolokkn.ops.decode_distances`."""
        options = (candidates, score_threshold, multi_label, class_mask, stream)
        self._native.decode_distances(list(levels), num_classes, input_hw, num_bins, options)

    def decode_queries(
        self,
        boxes: Any,
        logits: Any,
        num_classes: int,
        *,
        input_hw: tuple[int, int],
        candidates: CandidateBuffers,
        score_threshold: float = 0.25,
        multi_label: bool = True,
        class_mask: Any = None,
        stream: Any = 0,
    ) -> None:
        """Decode DETR's queries, float32 or float16; see `yolokkn.ops.decode_queries`. The top k are `select_best`'s."""
        options = (candidates, score_threshold, multi_label, class_mask, stream)
        self._native.decode_queries(boxes, logits, num_classes, input_hw, options)

    def decode_table(
        self,
        rows: Any,
        num_classes: int,
        *,
        candidates: CandidateBuffers,
        score_threshold: float = 0.25,
        class_mask: Any = None,
        stream: Any = 0,
    ) -> None:
        """Decode finished rows x1 y1 x2 y2 score class ..., float32 or float16; see `yolokkn.ops.decode_table`."""
        self._native.decode_table(rows, num_classes, (candidates, score_threshold, False, class_mask, stream))

    def select_best(
        self,
        candidates: CandidateBuffers,
        num_classes: int,
        *,
        selection: Selection,
        suppress: bool = True,
        agnostic: bool = False,
        iou_threshold: float = 0.7,
        max_candidates: int = 30000,
        max_detections: int = 300,
        stream: Any = 0,
    ) -> None:
        """Keep the best candidates, each overlapping no better one of its class too much, as `yolokkn.ops.nms` does.

        Equal scores are ordered by anchor, then class. The counters of `candidates` become 0 for the next frame.

        Args:
            candidates: What a decoder gave.
            num_classes: As the decoder was told.
            selection: Takes what stays; room for max_detections.
            suppress: False: take the best in order, whatever they overlap.
            agnostic: Suppress across classes.
            iou_threshold: Within [0, 1].
            max_candidates: Only so many of the best are looked at.
            max_detections: Within 1 and 1024.
            stream: Where it is queued.
        """
        self._native.select_best(
            candidates, num_classes, suppress, agnostic, iou_threshold, max_candidates, max_detections, selection, stream
        )  # fmt: skip

    def nms(
        self,
        boxes: Any,
        scores: Any,
        class_ids: Any = None,
        *,
        keys: DeviceArray,
        counters: DeviceArray,
        selection: Selection,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
        stream: Any = 0,
    ) -> None:
        """Keep the best boxes; see `yolokkn.ops.nms`. The rows kept are the lower halves of `selection.keys`.

        Args:
            boxes: (N, 4) float32 xyxy.
            scores: (N,) float32.
            class_ids: (N,) int32; None: every box is of one class.
            keys: (N,) uint64 or more: workspace.
            counters: (2,) int32, 0 before the first call: workspace.
            selection: Takes what stays; room for max_detections.
            iou_threshold: Within [0, 1].
            max_detections: Within 1 and 1024.
            stream: Where it is queued.
        """
        self._native.nms(
            boxes, scores, class_ids, iou_threshold, max_detections, keys, counters, selection, stream
        )  # fmt: skip

    def gather_detections(
        self,
        selection: Selection,
        candidates: CandidateBuffers,
        num_classes: int,
        geometry: Letterbox,
        *,
        detections: DetectionBuffers,
        copy: DetectionBuffers | None = None,
        extras: AnchorExtras | None = None,
        stream: Any = 0,
    ) -> None:
        """Write the selected rows in frame pixels: boxes, scores, classes, keypoints, mask coefficients and crops.

        Boxes outside the frame are left out, and so are rows whose extras are not finite, which count as dropped.

        Args:
            selection: What `select_best` kept.
            candidates: Whose boxes it selected from.
            num_classes: As the decoder was told.
            geometry: How the frame lies in the input.
            detections: Takes the rows; as many at most as it has room for.
            copy: Takes the same rows once more, such as in pinned memory for the host; of as many rows.
            extras: Where mask coefficients and keypoints lie; None: there are none.
            stream: Where it is queued.
        """
        extras = extras or AnchorExtras()
        levels = tuple(
            (e.values, e.first_anchor, e.anchor_step, e.extra_step, e.first_value, e.grid_w, e.stride)
            for e in extras.levels
        )
        self._native.gather_detections(
            selection, candidates, num_classes, levels, extras.num_coeffs, extras.num_keypoints, extras.keypoint_width,
            extras.raw_keypoints, geometry, detections, copy, stream,
        )  # fmt: skip

    def assemble_masks(
        self, detections: DetectionBuffers, prototypes: Any, geometry: Letterbox, *, bits: DeviceArray, stream: Any = 0
    ) -> None:
        """Assemble masks inside their boxes, packed; see `yolokkn.ops.assemble_masks`.

        Mask n has the words from `detections.words[n]` on, row after row of its crop, the leftmost pixel in bit 0 of a
        row's first word. What does not fit into `bits` is not written; `detections.header[3]` tells how many words there are.

        Args:
            detections: What `gather_detections` wrote, with mask_coeffs, crops and words.
            prototypes: (P, h, w) float32 or float16.
            geometry: How the frame lies in the input.
            bits: (capacity,) uint32.
            stream: Where it is queued.
        """
        self._native.assemble_masks(detections, prototypes, geometry, bits, stream)

    def encode_rle(
        self,
        detections: DetectionBuffers,
        bits: DeviceArray,
        frame_hw: tuple[int, int],
        *,
        lengths: DeviceArray,
        counts: DeviceArray,
        stream: Any = 0,
    ) -> None:
        """Write COCO's run lengths of packed masks, uncompressed; those of `yolokkn.ops.encode_rle`.

        Runs go down the frame's columns, the first one of zeros, and sum to the frame's pixels. `yolokkn.ops.decode_rle` and
        pycocotools' `frPyObjects` take `lengths[n, : counts[n]]` as "counts".

        Args:
            detections: What `gather_detections` wrote, with crops and words.
            bits: (words,) uint32: what `assemble_masks` wrote; read twice, so rather on the GPU than in pinned memory.
            frame_hw: Height and width of the frame, fewer than 2**32 pixels.
            lengths: (capacity, most) uint32: row n takes mask n's runs, as many as there is room for.
            counts: (capacity,) int32: how many runs each mask has, also where that is more than `most`; 0 where `bits`
                had no room for the mask. Only the masks of this frame are written.
            stream: Where it is queued.
        """
        self._native.encode_rle(detections, bits, frame_hw, lengths, counts, stream)

    def inverse_letterbox(
        self, boxes: Any, geometry: Letterbox, *, out: Any, clip: bool = True, stream: Any = 0
    ) -> None:
        """Map (N, 2k) x, y pairs back to frame pixels; see `yolokkn.ops.inverse_letterbox`. `out` may be `boxes`."""
        self._native.inverse_letterbox(boxes, geometry, clip, out, stream)
