"""The little of CUDA that the TensorRT backend needs, through NVIDIA's cuda-bindings: memory, a stream, a captured graph."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.errors import DeviceError, MissingDependencyError


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    Attributes:
        index: Its number.
        name: As its driver calls it.
        capability: Its compute capability, such as "SM86".
    """

    index: int
    name: str
    capability: str

    def __str__(self) -> str:
        return f"{self.name} ({self.capability})"


def _runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise MissingDependencyError(
            "device 'cuda': the package cuda-bindings must be installed; run: pip install 'yolokkn[engine]'"
        ) from error
    return runtime


def checked(call: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; returns what it gives, one value or a tuple.

    Raises:
        DeviceError: It failed.
        MissingDependencyError: cuda-bindings is not installed.
    """
    runtime = _runtime()
    status, *values = getattr(runtime, call)(*arguments)
    if int(status) != 0:
        _, text = runtime.cudaGetErrorString(status)
        said = text.decode() if isinstance(text, bytes) else str(text)
        raise DeviceError(f"CUDA: {call} failed: {said} ({status.name})")
    return values[0] if len(values) == 1 else tuple(values)


def find_gpu(index: int = 0) -> Gpu:
    """Return a GPU, and make it this thread's.

    Raises:
        DeviceError: There is no such GPU, or no driver.
        MissingDependencyError: cuda-bindings is not installed.
    """
    try:
        count = int(checked("cudaGetDeviceCount"))
    except DeviceError as error:
        raise DeviceError(f"device 'cuda': no NVIDIA GPU can be used: {error}") from error
    if not 0 <= index < count:
        raise DeviceError(f"device 'cuda:{index}': there are {count} GPUs, numbered from 0")
    use_gpu(index)
    facts = checked("cudaGetDeviceProperties", index)
    name = facts.name.decode() if isinstance(facts.name, bytes) else str(facts.name)
    return Gpu(index, name.rstrip("\0"), f"SM{facts.major}{facts.minor}")


def use_gpu(index: int) -> None:
    """Make a GPU this thread's; CUDA keeps one for each thread."""
    checked("cudaSetDevice", index)


class DeviceBuffer:
    """Memory on the GPU, freed with the object."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = max(num_bytes, 1)
        self.pointer: int | None = None
        self.pointer = int(checked("cudaMalloc", self.num_bytes))

    def __del__(self) -> None:
        if getattr(self, "pointer", None) is not None:
            _quietly("cudaFree", self.pointer)
            self.pointer = None


class PinnedArray:
    """Page-locked host memory as a NumPy array: copies from and to it run beside the CPU. Freed with the object."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.num_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self.pointer: int | None = None
        self.pointer = int(checked("cudaMallocHost", max(self.num_bytes, 1)))
        raw = (ctypes.c_ubyte * self.num_bytes).from_address(self.pointer)
        self.array: np.ndarray = np.frombuffer(raw, dtype).reshape(shape)

    def __del__(self) -> None:
        if getattr(self, "pointer", None) is not None:
            _quietly("cudaFreeHost", self.pointer)
            self.pointer = None


class Stream:
    """A stream of its own, not the default one, and what is queued on it."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.handle = checked("cudaStreamCreateWithFlags", _runtime().cudaStreamNonBlocking)

    @property
    def number(self) -> int:
        """Its handle as TensorRT takes it."""
        return int(self.handle)

    def upload(self, target: DeviceBuffer, source: PinnedArray) -> None:
        """Queue a copy to the GPU."""
        kind = _runtime().cudaMemcpyKind.cudaMemcpyHostToDevice
        checked("cudaMemcpyAsync", target.pointer, source.pointer, source.num_bytes, kind, self.handle)

    def download(self, target: PinnedArray, source: DeviceBuffer) -> None:
        """Queue a copy from the GPU."""
        kind = _runtime().cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked("cudaMemcpyAsync", target.pointer, source.pointer, target.num_bytes, kind, self.handle)

    def synchronize(self) -> None:
        """Wait for everything that is queued."""
        checked("cudaStreamSynchronize", self.handle)

    def capture(self, queue: Callable[[], None]) -> Graph:
        """Record what a function queues, without running it.

        Raises:
            DeviceError: It queues what cannot be captured.
        """
        runtime = _runtime()
        checked("cudaStreamBeginCapture", self.handle, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            queue()
        except BaseException:
            status, graph = runtime.cudaStreamEndCapture(self.handle)  # a capture must be ended before anything else
            if int(status) == 0:
                _quietly("cudaGraphDestroy", graph)
            raise
        graph = checked("cudaStreamEndCapture", self.handle)
        try:
            return Graph(checked("cudaGraphInstantiate", graph, 0))
        finally:
            _quietly("cudaGraphDestroy", graph)

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None:
            _quietly("cudaStreamDestroy", self.handle)
            self.handle = None


class Graph:
    """Recorded work that is queued in one call."""

    def __init__(self, handle: Any) -> None:
        self.handle: Any = handle

    def launch(self, stream: Stream) -> None:
        """Queue it all."""
        checked("cudaGraphLaunch", self.handle, stream.handle)

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None:
            _quietly("cudaGraphExecDestroy", self.handle)
            self.handle = None


def _quietly(call: str, *arguments: Any) -> None:
    """Free something; a GPU that is lost, or an interpreter that ends, has nothing left to free."""
    try:
        getattr(_runtime(), call)(*arguments)
    except (ImportError, MissingDependencyError, AttributeError, TypeError):
        return
