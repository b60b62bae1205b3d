"""A session of ONNX Runtime whose input and outputs stay on the GPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.cuda_device import DeviceBuffer, Event, Stream

SIZED_BY_CONTENT = frozenset({"NonMaxSuppression", "NonZero", "Compress", "Unique"})  # cannot be bound beforehand


class BoundSession:
    """A session that runs between tensors bound by their addresses; see `DeviceNetwork`.

    ONNX Runtime queues its work on the one stream that it was made with, so events order that beside the frame's. It is not
    captured: its provider may allocate and copy within a run.

    Args:
        session: An `onnxruntime.InferenceSession` made with `stream` as its "user_compute_stream".
        stream: Where it queues.
        guard: Held while anybody queues there.
        picture: Its input.
        shape: (B, 3, h, w) to run it at.
        outputs: Shape and dtype of each output at that size.
        gpu_index: The GPU's number.
        place: What ONNX Runtime calls the memory: "cuda", or "cpu" where that is the host's own.
        name: The model's, for errors.

    Raises:
        ModelError: ONNX Runtime does not take one of the tensors.
        DeviceError: There is not enough memory.
    """

    can_be_captured = False

    def __init__(
        self,
        session: Any,
        stream: Stream,
        guard: threading.Lock,
        picture: TensorSpec,
        shape: tuple[int, ...],
        outputs: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
        gpu_index: int,
        place: str = "cuda",
        name: str = "",
    ) -> None:
        import onnxruntime as ort

        self.gpu_index, self._name = gpu_index, name
        self._session, self._guard = session, guard
        self._options = ort.RunOptions()
        self._options.add_run_config_entry(
            "disable_synchronize_execution_providers", "1"
        )  # the frame waits once, at its end
        self.picture = DeviceArray.allocate(shape, np.dtype(picture.dtype), DeviceBuffer)
        self.outputs: Mapping[str, DeviceArray] = {
            key: DeviceArray.allocate(shape, dtype, DeviceBuffer) for key, (shape, dtype) in outputs.items()
        }
        self._binding = session.io_binding()
        try:
            self._bind(self._binding.bind_input, picture.name, self.picture, place)
            for key, array in self.outputs.items():
                self._bind(self._binding.bind_output, key, array, place)
        except Exception as error:
            raise ModelError(f"{name}: ONNX Runtime cannot bind its tensors on the GPU: {error}") from error
        self._ready, self._done = Event(), Event()
        self._stream = stream  # kept last, so that it goes after what queues on it

    def _bind(self, bind: Any, key: str, array: DeviceArray, place: str) -> None:
        bind(key, place, self.gpu_index, array.dtype, array.shape, array.pointer)

    def enqueue(self, stream: Stream) -> None:
        """Queue one run.

        Raises:
            ModelError: ONNX Runtime cannot run it.
        """
        self._ready.record(stream)
        with self._guard:
            self._stream.wait_for(self._ready)
            try:
                self._session.run_with_iobinding(self._binding, self._options)
            except Exception as error:
                raise ModelError(f"{self._name}: ONNX Runtime cannot run it on the GPU: {error}") from error
            self._done.record(self._stream)
        stream.wait_for(self._done)
