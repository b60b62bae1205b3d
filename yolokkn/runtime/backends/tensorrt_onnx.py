"""An .onnx file as an engine for the GPU that is here: its precision is chosen, and it is built through the cache."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from yolokkn.errors import DeviceError, ModelError
from yolokkn.graph import Model
from yolokkn.graph.half_graph import TURNED_BY, can_be_half, to_half
from yolokkn.graph.precision import computing_precision, must_turn
from yolokkn.runtime.cuda_device import Gpu
from yolokkn.runtime.engine_build import EngineOptions, build_engine, make_request, timing_name
from yolokkn.runtime.engine_cache import CachedEngine, EngineCache
from yolokkn.runtime.engine_library import Library
from yolokkn.runtime.engine_manifest import Engine
from yolokkn.runtime.engine_profiles import engine_profiles


class ChosenPrecision(NamedTuple):
    """The precision of an engine; whether the graph must be turned into it; what people are told where nobody asked for it."""

    precision: str
    is_turned: bool
    remark: str


def engine_of_onnx(
    model: Model,
    library: Library,
    gpu: Gpu,
    cache: EngineCache,
    *,
    name: str,
    imgsz: tuple[int, int] | None,
    chosen: ChosenPrecision,
    say: Callable[[str], None],
) -> CachedEngine:
    """Build a model's engine, or find it in the cache.

    Args:
        model: The ONNX model.
        library: Who builds it.
        gpu: What it is built for.
        cache: Where engines are kept.
        name: The model's, for messages.
        imgsz: Largest height and width, for a model whose size is free.
        chosen: From `choose_precision`.
        say: Told what is built and why.

    Raises:
        DeviceError: The library builds no engines for this GPU.
        ModelError: The library cannot build it.
    """
    if library.capabilities and gpu.capability not in library.capabilities:
        raise DeviceError(
            f"{name}: {library.title} {library.version} builds for {', '.join(library.capabilities)}, here is {gpu}; "
            "install TensorRT"
        )
    content, options = model.to_bytes(), EngineOptions()
    is_free = any(not isinstance(size, int) for spec in model.inputs for size in spec.shape[2:])
    request = make_request(
        content, library, options, profiles=engine_profiles(model, largest=imgsz if is_free else None),
        precision=chosen.precision, gpu=str(gpu) if library.name == "tensorrt" else "",
        turned_by=TURNED_BY if chosen.is_turned else "",
    )  # fmt: skip

    def build() -> Engine:
        if chosen.remark:
            say(f"{name}: {chosen.remark}")
        graph = to_half(content, name) if chosen.is_turned else content
        return cache.learn(
            timing_name(library, gpu),
            lambda timing: build_engine(
                graph, request, library, options, name=name, timing_cache=timing, on_progress=_stop_with_the_process
            ),
        )

    return cache.get_or_build(request, name, build, say=lambda text: say(f"{name}: {text}"))


def choose_precision(model: Model, asked: str | None) -> ChosenPrecision:
    """Return the precision of a model's engine.

    Where none is asked for, a float32 model is turned to float16, its head excepted, as is usual on a GPU; any other keeps
    its own precision.

    Raises:
        ValueError: int8 is asked for, which must be calibrated, or another that the model cannot be had in.
    """
    present = computing_precision(model)
    if asked == "int8" and present != "int8":
        raise ValueError(
            "precision: int8 must be calibrated on real pictures, which a backend has none of; run: yolokkn export --model "
            f"{model.name} --format engine --precision int8 --images FOLDER, and give the .engine file"
        )
    if asked is not None or present != "fp32":
        precision = asked or present
        return ChosenPrecision(precision, must_turn(model, precision), "")
    if not can_be_half(model):
        return ChosenPrecision("fp32", False, "has no layer that can compute in float16: all of it is float32")
    remark = "in float16, but for its head; --precision fp32 (precision='fp32') computes as the file does"
    return ChosenPrecision("fp16", True, remark)


def _stop_with_the_process(phase: str, done: int, total: int) -> None:
    """End a build whose process is ending: nobody waits for it, and its callbacks need an interpreter."""
    if not threading.main_thread().is_alive():
        raise ModelError("the build was given up, for the process is ending")
