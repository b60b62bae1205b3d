"""The little of CUDA that the TensorRT backend needs, through NVIDIA's cuda-bindings: memory, a stream, a captured graph."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.errors import DeviceError, MissingDependencyError
from yolokkn.runtime.installation import driver_trouble

_one_at_a_time = threading.Lock()  # each capture turns the garbage collection off and on


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


def _driver() -> Any:
    from cuda.bindings import driver

    return driver


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
    """Return a GPU; this thread's stays which it is.

    Raises:
        DeviceError: There is no such GPU, or no driver.
        MissingDependencyError: cuda-bindings is not installed.
    """
    try:
        count = int(checked("cudaGetDeviceCount"))
    except DeviceError as error:
        is_driver = "InsufficientDriver" in str(error)
        what = driver_trouble() if is_driver else f"no NVIDIA GPU can be used: {error}"
        raise DeviceError(f"device 'cuda': {what}") from error
    if not 0 <= index < count:
        raise DeviceError(f"device 'cuda:{index}': there are {count} GPUs, numbered from 0")
    facts = checked("cudaGetDeviceProperties", index)
    name = facts.name.decode() if isinstance(facts.name, bytes) else str(facts.name)
    return Gpu(index, name.rstrip("\0"), f"SM{facts.major}{facts.minor}")


def gpu_index(device: str) -> int:
    """Read "cuda" or "cuda:1".

    Raises:
        ValueError: It is something else.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or (":" in device and not number.isdecimal()):
        raise ValueError(f"device: must be cuda or cuda:N for engines, got {device!r}")
    return int(number or 0)


@contextlib.contextmanager
def on_gpu(index: int) -> Iterator[None]:
    """Make a GPU this thread's, and give the one before it back at the end; CUDA keeps one for each thread.

    One that nobody in this process has used yet is not given back: that would begin to use it, and take its memory.
    """
    before = int(checked("cudaGetDevice"))
    checked("cudaSetDevice", index)
    try:
        yield
    finally:
        if before != index and _is_used(before):
            _quietly(_runtime(), "cudaSetDevice", before)


def _is_used(index: int) -> bool:
    """Tell whether this process has begun to use a GPU."""
    driver = _driver()
    status, device = driver.cuDeviceGet(index)
    if int(status) != 0:
        return False
    status, _, is_active = driver.cuDevicePrimaryCtxGetState(device)
    return int(status) == 0 and bool(is_active)


def _num_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


class DeviceBuffer:
    """Memory on this thread's GPU, freed with the object.

    Attributes:
        device: That GPU's number.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = max(num_bytes, 1)
        self._runtime = _runtime()  # what made it frees it
        self.pointer: int | None = None
        self.device = int(checked("cudaGetDevice"))
        self.pointer = int(checked("cudaMalloc", self.num_bytes))

    def __del__(self) -> None:
        if getattr(self, "pointer", None) is not None:
            _quietly(self._runtime, "cudaFree", self.pointer)
            self.pointer = None


class PinnedArray:
    """Page-locked host memory as a NumPy array: copies from and to it run beside the CPU. Freed with the object.

    Attributes:
        array: What it holds now.
        device: The number of this thread's GPU when it was made.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._capacity = max(_num_bytes(shape, dtype), 1)
        self._runtime = _runtime()
        self.pointer: int | None = None
        self.device = int(checked("cudaGetDevice"))
        self.pointer = int(checked("cudaMallocHost", self._capacity))
        self._raw = (ctypes.c_ubyte * self._capacity).from_address(self.pointer)
        self.array: np.ndarray = np.ndarray(shape, dtype, self._raw)

    @property
    def num_bytes(self) -> int:
        """Size of the array that it holds now."""
        return self.array.nbytes

    def take_shape(self, shape: tuple[int, ...]) -> bool:
        """Hold an array of another shape in the same memory; False where there is not enough of it."""
        if _num_bytes(shape, self.array.dtype) > self._capacity:
            return False
        self.array = np.ndarray(shape, self.array.dtype, self._raw)
        return True

    def __del__(self) -> None:
        if getattr(self, "pointer", None) is not None:
            _quietly(self._runtime, "cudaFreeHost", self.pointer)
            self.pointer = None


class Stream:
    """A stream of its own, not the default one, and what is queued on it."""

    def __init__(self) -> None:
        self._runtime = _runtime()
        self.handle: Any = None
        self.handle = checked("cudaStreamCreateWithFlags", _runtime().cudaStreamNonBlocking)

    @property
    def number(self) -> int:
        """Its handle as TensorRT takes it."""
        return int(self.handle)

    def upload(self, target: DeviceBuffer, source: PinnedArray) -> None:
        """Queue a copy to the GPU."""
        self.copy(target.pointer or 0, source.pointer or 0, source.num_bytes)

    def download(self, target: PinnedArray, source: DeviceBuffer) -> None:
        """Queue a copy from the GPU."""
        self.copy(target.pointer or 0, source.pointer or 0, target.num_bytes)

    def copy(self, target: int, source: int, num_bytes: int) -> None:
        """Queue a copy between addresses of the GPU or of pinned memory; where they are, the addresses tell."""
        checked("cudaMemcpyAsync", target, source, num_bytes, _runtime().cudaMemcpyKind.cudaMemcpyDefault, self.handle)

    def hold_back(self, other: int) -> None:
        """Let another stream, by its handle, wait on the GPU for what is queued here so far."""
        event = Event()  # CUDA keeps it until it has come
        event.record(self)
        checked("cudaStreamWaitEvent", other, event.handle, 0)

    def wait_for(self, event: Event) -> None:
        """Let what is queued from now on wait, on the GPU, for an event as it was last recorded."""
        checked("cudaStreamWaitEvent", self.handle, event.handle, 0)

    def synchronize(self) -> None:
        """Wait for everything that is queued."""
        checked("cudaStreamSynchronize", self.handle)

    def capture(self, queue: Callable[[], None]) -> Graph:
        """Record what a function queues, without running it.

        Raises:
            DeviceError: It queues what cannot be captured. The stream goes on as if nothing had been tried.
        """
        try:
            with capturing():
                graph = self._record(queue)
            try:
                return Graph(checked("cudaGraphInstantiate", graph, 0))
            finally:
                _quietly(self._runtime, "cudaGraphDestroy", graph)
        except DeviceError:
            _quietly(self._runtime, "cudaGetLastError")  # else whoever asks next is told of it
            raise

    def _record(self, queue: Callable[[], None]) -> Any:
        runtime = _runtime()
        checked("cudaStreamBeginCapture", self.handle, runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            queue()
        except BaseException:
            status, graph = runtime.cudaStreamEndCapture(self.handle)  # a capture must be ended before anything else
            if int(status) == 0:
                _quietly(self._runtime, "cudaGraphDestroy", graph)
            raise
        return checked("cudaStreamEndCapture", self.handle)

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None:
            _quietly(self._runtime, "cudaStreamDestroy", self.handle)
            self.handle = None


class Event:
    """A place in what is queued on a stream, for which other streams, or the host, can wait; passed until it is recorded."""

    def __init__(self) -> None:
        self._runtime = _runtime()
        self.handle: Any = None
        self.handle = checked("cudaEventCreateWithFlags", _runtime().cudaEventDisableTiming)

    def record(self, stream: Stream) -> None:
        """Stand behind everything that is queued on a stream so far, instead of where it stood before."""
        checked("cudaEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        """Wait on the host."""
        checked("cudaEventSynchronize", self.handle)

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None:
            _quietly(self._runtime, "cudaEventDestroy", self.handle)
            self.handle = None


class Graph:
    """Recorded work that is queued in one call."""

    def __init__(self, handle: Any) -> None:
        self._runtime = _runtime()
        self.handle: Any = handle

    def launch(self, stream: Stream) -> None:
        """Queue it all."""
        checked("cudaGraphLaunch", self.handle, stream.handle)

    def __del__(self) -> None:
        if getattr(self, "handle", None) is not None:
            _quietly(self._runtime, "cudaGraphExecDestroy", self.handle)
            self.handle = None


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """Hold this around every capture: one at a time in the process, and without the garbage collection.

    Freeing memory of the GPU in a thread that captures makes the capture invalid.
    """
    with _one_at_a_time:
        was_on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if was_on:
                gc.enable()


def _quietly(runtime: Any, call: str, *arguments: Any) -> None:
    """Free something; a GPU that is lost, or an interpreter that ends, has nothing left to free."""
    try:
        getattr(runtime, call)(*arguments)
    except (ImportError, MissingDependencyError, AttributeError, TypeError):
        return
