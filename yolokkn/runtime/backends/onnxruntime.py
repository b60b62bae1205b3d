"""ONNX Runtime: the embedded default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import MissingDependencyError, ModelError
from yolokkn.graph import check_limits, parse_model, read_model
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends.base import Backend, available_cores

_DTYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(bool)": "bool",
}  # fmt: skip

_PROVIDERS = {"cpu": ["CPUExecutionProvider"], "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"]}


class OnnxRuntimeBackend(Backend):
    """An ONNX model in an `onnxruntime.InferenceSession`.

    Args:
        model: A path, or the bytes of an ONNX file.
        device: "cpu", or "cuda" with onnxruntime-gpu.
        threads: Threads of all runs together; None takes every core.
        num_requests: Runs at once among which the threads are shared.
        optimize: Let ONNX Runtime rewrite the graph; without, each node runs as the file has it: slow, and what the
            optimised graph is held against.

    Raises:
        ModelError: The file is no ONNX model that can be run.
        MissingDependencyError: The device needs another build of ONNX Runtime.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        device: str = "cpu",
        threads: int | None = None,
        num_requests: int = 1,
        optimize: bool = True,
    ) -> None:
        import onnxruntime as ort

        if device not in _PROVIDERS:
            raise ValueError(f"device: must be one of {', '.join(_PROVIDERS)} for onnxruntime, got {device!r}")
        if _PROVIDERS[device][0] not in ort.get_available_providers():
            raise MissingDependencyError(
                f"device {device!r}: this build of ONNX Runtime has no {_PROVIDERS[device][0]}; "
                "run: pip install onnxruntime-gpu"
            )
        parsed = parse_model(model) if isinstance(model, bytes) else read_model(model)
        check_limits(parsed)
        self.metadata = dict(parsed.metadata)
        self.op_types = frozenset(node.op_type for node in parsed.graph.node)
        self._name = parsed.name
        self._content = parsed.to_bytes()  # what was checked is what runs
        self.threads = threads
        self._device = device
        self._optimize = optimize
        self._open_session(num_requests)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]

    def _open_session(self, num_requests: int) -> None:
        threads = max((self.threads or available_cores()) // num_requests, 1)
        self._num_requests = num_requests
        try:
            self._session = _session(self._content, threads, self._device, self._optimize)
        except Exception as error:
            raise ModelError(f"{self._name}: ONNX Runtime cannot load it: {_first_line(error)}") from error

    def for_requests(self, num_requests: int) -> Backend:
        """Return a session whose threads are shared among so many runs at once."""
        if num_requests == self._num_requests:
            return self
        return OnnxRuntimeBackend(
            self._content,
            device=self._device,
            threads=self.threads,
            num_requests=num_requests,
            optimize=self._optimize,
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the session; feeds are bound where they lie, without a copy."""
        binding = self._session.io_binding()
        try:
            for name, array in feeds.items():
                binding.bind_cpu_input(name, array)
            for name in self._output_names:
                binding.bind_output(name)
            self._session.run_with_iobinding(binding)
            return dict(zip(self._output_names, binding.copy_outputs_to_cpu(), strict=True))
        except Exception as error:
            raise ModelError(f"{self._name}: ONNX Runtime cannot run it: {_first_line(error)}") from error


def _session(content: bytes, threads: int, device: str, optimize: bool) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads, options.intra_op_num_threads = 1, threads
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(content, options, providers=_PROVIDERS[device])


def check_by_session(content: bytes, name: str) -> None:
    """Let ONNX Runtime read a model for another library that does not survive every file; tens of milliseconds.

    Raises:
        ModelError: ONNX Runtime refuses it: an operator is unknown, or its inputs are not those that it takes.
    """
    try:
        _session(content, 1, "cpu", optimize=False)
    except Exception as error:
        raise ModelError(f"{name}: ONNX Runtime cannot read it: {_first_line(error)}") from error


def _spec(node: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
