"""OpenVINO (extra `openvino`): often the faster choice on Intel machines."""

from __future__ import annotations

import queue
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import MissingDependencyError, ModelError
from yolokkn.graph import check_limits, parse_model, read_model
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends.base import Backend
from yolokkn.runtime.backends.onnxruntime import check_by_session

_DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64", "i32": "int32", "u8": "uint8"}


class OpenVinoBackend(Backend):
    """An ONNX model compiled by OpenVINO.

    Args:
        model: A path, or the bytes of an ONNX file.
        device: "cpu" or another name that OpenVINO knows.
        threads: Threads of all runs together; None takes every core.
        num_requests: Runs at once among which the threads are shared.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ModelError: OpenVINO cannot compile the model.
    """

    name = "openvino"

    def __init__(
        self, model: str | Path | bytes, *, device: str = "cpu", threads: int | None = None, num_requests: int = 1
    ) -> None:
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "backend 'openvino': the package openvino must be installed; run: pip install 'yolokkn[openvino]'"
            ) from error
        parsed = parse_model(model) if isinstance(model, bytes) else read_model(model)
        check_limits(parsed)
        self.metadata = dict(parsed.metadata)
        self.op_types = frozenset(node.op_type for node in parsed.graph.node)
        self._name = parsed.name
        self._device = device
        self._content = parsed.to_bytes()  # what was checked is what runs
        self.threads = threads
        check_by_session(self._content, self._name)  # OpenVINO itself crashes on, or never ends with, some broken files
        self._core = _core()
        try:
            self._graph = self._core.read_model(self._content)
        except RuntimeError as error:
            raise ModelError(f"{self._name}: OpenVINO cannot read it: {_last_line(error)}") from error
        self._compile(num_requests)
        self.inputs = tuple(_spec(port, port.get_any_name()) for port in self._compiled.inputs)
        names = _own_names([port.get_names() for port in self._compiled.outputs], [v.name for v in parsed.outputs])
        self.outputs = tuple(_spec(port, name) for port, name in zip(self._compiled.outputs, names, strict=True))

    def _compile(self, num_requests: int) -> None:
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if num_requests == 1:
            config["PERFORMANCE_HINT"] = "LATENCY"
        else:
            config["NUM_STREAMS"] = num_requests
        if self.threads is not None:
            config["INFERENCE_NUM_THREADS"] = self.threads
        try:
            self._compiled = self._core.compile_model(self._graph, self._device.upper(), config)
        except RuntimeError as error:
            raise ModelError(f"{self._name}: OpenVINO cannot compile it: {_last_line(error)}") from error
        self._num_requests = num_requests
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(num_requests):
            self._requests.put(self._compiled.create_infer_request())

    def for_requests(self, num_requests: int) -> Backend:
        """Return the network compiled for so many streams, each with its own request."""
        if num_requests == self._num_requests:
            return self
        return OpenVinoBackend(self._content, device=self._device, threads=self.threads, num_requests=num_requests)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Infer with a free request, waiting for one if all are busy."""
        request = self._requests.get()
        try:
            request.infer(dict(feeds), share_inputs=True)
            return {spec.name: request.get_output_tensor(i).data.copy() for i, spec in enumerate(self.outputs)}
        except RuntimeError as error:
            raise ModelError(f"{self._name}: OpenVINO cannot run it: {_last_line(error)}") from error
        finally:
            self._requests.put(request)


@cache
def _core() -> Any:
    """Return the process's one openvino.Core, which is never let go of.

    With AMX its CPU plugin gives the thread a signal stack, and gives back the one before when it goes: two that go in the order
    in which they came leave the thread with memory that is no more, and the next Ctrl-C kills the process.
    """
    import openvino

    return openvino.Core()


def _own_names(given: Sequence[set[str]], declared: Sequence[str]) -> list[str]:
    """Return the file's names of its outputs, in OpenVINO's order, where each may have several names or others.

    A value that OpenVINO joins with the one before it carries the names of both; one whose own name is lost takes that which
    the file has in its place.

    Args:
        given: Names of each output, as OpenVINO has them.
        declared: Names in the file, in the order in which OpenVINO keeps outputs.

    Example:
        >>> _own_names([{"cast_0", "count"}, {"boxes"}, {"Result_2"}], ["count", "boxes", "scores"])
        ['count', 'boxes', 'scores']
    """
    found: list[str | None] = [None] * len(given)
    for place, names in enumerate(given):
        found[place] = next((name for name in declared if name in names and name not in found), None)
    free = [name for name in declared if name not in found]
    for place, names in enumerate(given):
        if found[place] is None:
            fits = len(declared) == len(given) and declared[place] in free
            found[place] = declared[place] if fits else min(names, default=f"output_{place}")
    return [str(name) for name in found]


def _spec(port: Any, name: str) -> TensorSpec:
    shape = tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())
    dtype = port.get_element_type().get_type_name()
    return TensorSpec(name, _DTYPES.get(dtype, dtype), shape)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:300]
