"""A frame's whole way on the GPU: upload, letterbox, network, decoding, suppression, results; one CUDA graph where it can be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from yolokkn.errors import DeviceError
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions, Layout
from yolokkn.layouts.base import AnchorPlaces
from yolokkn.ops.cuda import CandidateBuffers, CudaKernels, DeviceArray, Selection
from yolokkn.runtime.cuda_device import DeviceBuffer, Event, Graph, PinnedArray, Stream
from yolokkn.runtime.gpu_rows import ResultRows
from yolokkn.types import Detections

if TYPE_CHECKING:
    from yolokkn.runtime.backends import DeviceNetwork

_STRIP_BYTES = 1 << 20  # less is not worth a copy of its own
_MOST_STRIPS = 8


class GpuFrame:
    """Takes frames of one size through a network, one at a time. Not thread-safe.

    A frame goes up on a stream of its own while the host still copies its lower rows, and while the network is busy with what
    another `GpuFrame` gave it: `load` may run beside the `run` of others. An event lets the rest wait for it.

    The first frame runs call by call, which does once what is done once; then everything behind the upload is captured, so
    that it costs one launch and one wait. A network that cannot be captured runs between two graphs.

    Args:
        network: The network.
        kernels: The CUDA kernels.
        layout: What the network's outputs mean.
        options: What is kept of them; at most 1024 detections.
        letterbox: How frames of this size lie in the network's input.
        stream: Where everything is queued.

    Raises:
        LayoutError: The CUDA kernels do not take this layout.
        ValueError: An option is out of the kernels' range.
    """

    def __init__(
        self,
        network: DeviceNetwork,
        kernels: CudaKernels,
        layout: Layout,
        options: DecodeOptions,
        letterbox: Letterbox,
        stream: Stream,
    ) -> None:
        self._network, self._kernels, self._stream = network, kernels, stream
        self._can_be_captured = network.can_be_captured
        self._options, self._letterbox = options, letterbox
        self._places: AnchorPlaces = layout.places(network.outputs, 0)
        self._pinned = PinnedArray((*letterbox.image_hw, 3), np.dtype(np.uint8))
        self._frame = DeviceArray.allocate(self._pinned.array.shape, np.uint8, DeviceBuffer)
        self._strips = strips(*self._pinned.array.shape[:2])
        self._uploads, self._uploaded = Stream(), Event()
        self._queued = QueuedDecoders(kernels, layout, options, self._places, stream)
        self._layout = replace(layout, kernels=self._queued)
        self._selection = Selection.allocate(options.max_detections, DeviceBuffer)
        self.rows = ResultRows(options.max_detections, self._places, letterbox.image_hw)
        self._steps: list[Callable[[], None]] | None = None

    def load(self, image: np.ndarray) -> None:
        """Take over a frame, (H, W, 3) uint8, and begin to upload it; the caller may change it then."""
        row, pinned = self._pinned.array[0].nbytes, self._pinned.pointer or 0
        for first, end in self._strips:
            np.copyto(self._pinned.array[first:end], image[first:end])
            self._uploads.copy(self._frame.pointer + first * row, pinned + first * row, (end - first) * row)
        self._uploaded.record(self._uploads)

    def run(self) -> None:
        """Take the frame through the network; returns when its results are there."""
        self._stream.wait_for(self._uploaded)
        for step in self._steps or self._parts():
            step()
        self._stream.synchronize()
        if self.rows.grow():  # masks need more room than any before
            self._assemble_masks()
            self._stream.synchronize()
            self._steps = None
        if self._steps is None:
            self._steps = self._captured()

    def detections(self, class_names: tuple[str, ...]) -> Detections:
        """Return the results of the frame that was processed last; the arrays are the caller's."""
        return self.rows.detections(class_names)

    def _parts(self) -> list[Callable[[], None]]:
        return [self._before, lambda: self._network.enqueue(self._stream), self._after]

    def _captured(self) -> list[Callable[[], None]]:
        """Return what plays a frame: graphs, and the network by itself where it cannot be captured."""
        before, network, after = self._parts()
        if self._can_be_captured:
            try:
                return [self._play(lambda: [part() for part in (before, network, after)])]
            except DeviceError:
                self._can_be_captured = False  # it said that it can: from now on it runs between two graphs
        return [self._play(before), network, self._play(after)]

    def _play(self, queue: Callable[[], Any]) -> Callable[[], None]:
        graph: Graph = self._stream.capture(queue)
        return lambda: graph.launch(self._stream)

    def _before(self) -> None:
        rule = self._layout.preprocess
        self._kernels.letterbox(
            self._frame, self._letterbox, swap_rb=rule.swap_rb, scale=rule.scale, offset=rule.offset,
            pad_value=rule.pad_value, out=self._network.picture[0], stream=self._stream.number,
        )  # fmt: skip

    def _after(self) -> None:
        options, number = self._options, self._stream.number
        candidates = self._queued.candidates
        self._layout.decode(self._network.outputs, 0, self._letterbox.input_hw, options)  # type: ignore[arg-type]
        self._kernels.select_best(
            candidates, self._layout.num_classes, selection=self._selection, suppress=self._layout.needs_nms,
            agnostic=options.agnostic, iou_threshold=options.iou_threshold, max_candidates=self._queued.max_candidates,
            max_detections=options.max_detections, stream=number,
        )  # fmt: skip
        self._kernels.gather_detections(
            self._selection, candidates, self._layout.num_classes, self._letterbox, detections=self.rows.device,
            copy=self.rows.copy, extras=self._places.extras, stream=number,
        )  # fmt: skip
        self._assemble_masks()

    def _assemble_masks(self) -> None:
        if self._places.prototypes is not None:
            self._kernels.assemble_masks(
                self.rows.device, self._places.prototypes, self._letterbox, bits=self.rows.bits,
                stream=self._stream.number,
            )  # fmt: skip


def strips(height: int, width: int) -> list[tuple[int, int]]:
    """Return the rows (first, end) of the pieces in which a frame is uploaded: of at least a megabyte, eight at most."""
    count = min(max(height * width * 3 // _STRIP_BYTES, 1), _MOST_STRIPS, height)
    edges = [height * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


class QueuedDecoders:
    """The decoders of `yolokkn.ops` as a layout calls them, queued on a stream; candidates stay on the GPU.

    Attributes:
        candidates: What they append to.
        max_candidates: How many of the best the layout allows; known when it has decoded.
    """

    def __init__(
        self, kernels: CudaKernels, layout: Layout, options: DecodeOptions, places: AnchorPlaces, stream: Stream
    ) -> None:
        self._kernels, self._stream = kernels, stream
        self.max_candidates = options.max_candidates
        labels = layout.num_classes if options.multi_label or places.multi_label else 1
        anchors = max(places.num_anchors, 1)
        room = CandidateBuffers.allocate(anchors, anchors * labels, DeviceBuffer)
        zeros = PinnedArray((2,), np.dtype(np.int32))
        zeros.array[:] = 0
        stream.copy(room.counters.pointer, zeros.pointer or 0, zeros.num_bytes)
        mask = layout.class_mask(options)
        self._mask = None if mask is None else DeviceArray.allocate(mask.shape, np.uint8, DeviceBuffer)
        if mask is not None and self._mask is not None:
            staged = PinnedArray(mask.shape, np.dtype(np.uint8))
            staged.array[:] = mask
            stream.copy(self._mask.pointer, staged.pointer or 0, staged.num_bytes)
        stream.synchronize()  # before the pinned arrays go
        self.candidates = room

    def _common(self, options: dict[str, Any]) -> dict[str, Any]:
        limit, top_k = options.pop("max_candidates"), options.pop("top_k", None)
        self.max_candidates = limit if top_k is None else min(limit, top_k)
        return options | {"class_mask": self._mask, "candidates": self.candidates, "stream": self._stream.number}

    def decode_channels(self, output: DeviceArray, num_classes: int, **options: Any) -> None:
        """Queue `CudaKernels.decode_channels`."""
        self._kernels.decode_channels(output, num_classes, **self._common(options))

    def decode_rows(self, output: DeviceArray, num_classes: int, **options: Any) -> None:
        """Queue `CudaKernels.decode_rows`."""
        self._kernels.decode_rows(output, num_classes, **self._common(options))

    def decode_heads(self, heads: list[DeviceArray], **options: Any) -> None:
        """Queue `CudaKernels.decode_heads`."""
        self._kernels.decode_heads(heads, **self._common(options))

    def decode_distances(self, levels: list[DeviceArray], **options: Any) -> None:
        """Queue `CudaKernels.decode_distances`."""
        self._kernels.decode_distances(levels, **self._common(options))

    def decode_queries(self, boxes: DeviceArray, logits: DeviceArray, **options: Any) -> None:
        """Queue `CudaKernels.decode_queries`."""
        self._kernels.decode_queries(boxes, logits, **self._common(options))

    def decode_table(self, rows: DeviceArray, num_classes: int, **options: Any) -> None:
        """Queue `CudaKernels.decode_table`."""
        self._kernels.decode_table(rows, num_classes, **self._common(options))
