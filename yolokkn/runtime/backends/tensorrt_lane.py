"""One way through an engine: a context of fixed shapes, its buffers, and the CUDA graph that plays it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yolokkn.errors import DeviceError, ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.cuda_device import DeviceBuffer, Graph, PinnedArray, Stream
from yolokkn.runtime.engine_library import Library, reason_of


class Lane:
    """A context whose shapes never change, so that its captured graph stays valid. Not thread-safe.

    Args:
        library: Whose engine it is.
        engine: The deserialized engine.
        config: How TensorRT-RTX prepares its kernels; None with TensorRT.
        inputs: The engine's inputs.
        outputs: The engine's outputs.
        shapes: Shape of each input.
        name: The model's, for errors.

    Attributes:
        is_captured: A CUDA graph plays it; None before the second run.

    Raises:
        ValueError: The engine does not take these shapes.
        ModelError: An output's size depends on the picture's content.
        DeviceError: There is not enough memory.
    """

    def __init__(
        self,
        library: Library,
        engine: Any,
        config: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        shapes: Mapping[str, tuple[int, ...]],
        name: str,
    ) -> None:
        self._library, self._name = library, name
        self._stream = Stream()
        with library.messages() as messages:
            # TensorRT takes no configuration here, TensorRT-RTX does
            context = engine.create_execution_context(*([] if config is None else [config]))
        if context is None:
            raise DeviceError(f"{name}: no room for a context of the engine: {reason_of(messages)}")
        self._context = context
        for spec in inputs:
            if not context.set_input_shape(spec.name, shapes[spec.name]):
                least, _, largest = engine.get_tensor_profile_shape(spec.name, 0)
                raise ValueError(
                    f"run: {spec.name} must have a shape from {tuple(least)} to {tuple(largest)}, for which the engine was "
                    f"built, got {shapes[spec.name]}"
                )
        missing = context.infer_shapes()
        if missing:
            raise ModelError(f"{name}: the engine wants to know {', '.join(missing)} beforehand")
        self._inputs = {spec.name: self._bind(spec, shapes[spec.name]) for spec in inputs}
        self._outputs = {spec.name: self._bind(spec, self._output_shape(spec)) for spec in outputs}
        self._graph: Graph | None = None
        self.is_captured: bool | None = None
        self._runs = 0

    def _output_shape(self, spec: TensorSpec) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if min(shape, default=0) < 0:
            raise ModelError(
                f"{self._name}: the size of output {spec.name} depends on the picture's content, which engines are not run "
                "with here; export the model without NMS inside, or with EfficientNMS"
            )
        return shape

    def _bind(self, spec: TensorSpec, shape: tuple[int, ...]) -> tuple[PinnedArray, DeviceBuffer]:
        host = PinnedArray(shape, np.dtype(spec.dtype))
        device = DeviceBuffer(host.num_bytes)
        if not self._context.set_tensor_address(spec.name, device.pointer):
            raise ModelError(f"{self._name}: the engine has no tensor {spec.name}")
        return host, device

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Copy in, run, copy out, and wait for it; the outputs are the caller's own."""
        for name, (host, _) in self._inputs.items():
            np.copyto(host.array, feeds[name])
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._queue()
        self._stream.synchronize()
        outputs = {name: host.array.copy() for name, (host, _) in self._outputs.items()}
        self._runs += 1
        if self._runs == 1:  # the first run has done what is done once, and may not be captured
            self._capture()
        return outputs

    def _queue(self) -> None:
        for host, device in self._inputs.values():
            self._stream.upload(device, host)
        with self._library.messages() as messages:
            is_queued = self._context.execute_async_v3(self._stream.number)
        if not is_queued:
            raise DeviceError(f"{self._name}: {self._library.title} cannot run it: {reason_of(messages)}")
        for host, device in self._outputs.values():
            self._stream.download(host, device)

    def _capture(self) -> None:
        """Record the run; an engine that cannot be recorded is run call by call."""
        try:
            self._graph = self._stream.capture(self._queue)
        except DeviceError:
            self._graph = None
        self.is_captured = self._graph is not None
