"""ONNX Runtime: the embedded default."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import DeviceError, MissingDependencyError, ModelError
from yolokkn.graph import check_limits, parse_model, read_model
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends.base import Backend, DeviceNetwork, available_cores
from yolokkn.runtime.backends.onnxruntime_network import SIZED_BY_CONTENT, BoundSession
from yolokkn.runtime.cuda_device import Stream, gpu_index, on_gpu
from yolokkn.runtime.installation import driver_trouble

_DTYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(bool)": "bool",
}  # fmt: skip

_CUDA = "CUDAExecutionProvider"
_TO_INSTALL = "run: pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]' cuda-bindings"


class OnnxRuntimeBackend(Backend):
    """An ONNX model in an `onnxruntime.InferenceSession`.

    Args:
        model: A path, or the bytes of an ONNX file.
        device: "cpu", or "cuda" or "cuda:N" with onnxruntime-gpu; frames stay on the GPU where cuda-bindings is installed.
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

        if re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
            raise ValueError(f"device: must be one of cpu, cuda, cuda:N for onnxruntime, got {device!r}")
        if device != "cpu":
            self.gpu_index = gpu_index(device)
            if _CUDA not in ort.get_available_providers():
                trouble = driver_trouble()
                if trouble == "no NVIDIA driver":
                    raise DeviceError(f"device {device!r}: {trouble}; device cpu runs everywhere")
                raise MissingDependencyError(
                    f"device {device!r}: this build of ONNX Runtime has no {_CUDA}; {_TO_INSTALL}"
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
        stream = None if self._device == "cpu" else _own_stream(self.gpu_index)
        options = None if self._device == "cpu" else cuda_options(self.gpu_index, stream)
        try:
            self._session = _session(self._content, threads, options, self._optimize)
        except Exception as error:
            raise ModelError(f"{self._name}: ONNX Runtime cannot load it: {_first_line(error)}") from error
        if options is not None and _CUDA not in self._session.get_providers():
            raise MissingDependencyError(
                f"device {self._device!r}: ONNX Runtime's {_CUDA} does not start here, mostly because CUDA or cuDNN is "
                f"missing; {_TO_INSTALL}"
            )
        self._stream = stream  # kept after the session, so that it goes after it
        self._guard = threading.Lock()
        self.has_device_network = stream is not None

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

    def device_network(self, input_hw: tuple[int, int]) -> DeviceNetwork | None:
        """Return the session bound to memory of the GPU; None on a CPU, and where sizes depend on the picture's content.

        Args:
            input_hw: Height and width of the input.

        Raises:
            ModelError: The network does not run at this size.
            DeviceError: There is not enough memory.
        """
        return None if self._stream is None else self._bound(input_hw, self._stream, "cuda")

    def _bound(self, input_hw: tuple[int, int], stream: Stream, place: str) -> DeviceNetwork | None:
        spec = self.inputs[0]
        is_plain = len(self.inputs) == 1 and len(spec.shape) == 4 and spec.dtype in ("float32", "float16")
        if not is_plain or SIZED_BY_CONTENT & (self.op_types or frozenset()):
            return None
        shape = (spec.shape[0] or 1, 3, *input_hw)
        probe = self.run({spec.name: np.zeros(shape, spec.dtype)})
        outputs = {key: (value.shape, value.dtype) for key, value in probe.items()}
        with on_gpu(self.gpu_index):
            return BoundSession(
                self._session, stream, self._guard, spec, shape, outputs, self.gpu_index, place, self._name
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


def cuda_options(index: int, stream: Stream | None) -> dict[str, str]:
    """Return what ONNX Runtime's CUDA provider is told: its GPU, and the stream on which it queues."""
    options = {"device_id": str(index), "enable_cuda_graph": "0"}
    return options if stream is None else options | {"user_compute_stream": str(stream.number)}


def _own_stream(index: int) -> Stream | None:
    """Return a stream for a session; None without cuda-bindings: frames then come and go by the host."""
    try:
        with on_gpu(index):
            return Stream()
    except MissingDependencyError:
        return None


def _session(content: bytes, threads: int, cuda: dict[str, str] | None, optimize: bool) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads, options.intra_op_num_threads = 1, threads
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers: list[Any] = ["CPUExecutionProvider"] if cuda is None else [(_CUDA, cuda), "CPUExecutionProvider"]
    return ort.InferenceSession(content, options, providers=providers)


def check_by_session(content: bytes, name: str) -> None:
    """Let ONNX Runtime read a model for another library that does not survive every file; tens of milliseconds.

    Raises:
        ModelError: ONNX Runtime refuses it: an operator is unknown, or its inputs are not those that it takes.
    """
    try:
        _session(content, 1, None, optimize=False)
    except Exception as error:
        raise ModelError(f"{name}: ONNX Runtime cannot read it: {_first_line(error)}") from error


def _spec(node: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in node.shape)
    return TensorSpec(node.name, _DTYPES.get(node.type, node.type), shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300]
