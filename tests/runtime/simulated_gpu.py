"""A GPU made of host memory, and engines that ONNX Runtime computes: what the tensorrt backend does around a real one.

It stands in for the CUDA runtime and for TensorRT's runtime where there is no GPU. It keeps their rules: addresses are checked
against what was allocated, nothing may run on the default stream, a captured graph replays its calls, and a context whose
shapes changed after a capture makes its graph invalid. That the names are TensorRT's own is test_tensorrt_names.py's matter.
"""

from __future__ import annotations

import ctypes
import itertools
from dataclasses import replace
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import pytest

from yolokkn import ops
from yolokkn.runtime import cuda_device, engine_build
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.engine_library import find_library

_DTYPES = {"float32": np.float32, "float16": np.float16, "int64": np.int64}


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorDeviceLost = 999


def holds(start, buffer, address, size):
    """Whether an allocation has these bytes."""
    return start <= address and address + size <= start + len(buffer)


class Cuda:
    """What of `cuda.bindings.runtime` is used."""

    cudaStreamNonBlocking = 1
    cudaEventDisableTiming = 2
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyDefault="where the addresses are")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")

    def __init__(self, capability=(8, 6), memory=1 << 30):
        self.capability, self.memory = capability, memory
        self.count, self.current, self.used, self.last_error = 1, 0, set(), Status.cudaSuccess
        self.device, self.pinned, self.recording = {}, {}, {}
        self.graphs, self.streams, self.numbers = {}, set(), itertools.count(1)
        self.calls, self.is_lost, self.is_capturable, self.is_invalidated = [], False, True, False

    def _answer(self, name, *values):
        self.calls.append(name)
        return (Status.cudaErrorDeviceLost if self.is_lost else Status.cudaSuccess, *values)

    def cudaGetErrorString(self, status):
        return Status.cudaSuccess, status.name.encode()

    def cudaGetDeviceCount(self):
        return self._answer("count", self.count)

    def cudaGetDevice(self):
        return self._answer("get", self.current)

    def cudaSetDevice(self, index):
        self.current = index
        self.used.add(index)
        return self._answer("set")

    def cudaGetLastError(self):
        self.last_error, error = Status.cudaSuccess, self.last_error
        return (error,)

    def cuDeviceGet(self, index):
        return Status.cudaSuccess, index

    def cuDevicePrimaryCtxGetState(self, device):
        return Status.cudaSuccess, 0, int(device in self.used)

    def cudaGetDeviceProperties(self, index):
        major, minor = self.capability
        return self._answer(
            "properties",
            SimpleNamespace(name=f"Simulated{' ' * (index > 0)}{index or ''}\0\0".encode(), major=major, minor=minor),
        )

    def _allocate(self, where, size):
        if size > self.memory:
            return Status.cudaErrorMemoryAllocation, 0
        if self.recording:
            raise AssertionError("memory is allocated while a graph is captured")
        buffer = (ctypes.c_ubyte * size)()
        where[ctypes.addressof(buffer)] = buffer
        return self._answer("allocate", ctypes.addressof(buffer))

    def cudaMalloc(self, size):
        return self._allocate(self.device, size)

    def cudaMallocHost(self, size):
        return self._allocate(self.pinned, size)

    def cudaFree(self, pointer):
        self.is_invalidated |= bool(self.recording)  # as in the thread that captures
        del self.device[pointer]
        return self._answer("free")

    def cudaFreeHost(self, pointer):
        del self.pinned[pointer]
        return self._answer("free")

    def cudaStreamCreateWithFlags(self, flags):
        number = next(self.numbers)
        self.streams.add(number)
        return self._answer("stream", number)

    def cudaStreamDestroy(self, stream):
        self.streams.remove(stream)
        return self._answer("stream-")

    def enqueue(self, stream, work):
        """Do it, or record it where the stream is captured."""
        if stream not in self.streams:
            raise AssertionError("not on a stream of its own")
        if stream in self.recording:
            self.recording[stream].append(work)
        else:
            work()

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        if kind != self.cudaMemcpyKind.cudaMemcpyDefault:
            raise AssertionError("another kind of copy")
        is_up = any(holds(start, buffer, target, size) for start, buffer in self.device.items())
        to, of = (self.device, self.pinned) if is_up else (self.pinned, self.device)
        for where, address in ((to, target), (of, source)):
            if not any(holds(start, buffer, address, size) for start, buffer in where.items()):
                raise AssertionError("out of bounds")
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size))
        return self._answer("up" if is_up else "down")

    def cudaStreamSynchronize(self, stream):
        return self._answer("synchronize")

    def cudaEventCreateWithFlags(self, flags):
        return Status.cudaSuccess, next(self.numbers)

    def cudaEventRecord(self, event, stream):
        return (Status.cudaSuccess,)  # streams do at once what they are told

    def cudaStreamWaitEvent(self, stream, event, flags):
        return (Status.cudaSuccess,)

    def cudaEventSynchronize(self, event):
        return (Status.cudaSuccess,)

    cudaEventDestroy = cudaEventSynchronize

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording[stream] = []
        return self._answer("begin")

    def cudaStreamEndCapture(self, stream):
        works = self.recording.pop(stream)
        is_invalidated, self.is_invalidated = self.is_invalidated, False
        if is_invalidated or not self.is_capturable:
            self.last_error = Status.cudaErrorDeviceLost
            return Status.cudaErrorDeviceLost, None
        return self._answer("end", works)

    def cudaGraphInstantiate(self, works, flags):
        number = next(self.numbers)
        self.graphs[number] = works
        return self._answer("instantiate", number)

    def cudaGraphDestroy(self, works):
        return self._answer("graph-")

    def cudaGraphExecDestroy(self, graph):
        del self.graphs[graph]
        return self._answer("graph-")

    def cudaGraphLaunch(self, graph, stream):
        for work in self.graphs[graph]:
            work()
        return self._answer("launch")


class Context:
    def __init__(self, engine):
        self.engine, self.shapes, self.addresses, self.outputs = engine, {}, {}, {}

    def set_optimization_profile_async(self, index, stream):
        assert index == 0 and stream in self.engine.cuda.streams and not self.shapes
        self.engine.chosen_profiles += 1
        return True

    def set_input_shape(self, name, shape):
        least, _, largest = self.engine.profile(name)
        fits = len(shape) == len(least) and all(a <= n <= b for a, n, b in zip(least, shape, largest, strict=True))
        if fits:
            self.shapes[name] = tuple(shape)
        return fits

    def infer_shapes(self):
        feeds = {s.name: np.zeros(self.shapes[s.name], s.dtype) for s in self.engine.backend.inputs}
        self.outputs = {name: array.shape for name, array in self.engine.backend.run(feeds).items()}
        return []

    def get_tensor_shape(self, name):
        return self.outputs[name]

    def set_tensor_address(self, name, pointer):
        self.addresses[name] = pointer
        return True

    def execute_async_v3(self, stream):
        self.engine.on_queue()
        if self.engine.fails or (self.engine.fails_captured and self.engine.cuda.recording):
            self.engine.library.logger.log(self.engine.library.trt.ILogger.ERROR, "illegal memory access")
            return False
        shapes = dict(self.shapes)

        def work():
            self.engine.runs += 1
            if shapes != self.shapes:
                raise AssertionError("the context was changed after its capture")
            backend, feeds = self.engine.backend, {}
            for spec in backend.inputs:
                memory = self.engine.cuda.device[self.addresses[spec.name]]
                count = int(np.prod(shapes[spec.name]))
                feeds[spec.name] = np.frombuffer(memory, spec.dtype, count).reshape(shapes[spec.name]).copy()
            for name, array in backend.run(feeds).items():
                ctypes.memmove(self.addresses[name], np.ascontiguousarray(array).ctypes.data, array.nbytes)

        self.engine.cuda.enqueue(stream, work)
        return True


class Engine:
    """An engine that ONNX Runtime computes."""

    def __init__(self, content, profiles, cuda, library):
        self.backend = open_backend("onnxruntime", content, threads=1)
        self.content, self.profiles, self.cuda, self.library = content, profiles, cuda, library
        self.fails = self.fails_captured = False
        self.on_queue = lambda: None
        self.contexts = self.runs = self.chosen_profiles = 0
        self.num_optimization_profiles = 1
        self.specs = {s.name: s for s in (*self.backend.inputs, *self.backend.outputs)}
        self.names = list(self.specs)
        self.num_io_tensors = len(self.names)

    def profile(self, name):
        shape = tuple(n or 0 for n in self.specs[name].shape)
        return self.profiles.get(name, (shape, shape, shape))

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_dtype(self, name):
        return self.specs[name].dtype

    def get_tensor_shape(self, name):
        return tuple(-1 if n is None else n for n in self.specs[name].shape)

    def get_tensor_mode(self, name):
        mode = self.library.trt.TensorIOMode
        return mode.INPUT if any(s.name == name for s in self.backend.inputs) else mode.OUTPUT

    def get_tensor_profile_shape(self, name, index):
        return self.profile(name)

    def create_runtime_config(self):
        cache = SimpleNamespace(deserialize=lambda data: True, serialize=lambda: b"kernels" * self.contexts)
        return SimpleNamespace(create_runtime_cache=lambda: cache, set_runtime_cache=lambda c: True)

    def create_execution_context(self, config):
        self.contexts += 1
        return Context(self)


@pytest.fixture
def cuda(monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    simulated = Cuda()
    monkeypatch.setattr(cuda_device, "_runtime", lambda: simulated)
    monkeypatch.setattr(cuda_device, "_driver", lambda: simulated)
    monkeypatch.setattr(ops.cuda, "why_not", lambda: "the simulated GPU runs no kernels")
    monkeypatch.setattr(ops.cuda, "is_built", lambda: False)  # which would have to be said, once a process
    return simulated


@pytest.fixture
def engines(cuda, monkeypatch, tmp_path):
    """Let the real library build and read plans; where it wants a GPU for the rest, ONNX Runtime computes the engine."""
    library, real_build, built, opened = find_library("tensorrt_rtx"), engine_build.build_plan, {}, []

    def build(graph, profiles, *arguments, **options):
        result = real_build(graph, profiles, *arguments, **options)
        built[result.plan] = graph, profiles
        return result

    class Runtime(library.trt.Runtime):
        def deserialize_cuda_engine(self, plan):
            with library.messages() as messages:
                real = super().deserialize_cuda_engine(plan)
            if bytes(plan) not in built:
                return real
            assert real is not None or "cudaError" in messages[0]  # the plan itself was to its liking
            opened.append(Engine(*built[bytes(plan)], cuda, library))
            return opened[-1]

    monkeypatch.setattr(engine_build, "build_plan", build)
    monkeypatch.setattr(library.trt, "Runtime", Runtime)
    dtypes = {"float32": np.float32, "float16": np.float16, "int64": np.int64}
    monkeypatch.setattr(library.trt, "nptype", lambda dtype: dtypes[dtype])
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    return opened


@pytest.fixture
def simulated_tensorrt(cuda, monkeypatch):
    """TensorRT on the third of three GPUs, as far as building goes: TensorRT-RTX builds for it. Gives on which GPU it did."""
    library, real_build, seen = find_library("tensorrt_rtx"), engine_build.build_plan, []
    classic = replace(library, name="tensorrt")
    cuda.count = 3
    cuda.cudaSetDevice(1)

    def build(graph, profiles, chosen, *arguments, **options):
        seen.append(cuda.current)
        return real_build(graph, profiles, library, *arguments, **options)

    monkeypatch.setattr(engine_build, "build_plan", build)
    monkeypatch.setattr("yolokkn.deploy.engine_export.find_library", lambda name, say: classic)
    return cuda, seen
