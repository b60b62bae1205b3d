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
from yolokkn.graph.precision import computing_precision
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends import ENGINE_SUFFIXES
from yolokkn.runtime.backends.base import Backend
from yolokkn.runtime.backends.tensorrt_kernels import Kernels
from yolokkn.runtime.backends.tensorrt_lane import Lane
from yolokkn.runtime.cuda_device import Gpu, find_gpu, use_gpu
from yolokkn.runtime.engine_build import EngineOptions, build_engine, make_request, timing_name
from yolokkn.runtime.engine_cache import CachedEngine, EngineCache
from yolokkn.runtime.engine_library import Library, find_library, reason_of
from yolokkn.runtime.engine_manifest import (
    Engine,
    EngineManifest,
    EngineRefusedError,
    ForeignEngineError,
    foreign_metadata,
    open_engine,
    split_header,
)
from yolokkn.runtime.engine_profiles import engine_profiles

_MAX_SHAPES = 4  # for which a request keeps a context, buffers and a captured graph


class TensorRtBackend(Backend):
    """An engine, deserialized once; each request at once has its own stream, contexts and buffers.

    Args:
        model: An engine (its manifest beside it), or an .onnx file (a path or its bytes), which is built through the cache.
        device: "cuda" or "cuda:N".
        threads: Not used: the GPU has no share of the CPU's cores.
        num_requests: Runs at once; more wait.
        library: "tensorrt" or "tensorrt_rtx"; by default the engine's, or the one that is installed.
        trust_engine: Run an engine that has no manifest of ours. Engines are machine code: it may do what you may.
        imgsz: Largest height and width, for an .onnx file whose size is free.
        cache: Where engines are kept; the user's cache by default.
        say: Told what is built and why; standard error by default.

    Raises:
        MissingDependencyError: TensorRT, TensorRT-RTX or cuda-bindings is not installed.
        DeviceError: There is no GPU.
        EngineRefusedError: The engine has no manifest, is not what it says, or is for another library or GPU.
        ModelError: The library cannot build or load it.
    """

    name = "tensorrt"

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
        cache: EngineCache | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.threads = threads
        index = gpu_index(device)
        self._cache = cache or EngineCache()
        self._name = "<bytes>" if isinstance(model, bytes) else Path(model).name
        if not isinstance(model, bytes) and Path(model).suffix.lower() in ENGINE_SUFFIXES:
            manifest, plan, header = _read_engine(Path(model), trust_engine)
            self._library = find_library(library or (manifest.request.library if manifest else None))
            self.gpu = find_gpu(index)
            if manifest is not None:
                check_fits(manifest, self._library, self.gpu, self._name)
        else:
            self._library = find_library(library)
            self.gpu = find_gpu(index)
            made = self._from_onnx(model, imgsz, say or _say)
            manifest, plan, header = made.engine.manifest, made.engine.plan, {}
        self.metadata = dict(manifest.metadata) if manifest else foreign_metadata(header)
        self.op_types = frozenset(manifest.op_types) if manifest else None
        self._deserialize(plan)
        self._open(num_requests)

    def _from_onnx(
        self, model: str | Path | bytes, imgsz: tuple[int, int] | None, say: Callable[[str], None]
    ) -> CachedEngine:
        parsed = parse_model(model) if isinstance(model, bytes) else read_model(model)
        content = parsed.to_bytes()
        is_free = any(not isinstance(size, int) for spec in parsed.inputs for size in spec.shape[2:])
        profiles = engine_profiles(parsed, largest=imgsz if is_free else None)
        library, options, precision = self._library, EngineOptions(), computing_precision(parsed)
        if library.capabilities and self.gpu.capability not in library.capabilities:
            raise DeviceError(
                f"{self._name}: {library.title} {library.version} builds for {', '.join(library.capabilities)}, here is "
                f"{self.gpu}; install TensorRT"
            )
        gpu = str(self.gpu) if library.name == "tensorrt" else ""
        request = make_request(content, library, options, profiles=profiles, precision=precision, gpu=gpu)

        def build() -> Engine:
            if precision == "fp32":
                say(f"{self._name}: as the file is, in float32; yolokkn export --format engine writes float16 engines")
            return self._cache.learn(
                timing_name(library, self.gpu),
                lambda timing: build_engine(
                    content, request, library, options, name=self._name, timing_cache=timing,
                    on_progress=_stop_with_the_process,
                ),
            )  # fmt: skip

        return self._cache.get_or_build(request, self._name, build, say=lambda text: say(f"{self._name}: {text}"))

    def _deserialize(self, plan: memoryview) -> None:
        with self._library.messages() as messages:
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
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        prepared = self._kernels
        make_lane = partial(
            Lane, self._library, self._engine, prepared.config, self.inputs, self.outputs, name=self._name
        )
        for _ in range(num_requests):
            self._requests.put(_Request(make_lane, prepared.keep))  # no way back to the backend: it is freed at once

    def for_requests(self, num_requests: int) -> Backend:
        """Return a backend on the same engine for so many runs at once."""
        if num_requests == self._num_requests:
            return self
        other = object.__new__(TensorRtBackend)
        other.__dict__.update(self.__dict__)
        other._open(num_requests)
        return other

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine with a free request, waiting for one if all are busy.

        Raises:
            ValueError: A feed is missing, or has a shape or dtype that the engine does not take.
            DeviceError: The GPU is lost or out of memory.
        """
        check_feeds(self.inputs, feeds)
        request = self._requests.get()
        try:
            use_gpu(self.gpu.index)
            return request.run(feeds)
        finally:
            self._requests.put(request)


class _Request:
    """What one run at a time uses: a lane for each shape that came lately."""

    def __init__(self, make_lane: Callable[..., Lane], keep_kernels: Callable[[], None]) -> None:
        self._make_lane, self._keep_kernels = make_lane, keep_kernels
        self._lanes: dict[tuple[tuple[int, ...], ...], Lane] = {}

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        key = tuple(feeds[name].shape for name in sorted(feeds))
        lane = self._lanes.pop(key, None)
        if lane is None:
            while len(self._lanes) >= _MAX_SHAPES:
                del self._lanes[next(iter(self._lanes))]  # the one unused for the longest time
            lane = self._make_lane(shapes={name: array.shape for name, array in feeds.items()})
            outputs = lane.run(feeds)
            self._keep_kernels()
        else:
            outputs = lane.run(feeds)
        self._lanes[key] = lane  # one that failed is not kept
        return outputs


def gpu_index(device: str) -> int:
    """Read "cuda" or "cuda:1".

    Raises:
        ValueError: It is something else.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or (":" in device and not number.isdecimal()):
        raise ValueError(f"device: must be cuda or cuda:N for tensorrt, got {device!r}")
    return int(number or 0)


def _stop_with_the_process(phase: str, done: int, total: int) -> None:
    """End a build whose process is ending: nobody waits for it, and its callbacks need an interpreter."""
    if not threading.main_thread().is_alive():
        raise ModelError("the build was given up, for the process is ending")


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
    return None, plan, header


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


def _say(text: str) -> None:
    print(f"yolokkn: {text}", file=sys.stderr)
