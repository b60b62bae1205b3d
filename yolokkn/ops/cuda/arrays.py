"""Arrays on the GPU: what the CUDA kernels write into, and what other libraries take from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from yolokkn.ops.cuda import dlpack

Allocate = Callable[[int], "Memory"]


class Memory(Protocol):
    """A piece of memory that the GPU sees, freed with the object."""

    @property
    def pointer(self) -> int | None:
        """Its address."""


class Order(Protocol):
    """A stream that others can be made to wait for, such as `yolokkn.runtime.cuda_device.Stream`."""

    @property
    def number(self) -> int:
        """Its handle."""

    def hold_back(self, other: int) -> None:
        """Let another stream, by its handle, wait for what is queued so far."""


@dataclass(frozen=True)
class DeviceArray:
    """A C-contiguous array in memory that the GPU sees. PyTorch, CuPy, PyCUDA and Numba take it as it is.

    Attributes:
        pointer: Address of its first value.
        shape: Its extents.
        dtype: Of its values.
        owner: Kept alive as long as the array.
        device: The GPU's number.
        stream: Where it is written, so that who takes it waits for that; None: whoever takes it sees to the order.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    owner: object = None
    device: int = 0
    stream: Order | None = None

    @classmethod
    def from_dlpack(cls, array: Any, stream: int | None = None) -> DeviceArray:
        """Take an array of another library (PyTorch, CuPy, JAX ...) without a copy; it is kept as long as this one.

        Args:
            array: What has `__dlpack__`; C-contiguous, on a GPU.
            stream: Where it will be used: its giver makes that stream wait for what it still computes. None: the default one.

        Raises:
            TypeError: It is on no GPU, or holds no plain numbers.
            ValueError: It is not C-contiguous.
        """
        kind = array.__dlpack_device__()[0]
        if kind != dlpack.CUDA:
            raise TypeError(f"from_dlpack: array must be on an NVIDIA GPU, got one on DLPack's device {int(kind)}")
        taken = dlpack.Taken(array.__dlpack__(stream=1 if stream is None else stream))
        return cls(taken.pointer, taken.shape, taken.dtype, taken, taken.device)

    def __dlpack__(
        self,
        stream: int | None = None,
        *,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        """Give the array to another library, never a copy.

        Args:
            stream: Where it will be used, which is made to wait for the array's own stream; None and 1: the default one, 2: the
                thread's default one, -1: nobody is to wait.
            max_version: The newest DLPack that the taker reads; an older one is given, which every taker reads.
            dl_device: Where the taker wants it.
            copy: True cannot be had.

        Raises:
            BufferError: A copy, or another device, is wanted.
            ValueError: The stream is 0, which DLPack does not allow.
        """
        if copy:
            raise BufferError("__dlpack__: copy must be None or False, got True; copy the array in the other library")
        if dl_device is not None and (int(dl_device[0]), int(dl_device[1])) != self.__dlpack_device__():
            raise BufferError(f"__dlpack__: dl_device must be {self.__dlpack_device__()}, got {tuple(dl_device)}")
        if stream == 0:
            raise ValueError("__dlpack__: stream must be 1 for the default stream, got 0")
        if self.stream is not None and stream != -1:
            self.stream.hold_back(1 if stream is None else stream)
        return dlpack.give(self.pointer, self.shape, self.dtype, self.device, self)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's kind of device and the GPU's number."""
        return dlpack.CUDA, self.device

    @classmethod
    def allocate(cls, shape: Sequence[int], dtype: Any, allocate: Allocate) -> DeviceArray:
        """Return a new array; its values are whatever was there.

        Args:
            shape: Its extents.
            dtype: Of its values.
            allocate: Gives a `Memory` of so many bytes, such as `yolokkn.runtime.cuda_device.DeviceBuffer`.
        """
        kind = np.dtype(dtype)
        memory = allocate(max(int(np.prod(shape, dtype=np.int64)) * kind.itemsize, 1))
        pointer, extents = int(memory.pointer or 0), tuple(int(n) for n in shape)
        return cls(pointer, extents, kind, memory, getattr(memory, "device", 0))

    @property
    def num_bytes(self) -> int:
        """Its size."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The array for others, version 3; they wait for its stream, where it has one."""
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None,
            "version": 3,
            "stream": None if self.stream is None else self.stream.number,
        }

    def __getitem__(self, index: int) -> DeviceArray:
        """Return one item of the first dimension, such as one picture of a batch; it shares the memory."""
        if not self.shape or not 0 <= index < self.shape[0]:
            raise IndexError(f"DeviceArray: index must be within the first dimension of {self.shape}, got {index}")
        rest = DeviceArray(0, self.shape[1:], self.dtype)
        return DeviceArray(
            self.pointer + index * rest.num_bytes, rest.shape, self.dtype, self, self.device, self.stream
        )

    def reshape(self, *shape: int) -> DeviceArray:
        """Return the same memory with another shape of as many values."""
        if int(np.prod(shape, dtype=np.int64)) != int(np.prod(self.shape, dtype=np.int64)):
            raise ValueError(f"DeviceArray.reshape: shape must have as many values as {self.shape}, got {shape}")
        return DeviceArray(self.pointer, shape, self.dtype, self, self.device, self.stream)


@dataclass(frozen=True)
class CandidateBuffers:
    """What the decoders append to, and `select_best` takes from.

    Attributes:
        keys: (capacity,) uint64: the score's rank in the upper half, anchor * num_classes + class in the lower; in no order.
        boxes: (anchors, 4) float32 xyxy, input pixels; written where an anchor has a candidate.
        counters: (2,) int32: candidates found, anchors dropped. They must be 0 before a frame; `select_best` leaves them so.
    """

    keys: DeviceArray
    boxes: DeviceArray
    counters: DeviceArray

    @classmethod
    def allocate(cls, num_anchors: int, capacity: int, allocate: Allocate) -> CandidateBuffers:
        """Return buffers; the caller sets the counters to 0 once.

        Args:
            num_anchors: Anchors of the model at this input size.
            capacity: Room for candidates: num_anchors, or num_anchors * classes with `multi_label`, never loses any.
            allocate: As in `DeviceArray.allocate`.
        """
        return cls(
            DeviceArray.allocate((capacity,), np.uint64, allocate),
            DeviceArray.allocate((num_anchors, 4), np.float32, allocate),
            DeviceArray.allocate((2,), np.int32, allocate),
        )


@dataclass(frozen=True)
class Selection:
    """The candidates that stay.

    Attributes:
        keys: (max_detections,) uint64, best first, as in `CandidateBuffers`.
        header: (3,) int32: how many stay, candidates found, anchors dropped.
    """

    keys: DeviceArray
    header: DeviceArray

    @classmethod
    def allocate(cls, max_detections: int, allocate: Allocate) -> Selection:
        """Return room for so many."""
        return cls(
            DeviceArray.allocate((max_detections,), np.uint64, allocate),
            DeviceArray.allocate((3,), np.int32, allocate),
        )


@dataclass(frozen=True)
class DetectionBuffers:
    """Rows of results, in memory of the GPU or in pinned memory of the host; what is None is not written.

    Attributes:
        header: (4,) int32: detections, candidates found, anchors dropped, words of all masks together.
        boxes: (capacity, 4) float32 xyxy, frame pixels, clipped.
        scores: (capacity,) float32.
        class_ids: (capacity,) int32.
        anchor_index: (capacity,) int32.
        keypoints: (capacity, K, 3) float32: x, y in frame pixels, visibility.
        mask_coeffs: (capacity, P) float32.
        crops: (capacity, 4) int32: the pixels of each mask, x1 y1 x2 y2, the last two exclusive.
        words: (capacity + 1,) int32: where each mask begins among the packed words.
    """

    header: DeviceArray
    boxes: DeviceArray
    scores: DeviceArray
    class_ids: DeviceArray
    anchor_index: DeviceArray | None = None
    keypoints: DeviceArray | None = None
    mask_coeffs: DeviceArray | None = None
    crops: DeviceArray | None = None
    words: DeviceArray | None = None


@dataclass(frozen=True)
class ExtraLevel:
    """Where the extras of some anchors lie in a raw output.

    Attributes:
        values: float32 or float16, any shape.
        first_anchor: The first anchor that it holds.
        anchor_step: Values from an anchor to the next.
        extra_step: Values from an extra to the next.
        first_value: Index of extra 0 of the first anchor.
        grid_w: Columns of the grid; raw keypoints only.
        stride: Input pixels a cell; raw keypoints only.
    """

    values: Any
    first_anchor: int
    anchor_step: int
    extra_step: int
    first_value: int
    grid_w: int = 1
    stride: float = 1.0


@dataclass(frozen=True)
class AnchorExtras:
    """What anchors have beside boxes and classes: mask coefficients, then keypoints.

    Attributes:
        levels: Where they lie, by ascending anchors.
        num_coeffs: Mask coefficients an anchor.
        num_keypoints: Keypoints an anchor.
        keypoint_width: Values a keypoint: x, y, visibility, or x, y.
        raw_keypoints: x, y in halves of a cell from its centre and the visibility a logit, as this project's raw heads give.
    """

    levels: tuple[ExtraLevel, ...] = ()
    num_coeffs: int = 0
    num_keypoints: int = 0
    keypoint_width: int = 3
    raw_keypoints: bool = False
