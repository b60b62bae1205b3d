"""One way through an engine: a context, its buffers, and the CUDA graph that plays it all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from yolokkn.errors import DeviceError, ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.cuda_device import DeviceBuffer, Graph, PinnedArray, Stream
from yolokkn.runtime.engine_library import Library, reason_of


class Lane:
    """A context of an engine with its stream and buffers. Not thread-safe.

    Args:
        library: Whose engine it is.
        engine: The deserialized engine.
        config: How TensorRT-RTX prepares its kernels; None with TensorRT.
        inputs: The engine's inputs.
        outputs: The engine's outputs.
        shapes: Shape of each input.
        name: The model's, for errors.
        say: Told where a run cannot be captured.

    Attributes:
        is_captured: A CUDA graph plays it; None where that has not been tried for its shapes.

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
        say: Callable[[str], None],
    ) -> None:
        self._library, self._engine, self._name, self._say = library, engine, name, say
        self._input_specs, self._output_specs = inputs, outputs
        self._stream = Stream()
        with library.messages() as messages:
            # TensorRT takes no configuration here, TensorRT-RTX does
            context = engine.create_execution_context(*([] if config is None else [config]))
        if context is None:
            raise DeviceError(f"{name}: no room for a context of the engine: {reason_of(messages)}")
        self._context = context
        if engine.num_optimization_profiles and not context.set_optimization_profile_async(0, self._stream.number):
            raise DeviceError(f"{name}: the engine's profile cannot be chosen: {reason_of(messages)}")
        self._stream.synchronize()  # the engine may run on another one
        self._buffers: dict[str, tuple[PinnedArray, DeviceBuffer]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.take_shapes(shapes)

    def take_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """Prepare for pictures of other shapes, without the graph of those before; tells whether they are others.

        Raises:
            ValueError: The engine does not take these shapes. The lane is of no use any more.
        """
        if self._shapes == shapes:
            return False
        self._graph: Graph | None = None  # it holds for the shapes before
        self.is_captured: bool | None = None
        self._inputs: dict[str, tuple[PinnedArray, DeviceBuffer]] = {}
        self._outputs: dict[str, tuple[PinnedArray, DeviceBuffer]] = {}
        for spec in self._input_specs:
            if not self._context.set_input_shape(spec.name, shapes[spec.name]):
                least, _, largest = self._engine.get_tensor_profile_shape(spec.name, 0)
                raise ValueError(
                    f"run: {spec.name} must have a shape from {tuple(least)} to {tuple(largest)}, for which the engine was "
                    f"built, got {shapes[spec.name]}"
                )
        missing = self._context.infer_shapes()
        if missing:
            raise ModelError(f"{self._name}: the engine wants to know {', '.join(missing)} beforehand")
        self._inputs = {spec.name: self._bind(spec, shapes[spec.name]) for spec in self._input_specs}
        self._outputs = {spec.name: self._bind(spec, self._output_shape(spec)) for spec in self._output_specs}
        self._shapes = dict(shapes)
        return True

    def _output_shape(self, spec: TensorSpec) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if min(shape, default=0) < 0:
            raise ModelError(
                f"{self._name}: the size of output {spec.name} depends on the picture's content, which engines are not run "
                "with here; export the model without NMS inside, or with EfficientNMS"
            )
        return shape

    def _bind(self, spec: TensorSpec, shape: tuple[int, ...]) -> tuple[PinnedArray, DeviceBuffer]:
        found = self._buffers.pop(spec.name, None)
        if found is None or not found[0].take_shape(shape):
            found = None  # freed before the larger ones are made
            host = PinnedArray(shape, np.dtype(spec.dtype))
            found = host, DeviceBuffer(host.num_bytes)
        if not self._context.set_tensor_address(spec.name, found[1].pointer):
            raise ModelError(f"{self._name}: the engine has no tensor {spec.name}")
        self._buffers[spec.name] = found
        return found

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Copy in, run, copy out, and wait for it; the outputs are the caller's own."""
        for name, (host, _) in self._inputs.items():
            np.copyto(host.array, feeds[name])
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._queue()
        self._stream.synchronize()
        return {name: host.array.copy() for name, (host, _) in self._outputs.items()}

    def _queue(self) -> None:
        for host, device in self._inputs.values():
            self._stream.upload(device, host)
        self.enqueue(self._stream)
        for host, device in self._outputs.values():
            self._stream.download(host, device)

    def enqueue(self, stream: Stream) -> None:
        """Queue the engine alone on a stream, between buffers on the GPU.

        Raises:
            DeviceError: The library cannot run it.
        """
        with self._library.messages() as messages:
            is_queued = self._context.execute_async_v3(stream.number)
        if not is_queued:
            raise DeviceError(f"{self._name}: {self._library.title} cannot run it: {reason_of(messages)}")

    def device_arrays(self) -> dict[str, DeviceArray]:
        """Return the buffers on the GPU, inputs and outputs by name; the lane keeps them."""
        return {
            name: DeviceArray(device.pointer or 0, host.array.shape, host.array.dtype, self, device.device)
            for name, (host, device) in (self._inputs | self._outputs).items()
        }

    def capture(self) -> None:
        """Record the run, after a first one of these shapes; an engine that cannot be recorded is run call by call."""
        try:
            self._graph = self._stream.capture(self._queue)
        except DeviceError as error:
            self._say(f"{self._name}: runs without a CUDA graph, a little slower: {error}")
        self.is_captured = self._graph is not None
