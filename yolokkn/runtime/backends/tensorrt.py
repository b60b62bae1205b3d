"""TensorRT and TensorRT-RTX (extra `engine`): engines on an NVIDIA GPU."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import DeviceError, ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.layouts import TensorSpec
from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.backends import ENGINE_SUFFIXES
from yolokkn.runtime.backends.base import Backend, DeviceNetwork
from yolokkn.runtime.backends.tensorrt_kernels import Kernels
from yolokkn.runtime.backends.tensorrt_lane import Lane
from yolokkn.runtime.backends.tensorrt_onnx import choose_precision, engine_of_onnx
from yolokkn.runtime.backends.tensorrt_request import Request
from yolokkn.runtime.cuda_device import Gpu, Stream, find_gpu, gpu_index, on_gpu
from yolokkn.runtime.engine_cache import EngineCache
from yolokkn.runtime.engine_library import Library, find_library, reason_of
from yolokkn.runtime.engine_manifest import (
    EngineManifest,
    EngineRefusedError,
    ForeignEngineError,
    aligned,
    foreign_metadata,
    open_engine,
    split_header,
)
from yolokkn.runtime.interrupts import deferred_interrupt


class TensorRtBackend(Backend):
    """An engine, deserialized once; each request at once has its own stream, contexts and buffers.

    Args:
        model: An engine (its manifest beside it), or an .onnx file (a path or its bytes), which is built through the cache.
        device: "cuda" or "cuda:N".
        threads: Not used: the GPU has no share of the CPU's cores.
        num_requests: Runs at once; more wait.
        library: "tensorrt" or "tensorrt_rtx"; by default the engine's, or the one that is installed and starts.
        trust_engine: Run an engine that has no manifest of ours. Engines are machine code: it may do what you may.
        imgsz: Largest height and width, for an .onnx file whose size is free.
        precision: "fp32", "fp16" or "int8", for an .onnx file; None: the file's own, but float16 (the head excepted) for a
            float32 model. "int8" takes a file that is int8 already. An engine has the one that it was built in.
        cache: Where engines are kept; the user's cache by default.
        say: Told what is built and why, once each; standard error by default.

    Raises:
        ValueError: The device or the precision is none that there is, or not this model's.
        MissingDependencyError: TensorRT, TensorRT-RTX or cuda-bindings is not installed.
        DeviceError: There is no GPU.
        EngineRefusedError: The engine has no manifest, is not what it says, or is for another library or GPU.
        ModelError: The library cannot build or load it.
    """

    name = "tensorrt"
    has_device_network = True

    def __init__(
        self,
        model: str | Path | bytes,
        *,
        device: str = "cuda",
        threads: int | None = None,
        num_requests: int = 1,
        library: str | None = None,
        trust_engine: bool = False,
        imgsz: tuple[int, int] | None = None,
        precision: str | None = None,
        cache: EngineCache | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.threads = threads
        index = gpu_index(device)
        self._cache, self._say = cache or EngineCache(), _Once(say or _say)
        self._name = "<bytes>" if isinstance(model, bytes) else Path(model).name
        if not isinstance(model, bytes) and Path(model).suffix.lower() in ENGINE_SUFFIXES:
            manifest, plan, header = _read_engine(Path(model), trust_engine)
            check_precision(manifest, precision, self._name)
            self._library = find_library(library or (manifest.request.library if manifest else None), self._say)
            self.gpu = _gpu_for_engine(index, self._name, manifest)
            if manifest is not None:
                check_fits(manifest, self._library, self.gpu, self._name)
        else:
            parsed = parse_model(model) if isinstance(model, bytes) else read_model(model)
            chosen = choose_precision(parsed, precision)
            self._library = find_library(library, self._say)
            self.gpu = find_gpu(index)
            with on_gpu(index):
                made = engine_of_onnx(
                    parsed, self._library, self.gpu, self._cache, name=self._name, imgsz=imgsz, chosen=chosen,
                    say=self._say,
                )  # fmt: skip
            manifest, plan, header = made.engine.manifest, made.engine.plan, {}
        self.metadata = dict(manifest.metadata) if manifest else foreign_metadata(header)
        self.op_types = frozenset(manifest.op_types) if manifest else None
        self.gpu_index = index
        with on_gpu(index):
            self._deserialize(plan)
        self._open(num_requests)

    def _deserialize(self, plan: memoryview) -> None:
        with deferred_interrupt(), self._library.messages() as messages:
            try:
                runtime = self._library.trt.Runtime(self._library.logger)
            except TypeError as error:  # what the bindings make of a library that gives none
                raise DeviceError(
                    f"{self._name}: {self._library.title} does not start: {reason_of(messages)}"
                ) from error
            runtime.engine_host_code_allowed = False
            self._runtime = runtime
            engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(
                f"{self._name}: {self._library.title} {self._library.version} cannot load it on {self.gpu}: {reason_of(messages)}"
            )
        self._engine = engine
        self._kernels = Kernels(self._library, engine, self._cache, self.gpu)

    def _open(self, num_requests: int) -> None:
        self._num_requests = num_requests
        self.inputs, self.outputs = io_specs(self._library.trt, self._engine, self._name)
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        prepared = self._kernels
        make_lane = partial(
            Lane, self._library, self._engine, prepared.config, self.inputs, self.outputs, name=self._name,
            say=self._say,
        )  # fmt: skip
        self._make_lane = make_lane
        is_fixed = all(None not in spec.shape for spec in self.inputs)
        for _ in range(num_requests):  # without a way back to the backend: it is freed at once
            self._requests.put(Request(make_lane, prepared.keep, is_fixed))

    def for_requests(self, num_requests: int) -> Backend:
        """Return a backend on the same engine for so many runs at once."""
        if num_requests == self._num_requests:
            return self
        other = object.__new__(TensorRtBackend)
        other.__dict__.update(self.__dict__)
        other._open(num_requests)
        return other

    def device_network(self, input_hw: tuple[int, int]) -> DeviceNetwork | None:
        """Return a context of its own for one picture at a time; None where the engine wants more inputs than that.

        Raises:
            ValueError: The engine does not take this size.
            DeviceError: There is not enough memory.
        """
        if (
            len(self.inputs) != 1
            or len(self.inputs[0].shape) != 4
            or self.inputs[0].dtype not in ("float32", "float16")
        ):
            return None
        spec = self.inputs[0]
        with on_gpu(self.gpu.index):
            lane = self._make_lane(shapes={spec.name: (spec.shape[0] or 1, 3, *input_hw)})
        return EngineNetwork(spec.name, lane, self.gpu.index)

    def has_run(self, is_new: bool) -> None:
        """Keep what TensorRT-RTX has compiled in a device network's first run."""
        self._kernels.keep(is_new)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine with a free request, waiting for one if all are busy. The thread's own GPU stays which it is.

        Raises:
            ValueError: A feed is missing, or has a shape or dtype that the engine does not take.
            DeviceError: The GPU is lost or out of memory.
        """
        check_feeds(self.inputs, feeds)
        request = self._requests.get()
        try:
            with on_gpu(self.gpu.index):
                return request.run(feeds)
        finally:
            self._requests.put(request)


class EngineNetwork:
    """An engine in a context of its own, which runs between buffers on the GPU; see `DeviceNetwork`."""

    can_be_captured = True

    def __init__(self, picture: str, lane: Lane, gpu_index: int) -> None:
        self.gpu_index = gpu_index
        arrays = lane.device_arrays()
        self.picture = arrays.pop(picture)
        self.outputs: Mapping[str, DeviceArray] = arrays
        self._lane = lane

    def enqueue(self, stream: Stream) -> None:
        """Queue one run."""
        self._lane.enqueue(stream)


def _gpu_for_engine(index: int, name: str, manifest: EngineManifest | None) -> Gpu:
    try:
        return find_gpu(index)
    except DeviceError as error:
        origin = "" if manifest is None else f" it was made of ({manifest.name})"
        raise DeviceError(
            f"{error}; {name} runs on an NVIDIA GPU alone, the .onnx file{origin} on a CPU as well"
        ) from error


def _read_engine(path: Path, trust: bool) -> tuple[EngineManifest | None, memoryview, dict[str, Any] | None]:
    try:
        engine = open_engine(path)
        return engine.manifest, engine.plan, None
    except EngineRefusedError as error:
        is_foreign = isinstance(error, ForeignEngineError)
        if not (trust and is_foreign):
            text = (
                f"{error}; engines are executable, so it is not loaded: build it from the .onnx file (yolokkn export "
            )
            text += "--format engine)"
            if is_foreign:
                text += ", or, if you trust who made it, say --trust-engine (trust_engine=True)"
            raise type(error)(text) from error
    header, plan = split_header(path.read_bytes())
    return None, aligned(plan), header


def check_precision(manifest: EngineManifest | None, precision: str | None, name: str) -> None:
    """Raise ValueError where a precision is asked for that an engine was not built in."""
    built = manifest.request.precision if manifest else "a precision that it does not tell"
    if precision is not None and precision != built:
        raise ValueError(f"precision: {name} is an engine, built in {built}, got {precision}; give the .onnx file")


def check_fits(manifest: EngineManifest, library: Library, gpu: Gpu, name: str) -> None:
    """Raise EngineRefusedError unless an engine was made for this library and this GPU.

    Raises:
        EngineRefusedError: With what it was made for.
    """
    request, again = manifest.request, "build it again from the .onnx file: yolokkn export --format engine"
    if (request.library, request.library_version) != (library.name, library.version):
        made = f"{request.library} {request.library_version}"
        raise EngineRefusedError(f"{name}: was built by {made}, here is {library.name} {library.version}; {again}")
    fits = (
        request.gpu == str(gpu) if request.gpu else not request.capabilities or gpu.capability in request.capabilities
    )
    if not fits:
        raise EngineRefusedError(f"{name}: was built for {request.target}, here is {gpu}; {again}")


def io_specs(trt: Any, engine: Any, name: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Return an engine's inputs and outputs; a size that its profile leaves no choice is fixed.

    Raises:
        ModelError: A tensor has a type that NumPy does not have.
    """
    inputs, outputs = [], []
    for index in range(engine.num_io_tensors):
        tensor = engine.get_tensor_name(index)
        try:
            dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(tensor))).name
        except TypeError as error:
            raise ModelError(
                f"{name}: {tensor} has the type {engine.get_tensor_dtype(tensor)}, which is not read"
            ) from error
        shape: tuple[int | None, ...] = tuple(n if n > 0 else None for n in engine.get_tensor_shape(tensor))
        if engine.get_tensor_mode(tensor) != trt.TensorIOMode.INPUT:
            outputs.append(TensorSpec(tensor, dtype, shape))
            continue
        if None in shape:
            least, _, largest = engine.get_tensor_profile_shape(tensor, 0)
            shape = tuple(low if low == high else None for low, high in zip(least, largest, strict=True))
        inputs.append(TensorSpec(tensor, dtype, shape))
    return tuple(inputs), tuple(outputs)


def check_feeds(inputs: tuple[TensorSpec, ...], feeds: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError unless every input, and nothing else, is fed with its dtype and shape."""
    if {spec.name for spec in inputs} != set(feeds):
        raise ValueError(f"run: feeds must be {', '.join(s.name for s in inputs)}, got {', '.join(feeds) or 'none'}")
    for spec in inputs:
        given = feeds[spec.name]
        fits = len(spec.shape) == given.ndim and all(
            n in (None, m) for n, m in zip(spec.shape, given.shape, strict=False)
        )
        if not fits or given.dtype != spec.dtype:
            raise ValueError(f"run: feed must be {spec}, got {spec.name} {given.dtype} {given.shape}")


class _Once:
    """Passes on what has not been said before."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said, self._guard = say, set[str](), threading.Lock()

    def __call__(self, text: str) -> None:
        with self._guard:
            is_new = text not in self._said
            self._said.add(text)
        if is_new:
            self._say(text)


def _say(text: str) -> None:
    print(f"yolokkn: {text}", file=sys.stderr)
