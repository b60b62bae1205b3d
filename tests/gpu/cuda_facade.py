"""The CUDA kernels behind the doors of `yolokkn.ops`: arrays of NumPy in and out, so that one test body runs them all."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.ops.mask_cases import pack_masks
from yolokkn.geometry import Letterbox
from yolokkn.ops import Candidates
from yolokkn.ops.cuda import CandidateBuffers, CudaKernels, DetectionBuffers, DeviceArray, Selection
from yolokkn.runtime.cuda_device import DeviceBuffer, Stream
from yolokkn.types import Masks


class CudaOps:
    """Doors like those of `yolokkn.ops`, each of which waits for its result."""

    def __init__(self, kernels: CudaKernels) -> None:
        self.kernels = kernels
        self.stream = Stream()

    def upload(self, array: np.ndarray) -> DeviceArray:
        """A copy on the device."""
        dense = np.ascontiguousarray(array)
        target = DeviceArray.allocate(dense.shape, dense.dtype, DeviceBuffer)
        self.stream.copy(target.pointer, dense.ctypes.data, dense.nbytes)
        self.stream.synchronize()
        return target

    def download(self, array: DeviceArray) -> np.ndarray:
        """A copy on the host."""
        result = np.empty(array.shape, array.dtype)
        self.stream.copy(result.ctypes.data, array.pointer, result.nbytes)
        self.stream.synchronize()
        return result

    def candidates(self, num_anchors: int, capacity: int) -> CandidateBuffers:
        """Buffers whose counters are 0."""
        buffers = CandidateBuffers.allocate(num_anchors, capacity, DeviceBuffer)
        return CandidateBuffers(buffers.keys, buffers.boxes, self.upload(np.zeros(2, np.int32)))

    def letterbox(self, image: Any, geometry: Letterbox, *, dtype: Any = np.float32, **options: Any) -> np.ndarray:
        """`yolokkn.ops.letterbox`; NV12 is a tuple of two arrays."""
        out = self.upload(np.full((3, *geometry.input_hw), -7, dtype))
        frame = tuple(map(self.upload, image)) if isinstance(image, tuple) else self.upload(image)
        self.kernels.letterbox(frame, geometry, out=out, stream=self.stream.number, **options)
        return self.download(out)

    def _decode(self, name: str, num_anchors: int, num_classes: int, *inputs: Any, **options: Any) -> Candidates:
        limit = options.pop("max_candidates", 30000)
        mask = options.pop("class_mask", None)
        if mask is not None:
            options["class_mask"] = self.upload(mask.astype(np.uint8))
        buffers = self.candidates(num_anchors, num_anchors * num_classes)
        getattr(self.kernels, name)(*inputs, candidates=buffers, stream=self.stream.number, **options)
        found, dropped = self.download(buffers.counters).tolist()
        keys = np.sort(self.download(buffers.keys)[:found])[:limit]
        index = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        order = np.argsort(index)
        anchors, classes = np.divmod(index[order], max(num_classes, 1))
        ranks = (keys[order] >> np.uint64(32)).astype(np.uint32)
        scores = (~ranks & np.uint32(0x7FFFFFFF)).view(np.float32)
        boxes = self.download(buffers.boxes)[anchors]
        return Candidates(boxes, scores, classes.astype(np.int32), anchors, dropped)

    def decode_channels(self, output: np.ndarray, num_classes: int, **options: Any) -> Candidates:
        """`yolokkn.ops.decode_channels`."""
        shape = output.shape[1], num_classes
        return self._decode("decode_channels", *shape, self.upload(output), num_classes, **options)

    def decode_rows(self, output: np.ndarray, num_classes: int, **options: Any) -> Candidates:
        """`yolokkn.ops.decode_rows`."""
        shape = output.shape[0], num_classes
        return self._decode("decode_rows", *shape, self.upload(output), num_classes, **options)

    def decode_heads(self, heads: list[np.ndarray], num_classes: int, **options: Any) -> Candidates:
        """`yolokkn.ops.decode_heads`."""
        count = sum(h.size // (5 + num_classes) for h in heads)
        return self._decode("decode_heads", count, num_classes, list(map(self.upload, heads)), num_classes, **options)

    def decode_distances(self, levels: list[np.ndarray], num_classes: int, **options: Any) -> Candidates:
        """`yolokkn.ops.decode_distances`."""
        count = sum(level[0].size for level in levels)
        arrays = list(map(self.upload, levels))
        return self._decode("decode_distances", count, num_classes, arrays, num_classes, **options)

    def decode_queries(self, boxes: np.ndarray, logits: np.ndarray, num_classes: int, **options: Any) -> Candidates:
        """`yolokkn.ops.decode_queries`, which gives descending scores."""
        options["max_candidates"] = min(options.get("max_candidates", 30000), options.pop("top_k", 300))
        arrays = self.upload(boxes), self.upload(logits)
        found = self._decode("decode_queries", len(boxes), num_classes, *arrays, num_classes, **options)
        order = np.argsort(-found.scores, kind="stable")
        return Candidates(*(values[order] for values in found[:4]), found.num_dropped)

    def decode_table(self, rows: np.ndarray, num_classes: int, **options: Any) -> Candidates:
        """`yolokkn.ops.decode_table`."""
        return self._decode("decode_table", len(rows), num_classes, self.upload(rows), num_classes, **options)

    def nms(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray | None = None,
        *,
        iou_threshold: float = 0.7,
        max_detections: int = 300,
    ) -> np.ndarray:
        """`yolokkn.ops.nms`."""
        selection = Selection.allocate(max_detections, DeviceBuffer)
        work = self.candidates(1, max(len(boxes), 1))
        self.kernels.nms(
            self.upload(boxes), self.upload(scores), None if class_ids is None else self.upload(class_ids),
            keys=work.keys, counters=work.counters, selection=selection, iou_threshold=iou_threshold,
            max_detections=max_detections, stream=self.stream,
        )  # fmt: skip
        assert not self.download(work.counters).any()  # ready for the next frame
        kept = self.download(selection.header)[0]
        return (self.download(selection.keys)[:kept] & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def inverse_letterbox(self, boxes: np.ndarray, geometry: Letterbox, clip: bool = True) -> np.ndarray:
        """`yolokkn.ops.inverse_letterbox`."""
        array = self.upload(boxes)
        self.kernels.inverse_letterbox(array, geometry, out=array, clip=clip, stream=self.stream)
        return self.download(array)

    def packed_masks(
        self, coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox, missing_words: int = 0
    ) -> tuple[DetectionBuffers, DeviceArray]:
        """Rows on the device and their masks' bits; the crops come from the reference."""
        from yolokkn.ops.reference.masks import mask_crops

        crops = mask_crops(boxes, geometry.image_hw).astype(np.int32)
        rows = self._rows(crops, coeffs)
        num_words = int(self.download(rows.header)[3]) - missing_words
        bits = self.upload(np.full(max(num_words, 1), 0xABABABAB, np.uint32))
        self.kernels.assemble_masks(rows, self.upload(prototypes), geometry, bits=bits, stream=self.stream)
        return rows, bits

    def _rows(self, crops: np.ndarray, coeffs: np.ndarray | None = None) -> DetectionBuffers:
        sizes = crops[:, 2:] - crops[:, :2]
        words = np.concatenate([[0], np.cumsum((sizes[:, 0] + 31) // 32 * sizes[:, 1])]).astype(np.int32)
        header = np.array([len(crops), 0, 0, words[-1]], np.int32)
        places = self.upload(crops)
        return DetectionBuffers(
            self.upload(header), self.upload(crops.astype(np.float32)), self.upload(crops[:, 0].astype(np.float32)),
            self.upload(crops[:, 0]), mask_coeffs=None if coeffs is None else self.upload(coeffs), crops=places,
            words=self.upload(words),
        )  # fmt: skip

    def assemble_masks(
        self, coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox
    ) -> Masks:
        """`yolokkn.ops.assemble_masks`."""
        if not len(boxes):
            return Masks(np.zeros(0, np.uint8), np.zeros((0, 4), np.int32), geometry.image_hw)
        rows, bits = self.packed_masks(coeffs, prototypes, boxes, geometry)
        assert rows.words is not None and rows.crops is not None
        return unpack_masks(
            self.download(bits), self.download(rows.words), self.download(rows.crops), geometry.image_hw
        )

    def packed(self, masks: Masks, noise: bool = False, missing_words: int = 0) -> tuple[DetectionBuffers, DeviceArray]:
        """Masks as `assemble_masks` of the GPU leaves them; noise: with any bits behind the rows' last pixels."""
        bits, _ = pack_masks(masks)
        if noise:
            ones = Masks(np.ones_like(masks.data), masks.crops, masks.frame_hw)
            bits = bits | ~pack_masks(ones)[0]
        return self._rows(masks.crops), self.upload(bits[: len(bits) - missing_words])

    def run_lengths(
        self, rows: DetectionBuffers, bits: DeviceArray, frame_hw: tuple[int, int], count: int, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run lengths (count, most) and how many each mask has."""
        lengths = self.upload(np.full((count, most), 0xABABABAB, np.uint32))
        counts = self.upload(np.full(count, -7, np.int32))
        self.kernels.encode_rle(rows, bits, frame_hw, lengths=lengths, counts=counts, stream=self.stream)
        return self.download(lengths), self.download(counts)

    def encode_rle(
        self, masks: Masks, most: int | None = None, noise: bool = False, missing_words: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Run lengths of masks; most: room for each."""
        room = masks.frame_hw[0] * masks.frame_hw[1] + 1 if most is None else most
        rows, bits = self.packed(masks, noise, missing_words)
        return self.run_lengths(rows, bits, masks.frame_hw, len(masks), room)


def unpack_masks(bits: np.ndarray, words: np.ndarray, crops: np.ndarray, frame_hw: tuple[int, int]) -> Masks:
    """Bytes from packed bits."""
    parts = [np.zeros(0, np.uint8)]
    for crop, first, end in zip(crops, words, words[1:], strict=False):
        w, h = int(crop[2] - crop[0]), int(crop[3] - crop[1])
        if not w or not h:
            continue
        rows = bits[first:end].reshape(h, -1).view(np.uint8)
        parts.append(np.unpackbits(rows, axis=1, bitorder="little")[:, :w].ravel())
    return Masks(np.concatenate(parts), crops, frame_hw)
