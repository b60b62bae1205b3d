"""A GPU made of host memory, and engines that ONNX Runtime computes: what the tensorrt backend does around a real one.

It stands in for the CUDA runtime and for TensorRT's runtime where there is no GPU. It keeps their rules: addresses are checked
against what was allocated, nothing may run on the default stream, a captured graph replays its calls, and a context whose
shapes changed after a capture makes its graph invalid. That the names are TensorRT's own is test_tensorrt_names.py's matter.
"""

from __future__ import annotations

import ctypes
import itertools
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

from yolokkn.runtime.backends import open_backend

_DTYPES = {"float32": np.float32, "float16": np.float16, "int64": np.int64}


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorDeviceLost = 999


class Cuda:
    """What of `cuda.bindings.runtime` is used."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")

    def __init__(self, capability=(8, 6), memory=1 << 30):
        self.capability, self.memory = capability, memory
        self.device, self.pinned, self.recording = {}, {}, {}
        self.graphs, self.streams, self.numbers = {}, set(), itertools.count(1)
        self.calls, self.is_lost, self.is_capturable = [], False, True

    def _answer(self, name, *values):
        self.calls.append(name)
        return (Status.cudaErrorDeviceLost if self.is_lost else Status.cudaSuccess, *values)

    def cudaGetErrorString(self, status):
        return Status.cudaSuccess, status.name.encode()

    def cudaGetDeviceCount(self):
        return self._answer("count", 1)

    def cudaSetDevice(self, index):
        return self._answer("set")

    def cudaGetDeviceProperties(self, index):
        major, minor = self.capability
        return self._answer("properties", SimpleNamespace(name=b"Simulated\0\0", major=major, minor=minor))

    def _allocate(self, where, size):
        if size > self.memory:
            return Status.cudaErrorMemoryAllocation, 0
        buffer = (ctypes.c_ubyte * size)()
        where[ctypes.addressof(buffer)] = buffer
        return self._answer("allocate", ctypes.addressof(buffer))

    def cudaMalloc(self, size):
        return self._allocate(self.device, size)

    def cudaMallocHost(self, size):
        return self._allocate(self.pinned, size)

    def cudaFree(self, pointer):
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
        to, of = (self.device, self.pinned) if kind == "up" else (self.pinned, self.device)
        if not (size <= len(to[target]) and size <= len(of[source])):
            raise AssertionError("out of bounds")
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size))
        return self._answer(kind)

    def cudaStreamSynchronize(self, stream):
        return self._answer("synchronize")

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording[stream] = []
        return self._answer("begin")

    def cudaStreamEndCapture(self, stream):
        works = self.recording.pop(stream)
        if not self.is_capturable:
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
        if self.engine.fails:
            self.engine.library.logger.log(self.engine.library.trt.ILogger.ERROR, "illegal memory access")
            return False
        shapes = dict(self.shapes)

        def work():
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
        self.profiles, self.cuda, self.library, self.fails = profiles, cuda, library, False
        self.contexts = 0
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
        cache = SimpleNamespace(deserialize=lambda data: True, serialize=lambda: b"kernels")
        return SimpleNamespace(create_runtime_cache=lambda: cache, set_runtime_cache=lambda c: True)

    def create_execution_context(self, config):
        self.contexts += 1
        return Context(self)
