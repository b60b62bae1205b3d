"""OpenVINO (extra `openvino`): often the faster choice on Intel machines."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import MissingDependencyError, ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends.base import Backend

_DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64", "i32": "int32", "u8": "uint8"}


class OpenVinoBackend(Backend):
    """An ONNX model compiled by OpenVINO.

    Args:
        model: A path, or the bytes of an ONNX file.
        device: "cpu" or another name that OpenVINO knows.
        threads: Threads inside one inference; None lets OpenVINO choose.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        ModelError: OpenVINO cannot compile the model.
    """

    name = "openvino"

    def __init__(self, model: str | Path | bytes, *, device: str = "cpu", threads: int | None = None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingDependencyError(
                "backend 'openvino': the package openvino must be installed; run: pip install 'yolokkn[openvino]'"
            ) from error
        parsed = parse_model(model) if isinstance(model, bytes) else read_model(model)
        self.metadata = dict(parsed.metadata)
        self.op_types = frozenset(node.op_type for node in parsed.graph.node)
        core = openvino.Core()
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        name = "<bytes>" if isinstance(model, bytes) else Path(model).name
        try:
            graph = core.read_model(model if isinstance(model, bytes) else str(model))
            self._compile = lambda extra: core.compile_model(graph, device.upper(), {**config, **extra})
            self._compiled = self._compile({})
        except RuntimeError as error:
            raise ModelError(
                f"{name}: OpenVINO cannot compile it: {str(error).strip().splitlines()[-1][:300]}"
            ) from error
        self.inputs = tuple(_spec(port) for port in self._compiled.inputs)
        self.outputs = tuple(_spec(port) for port in self._compiled.outputs)
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._requests.put(self._compiled.create_infer_request())

    def set_concurrency(self, num_requests: int) -> None:
        """Compile for so many streams, each with its own request."""
        if num_requests == 1:
            return
        self._compiled = self._compile({"NUM_STREAMS": num_requests, "PERFORMANCE_HINT": "THROUGHPUT"})
        self._requests = queue.SimpleQueue()
        for _ in range(num_requests):
            self._requests.put(self._compiled.create_infer_request())

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Infer with a free request, waiting for one if all are busy."""
        request = self._requests.get()
        try:
            request.infer(dict(feeds), share_inputs=True)
            return {spec.name: request.get_output_tensor(i).data.copy() for i, spec in enumerate(self.outputs)}
        finally:
            self._requests.put(request)


def _spec(port: Any) -> TensorSpec:
    shape = tuple(d.get_length() if d.is_static else None for d in port.get_partial_shape())
    dtype = port.get_element_type().get_type_name()
    return TensorSpec(port.get_any_name(), _DTYPES.get(dtype, dtype), shape)
