"""An ONNX file as an engine file: the precision goes into the graph, the graph to the library, the result through the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from yolokkn.deploy.calibration import CalibrationSeen, calibration_feeds
from yolokkn.errors import DeviceError, MissingDependencyError, ModelError
from yolokkn.files import refuse_existing
from yolokkn.graph import Model, parse_model
from yolokkn.graph.dataflow import Dataflow
from yolokkn.graph.half_graph import TURNED_BY, to_half
from yolokkn.graph.onnx_rewrite import set_metadata
from yolokkn.graph.precision import must_turn
from yolokkn.runtime.backends.tensorrt import TensorRtBackend
from yolokkn.runtime.cuda_device import find_gpu, gpu_index, on_gpu
from yolokkn.runtime.engine_build import (
    EngineOptions,
    Progress,
    build_engine,
    check_capabilities,
    make_request,
    timing_name,
)
from yolokkn.runtime.engine_cache import CachedEngine, EngineCache, store
from yolokkn.runtime.engine_library import Library, find_library
from yolokkn.runtime.engine_manifest import Engine, EngineManifest, EngineRefusedError, manifest_path, profiles_text
from yolokkn.runtime.engine_profiles import Size, Triple, engine_profiles
from yolokkn.runtime.load import load

QUANTIZE_REVISION = 2  # goes up when quantize_int8 writes other graphs: engines of before are built anew


@dataclass(frozen=True)
class Calibration:
    """What an int8 engine is calibrated on.

    Attributes:
        sha256: Of what is fed: part of the engine's key in the cache.
        feeds: Gives the feeds; called where the engine is not in the cache.
        seen: What they are made of, where that is known.
    """

    sha256: str
    feeds: Callable[[], Iterable[Mapping[str, np.ndarray]]]
    seen: CalibrationSeen | None = None


@dataclass(frozen=True)
class EngineReport:
    """What was written.

    Attributes:
        path: The engine.
        manifest: What it is; written beside it.
        is_hit: It came from the cache.
        reason: Why it was built, or where it was found.
        graph: The ONNX file in the precision that the library saw; b"" where the engine came from the cache.
        onnx_bytes: Size of the ONNX file that was given.
    """

    path: Path
    manifest: EngineManifest
    is_hit: bool
    reason: str
    graph: bytes
    onnx_bytes: int

    def text(self) -> str:
        """Return the report as lines for people."""
        made, request = self.manifest, self.manifest.request
        version = f"{request.library} {request.library_version}"
        size = f"{made.file_bytes / 1e6:.2f} MB (the ONNX file: {self.onnx_bytes / 1e6:.2f} MB)"
        if made.file_bytes > self.onnx_bytes:
            size += "; it is LARGER, for it holds the GPU's kernels, too"
        origin = self.reason if self.is_hit else f"built in {made.build_s:.1f} s: {self.reason}"
        return "\n".join(
            [
                f"{self.path}: {size}, {request.precision}, by {version} for {request.target}",
                f"sizes: {profiles_text(request.profiles)}",
                origin,
                f"its manifest is {manifest_path(self.path).name}; the two go together",
            ]
        )


def export_engine(
    content: bytes,
    path: Path,
    *,
    name: str,
    precision: str = "fp16",
    batch: Triple | None = None,
    imgsz: tuple[Size, Size, Size] | None = None,
    library: str | None = None,
    options: EngineOptions | None = None,
    calibration: Calibration | None = None,
    cache: EngineCache | None = None,
    device: str = "cuda",
    overwrite: bool = False,
    on_progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> EngineReport:
    """Write an ONNX model as an engine and its manifest; one that was built before comes from the cache.

    Args:
        content: The bytes of the ONNX file.
        path: The `.engine` file; the manifest stands beside it as `.engine.json`.
        name: Name of the model's file, for the manifest and for errors.
        precision: "fp32" takes the graph as it is, "fp16" turns it with `to_half`, "int8" with `quantize_int8`.
        batch: Least, best and largest number of pictures, for a model whose batch is free.
        imgsz: Least, best and largest (height, width), for a model whose size is free.
        library: "tensorrt" or "tensorrt_rtx"; by default what is installed, and can build for the capabilities asked for.
        options: How it is built.
        calibration: Real pictures; int8 needs them.
        cache: Where engines are kept; the user's cache by default.
        device: "cuda" or "cuda:N": the GPU that TensorRT builds on and for; TensorRT-RTX wants none.
        overwrite: Replace files that are there.
        on_progress: Called with a phase of the build, steps done and steps in all.
        say: Told why it builds or waits.

    Raises:
        FileExistsError: The engine or its manifest is there and may not be replaced.
        ValueError: An argument breaks its rule.
        MissingDependencyError: The library is not installed.
        DeviceError: TensorRT builds for the GPU that is there, and there is none.
        ModelError: The model cannot be read, turned or built; the message names the node.
    """
    path, options, cache = Path(path), options or EngineOptions(), cache or EngineCache()
    if path.suffix.lower() != ".engine":
        raise ValueError(f"export_engine: path must end in .engine, got {path.name}")
    refuse_existing(path, overwrite)
    refuse_existing(manifest_path(path), overwrite)
    model = parse_model(content, name)
    is_turned = check_precision(model, precision, calibration)
    refuse_cpu_int8(model)
    index = gpu_index(device)
    chosen = choose_library(library, options, say)
    check_capabilities(chosen, options.capabilities)
    gpu = find_gpu(index) if chosen.name == "tensorrt" else None  # TensorRT-RTX builds without one
    request = make_request(
        content, chosen, options, profiles=engine_profiles(model, batch=batch, imgsz=imgsz), precision=precision,
        gpu=str(gpu or ""), calibration_sha256=calibration.sha256 if calibration and is_turned else "",
        turned_by=turned_by(precision) if is_turned else "",
    )  # fmt: skip
    graph = b""

    def build() -> Engine:
        nonlocal graph
        graph = turn(content, precision, calibration, name) if is_turned else content
        return cache.learn(
            timing_name(chosen, gpu),
            lambda timing: build_engine(
                graph, request, chosen, options, name=name, timing_cache=timing, on_progress=on_progress
            ),
        )

    with nullcontext() if gpu is None else on_gpu(index):
        found: CachedEngine = cache.get_or_build(request, name, build, say=say)
    store(found.engine, path)
    return EngineReport(path, found.engine.manifest, found.is_hit, found.reason, graph, len(content))


def turned_by(precision: str) -> str:
    """Name what writes a precision into a graph: another revision of it, or of its quantiser, makes another engine."""
    if precision != "int8":
        return TURNED_BY
    return f"quantize_int8 {QUANTIZE_REVISION} " + " ".join(
        f"{name} {_version(name)}" for name in ("onnxruntime", "onnx")
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # onnxruntime-gpu, say
        return "of another name"


def check_precision(model: Model, precision: str, calibration: Calibration | None) -> bool:
    """Tell whether a graph must be turned into a precision: it may be there already.

    Raises:
        ValueError: There is no such precision, the graph has another one already, or int8 has no pictures.
    """
    is_turned = must_turn(model, precision)
    if precision == "int8" and is_turned and calibration is None:
        raise ValueError("precision: int8 must be calibrated on real pictures, got none; give --images FOLDER")
    return is_turned


def refuse_cpu_int8(model: Model) -> None:
    """Raise ModelError for a graph in uint8, or with zero points other than 0, as CPUs want them: TensorRT takes neither.

    Raises:
        ModelError: A value is quantised so.
    """
    flow = Dataflow(model.graph)
    for node in model.graph.node:
        zero = node.input[2] if node.op_type == "QuantizeLinear" and len(node.input) > 2 else ""
        tensor = flow.constant_array(zero) if zero else None
        if tensor is not None and (tensor.dtype == np.uint8 or tensor.any()):
            raise ModelError(
                f"export_engine: {model.name} is quantised for CPUs (uint8 or shifted int8), which TensorRT does not take; "
                "quantize with --target tensorrt, or give the float32 file with --precision int8 --images FOLDER"
            )


def turn(content: bytes, precision: str, calibration: Calibration | None, name: str) -> bytes:
    """Write a precision into a graph."""
    if precision == "int8" and calibration is not None:
        from yolokkn.deploy.quantize import quantize_int8

        return quantize_int8(content, calibration.feeds(), target="tensorrt", name=name)
    return to_half(content, name)


def choose_library(name: str | None, options: EngineOptions, say: Callable[[str], None]) -> Library:
    """Return the library that was named, or one that is installed, starts, and can build what is asked for."""
    if name is None and options.capabilities:
        name = "tensorrt_rtx"  # the one that builds ahead of time
    return find_library(name, say)


def state_layout(content: bytes, layout: str, name: str, imgsz: tuple[int, int] | None = None) -> bytes:
    """Return an ONNX file that says itself what its outputs mean, so that its engine does.

    Raises:
        LayoutError: They do not have this layout.
        ValueError: There is no such layout.
        ModelError: The model cannot be run.
    """
    found = load(content, layout=layout, imgsz=imgsz)
    model = parse_model(content, name)
    set_metadata(model, {**model.metadata, "layout": found.layout.name, "task": found.layout.task})
    return model.to_bytes()


def why_not_here(path: Path, device: str) -> str | None:
    """Return why an engine cannot be run on this machine's GPU, in words; None where it can."""
    try:
        TensorRtBackend(path, device=device)
    except (DeviceError, MissingDependencyError, EngineRefusedError) as error:
        return str(error)
    return None


def calibrate_on(
    content: bytes, images: str | Path, *, limit: int = 128, imgsz: tuple[int, int] | None = None
) -> Calibration:
    """Prepare an int8 engine's calibration: pictures as the runtime itself feeds them to the model.

    Args:
        content: The bytes of the ONNX file.
        images: A folder, pattern, list or video of real pictures.
        limit: At most so many, spread evenly.
        imgsz: Height and width, for a model whose size is free.

    Raises:
        SourceError: There are no such pictures, or one cannot be read.
        ModelError: The model cannot be run.
    """
    model, seen = load(content, imgsz=imgsz), CalibrationSeen()

    def feeds() -> Iterable[Mapping[str, np.ndarray]]:
        return calibration_feeds(model, images, limit, seen=seen)

    digest = hashlib.sha256()
    for feed in feeds():
        for name in sorted(feed):
            digest.update(f"{name} {feed[name].dtype} {feed[name].shape}".encode())
            digest.update(np.ascontiguousarray(feed[name]).data)
    return Calibration(digest.hexdigest(), feeds, seen)
