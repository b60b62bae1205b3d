"""One model file on every backend that is there, and as it stands in the file: what a comparison runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolokkn.errors import ModelError, YolokknError
from yolokkn.graph import darknet_to_onnx, parse_model, read_model
from yolokkn.graph.precision import computing_precision, graph_precision
from yolokkn.layouts import read_facts
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import BACKENDS, ENGINE_SUFFIXES
from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yolokkn.runtime.engine_facts import engine_facts
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model

PLAIN = "NumPy around ONNX Runtime without optimisations"


@dataclass(frozen=True)
class OpenedModels:
    """A model file, opened in every way.

    Attributes:
        name: The file's name.
        models: By backend.
        missing: Why a backend is not among them.
        plain: The file on ONNX Runtime, each node run as it stands; None for an engine, which it does not run.
        precision: "fp32", "fp16" or "int8": what its weights are stored in.
        computes_in: Likewise: what its arithmetic is done in.
        precision_reason: How that was seen.
        producer: Who wrote the file, where it says so.
    """

    name: str
    models: dict[str, Model]
    missing: dict[str, str]
    plain: Model | None
    precision: str
    computes_in: str
    precision_reason: str
    producer: str = ""

    @property
    def one(self) -> Model:
        """Any of them: what it is, wherever it runs."""
        return self.plain or next(iter(self.models.values()))

    @property
    def reference(self) -> Model:
        """The file on ONNX Runtime, each node run as it stands; an engine, which it does not run, raises ModelError."""
        if self.plain is None:
            raise ModelError(
                f"{self.name}: is an engine, which nothing else here runs; give the .onnx file that it was built of"
            )
        return self.plain


def open_models(
    model: str | Path | bytes | None,
    *,
    backends: Sequence[str] | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> OpenedModels:
    """Open a model file on several backends.

    Args:
        model: An .onnx file or its bytes, an engine (which runs on tensorrt alone), darknet's .cfg or .weights, or the name of
            a model that comes with the package.
        backends: As "openvino" or, on a device of its own, "onnxruntime:cuda"; each must be there then. None: all
            that are there. Empty: none, for a file that is the reference alone.
        device: Where backends run that name no device; None: the GPU for tensorrt, else the CPU.
        threads: Threads of each network.
        **options: As `yolokkn.load` takes them: layout, imgsz, score_threshold ...

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: It cannot be read or run, or is none that backends share (a checkpoint).
        EngineRefusedError: An engine is foreign, altered, or made for another library or GPU.
        DeviceError: There is no GPU for an engine.
        MissingDependencyError: A backend that was asked for is not there.
    """
    if is_engine(model):
        return _open_engine(Path(str(model)), backends, device=device, threads=threads, **options)
    name, content = _content(model)
    parsed = parse_model(content) if isinstance(content, bytes) else read_model(content)
    precision, reason = graph_precision(parsed)
    plain = load(OnnxRuntimeBackend(content, threads=threads, optimize=False), **options)
    models: dict[str, Model] = {}
    missing: dict[str, str] = {}
    for wanted in BACKENDS if backends is None else backends:
        backend, _, own_device = wanted.partition(":")
        try:
            own = computing_precision(parsed) if backend == "tensorrt" else None  # as the file is, not as that takes it
            opened = load(
                content, backend=backend, device=own_device or device, threads=threads, precision=own, **options
            )
        except YolokknError as error:
            if backends is not None:
                raise
            missing[wanted] = str(error)
            continue
        models[wanted] = replace(opened, name=name)
    if not models and missing:
        raise ModelError(f"{name}: no backend runs it: " + "; ".join(f"{k}: {v}" for k, v in missing.items()))
    producer = read_facts(parsed.metadata).producer or parsed.producer
    return OpenedModels(
        name, models, missing, replace(plain, name=name), precision, computing_precision(parsed), reason, producer
    )


def is_engine(model: str | Path | bytes | None) -> bool:
    """Tell an engine by its name."""
    return isinstance(model, (str, Path)) and Path(model).suffix.lower() in ENGINE_SUFFIXES


def _open_engine(path: Path, backends: Sequence[str] | None, *, device: str | None, **options: Any) -> OpenedModels:
    if backends is not None and not backends:
        raise ModelError(f"{path.name}: an engine is held against a model file, and cannot be the reference itself")
    models: dict[str, Model] = {}
    for wanted in backends or ("tensorrt",):
        backend, _, own_device = wanted.partition(":")
        models[wanted] = load(path, backend=backend, device=own_device or device, **options)
    engine = engine_facts(path)
    producer = engine.model_facts().producer
    return OpenedModels(
        path.name, models, {}, None, engine.precision, engine.precision, engine.precision_reason, producer
    )


def _content(model: str | Path | bytes | None) -> tuple[str, Path | bytes]:
    """Return the name and the ONNX file, or its bytes, of what the caller names."""
    if isinstance(model, bytes):
        return "<bytes>", model
    path = Path(resolve_model(model))
    if not path.exists():
        raise FileNotFoundError(f"model: no such file: {path}")
    if path.suffix.lower() in (".cfg", ".weights"):
        return path.name, darknet_to_onnx(path.with_suffix(".cfg"), path.with_suffix(".weights"))
    if path.suffix.lower() in (".safetensors", ".pt", ".pth"):
        load(path)  # says what is to be done instead
    return path.name, path
