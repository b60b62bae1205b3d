"""Frames through a model whose network stays on the GPU, from upload to results."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from yolokkn.errors import DeviceError, LayoutError, MissingDependencyError
from yolokkn.ops import cuda
from yolokkn.runtime.cuda_device import Stream, on_gpu
from yolokkn.runtime.gpu_frame import GpuFrame
from yolokkn.types import Detections

if TYPE_CHECKING:
    from yolokkn.runtime.backends import DeviceNetwork
    from yolokkn.runtime.model import Model

_MAX_SIZES = 4  # sizes of frames whose buffers and graphs are kept, and of inputs whose networks are


@cache
def _say_once(text: str) -> None:
    print(f"yolokkn: {text}", file=sys.stderr)


class GpuWorkspace:
    """The buffers and graphs that one thread needs to take frames through a model on the GPU. Not thread-safe.

    Args:
        model: The model.
        kernels: The CUDA kernels.
    """

    def __init__(self, model: Model, kernels: cuda.CudaKernels) -> None:
        self._model, self._kernels = model, kernels
        self._networks: dict[tuple[int, int], DeviceNetwork] = {}
        self._frames: dict[tuple[int, int], GpuFrame] = {}
        self._new: DeviceNetwork | None = None  # made, but not run yet
        self._stream: Stream | None = None

    @classmethod
    def of(cls, model: Model) -> GpuWorkspace | None:
        """Return one for a model, or None where its frames go by the CPU's kernels.

        That a GPU is there which the kernels cannot run on is said, once.
        """
        if model.options.max_detections > cuda.MOST_DETECTIONS or not model.backend.has_device_network:
            return None
        try:
            with on_gpu(model.backend.gpu_index):
                reason = cuda.why_not()
        except (DeviceError, MissingDependencyError) as error:
            reason = str(error)
        if reason is None:
            return cls(model, cuda.kernels())
        if cuda.is_built():  # one for CPUs has none on purpose
            _say_once(f"only the network runs on the GPU, frames go through the CPU's kernels: {reason}")
        return None

    def process(self, image: np.ndarray, gate: AbstractContextManager[Any] | None = None) -> Detections | None:
        """Take one frame through; see `Workspace.process`. None: the CUDA kernels do not take this model's layout."""
        started = time.perf_counter()
        network = self._network(image)
        if network is None:
            return None
        with on_gpu(network.gpu_index):
            try:
                frame = self._frame(image, network)
            except LayoutError:
                return None
            frame.load(image)
            loaded = time.perf_counter()
            with gate or nullcontext():
                admitted = time.perf_counter()
                frame.run()
                ran = time.perf_counter()
                self._model.backend.has_run(network is self._new)
                self._new = None
        detections = frame.detections(self._model.class_names)
        timing = {
            "preprocess": (loaded - started) * 1e3,  # on the host; most of the upload goes beside it
            "inference": (ran - admitted) * 1e3,  # the upload's end, the kernels and the network
            "postprocess": (time.perf_counter() - ran) * 1e3,
        }
        return replace(detections, timing_ms=MappingProxyType(timing))

    def _network(self, image: np.ndarray) -> DeviceNetwork | None:
        input_hw = self._model.letterbox_for((image.shape[0], image.shape[1])).input_hw
        network = self._networks.pop(input_hw, None)
        if network is None:
            while len(self._networks) >= _MAX_SIZES:
                self._drop_oldest_network()
            network = self._model.backend.device_network(input_hw)
            if network is None:
                return None
            self._new = network
        self._networks[input_hw] = network
        return network

    def _drop_oldest_network(self) -> None:
        """Let go of the network unused for the longest time, its frames first: their graphs stand on its memory."""
        input_hw = next(iter(self._networks))
        for hw in [hw for hw in self._frames if self._model.letterbox_for(hw).input_hw == input_hw]:
            del self._frames[hw]
        del self._networks[input_hw]

    def _frame(self, image: np.ndarray, network: DeviceNetwork) -> GpuFrame:
        hw = (image.shape[0], image.shape[1])
        frame = self._frames.pop(hw, None)
        if frame is None:
            while len(self._frames) >= _MAX_SIZES:
                del self._frames[next(iter(self._frames))]  # the one unused for the longest time
            self._stream = self._stream or Stream()
            model = self._model
            frame = GpuFrame(network, self._kernels, model.layout, model.options, model.letterbox_for(hw), self._stream)
        self._frames[hw] = frame
        return frame
