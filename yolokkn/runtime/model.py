"""A model ready for pictures: a backend, a layout, and what to keep of the outputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from yolokkn import ops
from yolokkn.errors import did_you_mean
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions, TensorSpec
from yolokkn.runtime.backends import Backend
from yolokkn.runtime.backends.batching import BatchingBackend
from yolokkn.runtime.gpu_workspace import GpuWorkspace
from yolokkn.runtime.postprocess import postprocess
from yolokkn.types import Detections, RawOutputs

if TYPE_CHECKING:
    from yolokkn.layouts import Layout

SIZE_INPUT = "orig_target_sizes"  # RT-DETR's second input


@dataclass(frozen=True, repr=False)
class Model:
    """A loaded model. Call it with a picture; made by `yolokkn.load`.

    Safe to call from several threads.

    Attributes:
        name: The file's name.
        backend: What runs the network.
        picture: The input that takes the picture.
        layout: What its outputs mean.
        reason: Why this layout was chosen.
        options: What is kept of the outputs.
        class_names: Names by class id; numbers as text where the file names none.
        names_reason: Where the names come from.
        input_hw: Height and width of the input; the limit of both where `rectangular`.
        rectangular: The input follows the frame's aspect, padded to the stride (models of dynamic size).
        stride: Multiple that the sizes of a dynamic input must be.
        batch: Pictures in one run of the network.
        keeps_outputs: Results carry the network's raw outputs (`Detections.raw`).
    """

    name: str
    backend: Backend
    picture: TensorSpec
    layout: Layout
    reason: str
    options: DecodeOptions
    class_names: tuple[str, ...]
    names_reason: str
    input_hw: tuple[int, int]
    rectangular: bool
    stride: int
    batch: int
    keeps_outputs: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "_workspaces", threading.local())

    @overload
    def __call__(self, image: np.ndarray) -> Detections: ...
    @overload
    def __call__(self, image: Sequence[np.ndarray]) -> list[Detections]: ...
    def __call__(self, image: np.ndarray | Sequence[np.ndarray]) -> Detections | list[Detections]:
        """Detect in a picture or in each of a list.

        Args:
            image: (H, W, 3) uint8 BGR, as OpenCV gives; or a sequence of such.

        Returns:
            Detections in pixels of that picture, or a list of them.

        Raises:
            TypeError: An image is no uint8 array.
            ValueError: An image has another shape.
        """
        if isinstance(image, (list, tuple)):
            return [self.workspace().process(one) for one in image]
        return self.workspace().process(image)  # type: ignore[arg-type]

    def workspace(self) -> Workspace:
        """Return this thread's workspace, made at its first call."""
        local = self._workspaces  # type: ignore[attr-defined]
        if not hasattr(local, "workspace"):
            local.workspace = Workspace(self)
        return local.workspace

    def letterbox_for(self, image_hw: tuple[int, int]) -> Letterbox:
        """Return how a frame of this height and width lies in the input."""
        rule = self.layout.preprocess.rule
        if self.rectangular:
            return Letterbox.fit_rectangle(image_hw, self.input_hw, self.stride, rule)
        return Letterbox.fit(image_hw, self.input_hw, rule)

    def feeds(self, blob: np.ndarray, input_hw: tuple[int, int]) -> dict[str, np.ndarray]:
        """Return every input of the network for prepared pictures: (B, 3, h, w) float32."""
        typed = blob if self.picture.dtype == "float32" else blob.astype(self.picture.dtype)
        return {self.picture.name: typed} | size_input(self.backend, self.batch, input_hw)

    def with_options(self, **changes: Any) -> Model:
        """Return the same network with other DecodeOptions, such as `score_threshold=0.5` or `classes=["person", 2]`.

        Raises:
            ValueError: A value is out of its range, or there is no such class.
        """
        if changes.get("classes") is not None:
            changes["classes"] = tuple(self._class_id(c) for c in changes["classes"])
        options = replace(self.options, **changes)
        self.layout.class_mask(options)
        return replace(self, options=options)

    def _class_id(self, asked: int | str) -> int:
        if not isinstance(asked, str) or asked.isdecimal():
            return int(asked)
        if asked in self.class_names:
            return self.class_names.index(asked)
        raise ValueError(f"classes: {self.name} has no class {asked!r}{did_you_mean(asked, self.class_names)}")

    def __repr__(self) -> str:
        h, w = self.input_hw
        return f"<Model {self.name}: {self.layout.name}, {self.layout.task}, input {h} x {w}, {self.backend.name}>"

    def for_requests(self, num_requests: int) -> Model:
        """Return the same model with its threads shared among so many runs at once; see `Backend.for_requests`."""
        return replace(self, backend=self.backend.for_requests(num_requests))

    def batched(self, num_callers: int, *, max_wait_s: float = 0.005, max_batch: int | None = None) -> Model:
        """Return the same model for several threads, or pipelines, whose pictures run as one batch; see `BatchingBackend`.

        Args:
            num_callers: How many call at once.
            max_wait_s: Longest time that a picture waits for those of the others, in seconds.
            max_batch: Pictures in one run at most.

        Raises:
            ValueError: The network takes one picture at a time, or a number is out of range.
        """
        shared = BatchingBackend(self.backend, num_callers, max_wait_s=max_wait_s, max_batch=max_batch)
        return replace(self, backend=shared, batch=1)


class Workspace:
    """The buffers that one thread needs to take frames through a model. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._blob: np.ndarray = np.zeros((0, 0, 0, 0), np.float32)
        self._letterbox: Letterbox | None = None
        self._is_padded = False
        self._on_gpu = None if model.keeps_outputs else GpuWorkspace.of(model)

    @property
    def is_on_gpu(self) -> bool:
        """Frames stay on the GPU from upload to results; known for sure after the first one."""
        return self._on_gpu is not None

    def process(self, image: np.ndarray, gate: AbstractContextManager[Any] | None = None) -> Detections:
        """Preprocess, run the network and postprocess one frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            gate: Held while the network runs, to bound how many run at once.

        Returns:
            The detections, with the milliseconds of each stage.
        """
        check_image(image)
        if self._on_gpu is not None:
            found = self._on_gpu.process(image, gate)
            if found is not None:
                return found
            self._on_gpu = None  # the CUDA kernels do not take this layout
        started = time.perf_counter()
        letterbox, feeds = self.prepare(image)
        prepared = time.perf_counter()
        with gate or nullcontext():
            admitted = time.perf_counter()
            outputs = self._model.backend.run(feeds)
            inferred = time.perf_counter()
        model = self._model
        detections = postprocess(model.layout, as_float(outputs), 0, letterbox, model.options, model.class_names)
        done = time.perf_counter()
        raw = None
        if model.keeps_outputs:
            raw = RawOutputs({name: value.copy() for name, value in outputs.items()}, letterbox)
        return replace(
            detections,
            raw=raw,
            timing_ms=MappingProxyType(
                {
                    "preprocess": (prepared - started) * 1e3,
                    "inference": (inferred - admitted) * 1e3,
                    "postprocess": (done - inferred) * 1e3,
                }
            ),
        )

    def prepare(self, image: np.ndarray) -> tuple[Letterbox, dict[str, np.ndarray]]:
        """Return where a frame (H, W, 3) lies in the input, and the network's inputs; they hold until the next call."""
        letterbox = self._fill(image)
        return letterbox, self._model.feeds(self._blob, letterbox.input_hw)

    def feeds(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Preprocess a picture and return what the network takes, by input; the arrays are the caller's.

        Args:
            image: (H, W, 3) uint8 BGR.
        """
        check_image(image)
        return {name: value.copy() for name, value in self.prepare(image)[1].items()}

    def _fill(self, image: np.ndarray) -> Letterbox:
        hw = (image.shape[0], image.shape[1])
        letterbox = self._letterbox
        if letterbox is None or letterbox.image_hw != hw:
            letterbox = self._letterbox = self._model.letterbox_for(hw)
            self._is_padded = False
        shape = (self._model.batch, 3, *letterbox.input_hw)
        if self._blob.shape != shape:
            self._blob = np.zeros(shape, np.float32)
            self._is_padded = False
        rule = self._model.layout.preprocess
        ops.letterbox(
            image, letterbox, swap_rb=rule.swap_rb, scale=rule.scale, offset=rule.offset, pad_value=rule.pad_value,
            out=self._blob[0], keep_padding=self._is_padded,
        )  # fmt: skip
        self._is_padded = True
        return letterbox


def check_image(image: object) -> None:
    """Raise TypeError or ValueError unless the image is (H, W, 3) uint8 with H, W >= 1."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"model: image must be a NumPy array (H, W, 3) uint8 BGR, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise TypeError(f"model: image must have dtype uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"model: image must have shape (H, W, 3) with H, W >= 1, got {image.shape}")


def as_float(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Widen half and double outputs to float32; everything else passes as it is."""
    return {
        name: value.astype(np.float32) if value.dtype in (np.float16, np.float64) else value
        for name, value in outputs.items()
    }


def size_input(backend: Backend, batch: int, input_hw: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return RT-DETR's second input, the picture's width and height, where the network has one."""
    dtype = next((spec.dtype for spec in backend.inputs if spec.name == SIZE_INPUT), None)
    return {} if dtype is None else {SIZE_INPUT: np.array([input_hw[::-1]] * batch, dtype)}
