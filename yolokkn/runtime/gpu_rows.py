"""Rows of results, which the GPU writes into memory of the host."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.layouts.base import AnchorPlaces
from yolokkn.ops.cuda import DetectionBuffers, DeviceArray
from yolokkn.ops.masks import unpack_masks
from yolokkn.runtime.cuda_device import DeviceBuffer, PinnedArray
from yolokkn.types import Detections

_ALIGNMENT = 256  # bytes
_MOST_WORDS = 2**31 - 1  # the kernels count them in int32
_MASK_FRAMES = 4  # at first, room for masks of so many whole frames


class ResultRows:
    """Room for the detections of a frame, in pinned memory: kernels write there, so that nothing is copied afterwards.

    Only what is there crosses the bus, rows and bits of masks alike; what the kernel of the masks reads lies on the GPU too.

    Args:
        capacity: Rows.
        places: What the layout has beside boxes and classes.
        frame_hw: Height and width of the frame.

    Raises:
        ValueError: Masks of so many whole frames are more than the kernels can count.

    Attributes:
        device: What `gather_detections` writes: on the GPU for a layout with masks, else in pinned memory.
        copy: The same rows in pinned memory, for a layout with masks.
        bits: (words,) uint32 for the masks, in pinned memory.
    """

    def __init__(self, capacity: int, places: AnchorPlaces, frame_hw: tuple[int, int]) -> None:
        self._frame_hw = frame_hw
        words = capacity * frame_hw[0] * -(-frame_hw[1] // 32)
        if places.prototypes is not None and words > _MOST_WORDS:
            raise ValueError(
                f"ResultRows: masks of {capacity} detections of a {frame_hw[0]} x {frame_hw[1]} frame must fit {_MOST_WORDS} "
                f"words of 32 pixels, got up to {words}; ask for fewer detections (max_detections)"
            )
        extras, has_masks = places.extras, places.prototypes is not None
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "header": ((4,), np.int32),
            "boxes": ((capacity, 4), np.float32),
            "scores": ((capacity,), np.float32),
            "class_ids": ((capacity,), np.int32),
        }
        if extras.num_keypoints:
            shapes["keypoints"] = ((capacity, extras.num_keypoints, 3), np.float32)
        if has_masks:
            shapes["crops"] = ((capacity, 4), np.int32)
            shapes["words"] = ((capacity + 1,), np.int32)
        offsets, size = {}, 0
        for name, (shape, dtype) in shapes.items():
            offsets[name] = size
            num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            size += -(-num_bytes // _ALIGNMENT) * _ALIGNMENT
        self._block = PinnedArray((size,), np.dtype(np.uint8))
        self._host = {name: _view(self._block.array, offsets[name], *shapes[name]) for name in shapes}
        first = self._block.pointer or 0
        pinned = DetectionBuffers(
            **{
                name: DeviceArray(first + offsets[name], shape, np.dtype(dtype), self._block, self._block.device)
                for name, (shape, dtype) in shapes.items()
            }
        )
        self.device, self.copy = pinned, None
        if has_masks:
            shapes.pop("keypoints", None)
            shapes["mask_coeffs"] = ((capacity, extras.num_coeffs), np.float32)
            arrays = {name: DeviceArray.allocate(*shape, DeviceBuffer) for name, shape in shapes.items()}
            self.device, self.copy = DetectionBuffers(**arrays), pinned
        self._make_bits(_MASK_FRAMES * frame_hw[0] * (frame_hw[1] // 32 + 1) if has_masks else 1)

    def detections(self, class_names: tuple[str, ...]) -> Detections:
        """Return the rows of the last frame, in arrays of the caller's own; the stream must have been waited for."""
        count, _, dropped, _ = self._host["header"].tolist()
        rows = {name: value[:count].copy() for name, value in self._host.items() if name not in ("header", "words")}
        masks = None
        if "crops" in rows:
            masks = unpack_masks(self._bits.array, self._host["words"], rows["crops"], self._frame_hw)
        return Detections(
            rows["boxes"],
            rows["scores"],
            rows["class_ids"],
            masks=masks,
            keypoints=rows.get("keypoints"),
            class_names=class_names,
            num_dropped=dropped,
        )

    def grow(self) -> bool:
        """Make more room for the masks where those of the last frame had too little; tells whether it did."""
        wanted = int(self._host["header"][3])
        if wanted <= self.bits.shape[0]:
            return False
        self._make_bits(wanted + wanted // 2)
        return True

    def _make_bits(self, num_words: int) -> None:
        self._bits = PinnedArray((num_words,), np.dtype(np.uint32))
        self.bits = DeviceArray(
            self._bits.pointer or 0, (num_words,), np.dtype(np.uint32), self._bits, self._bits.device
        )


def _view(block: np.ndarray, offset: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return block[offset : offset + num_bytes].view(dtype).reshape(shape)
