"""The suites behind `yolokkn benchmark`: from what is asked for to a finished run."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.benchmark.backends import backend_cases
from yolokkn.benchmark.case import Case
from yolokkn.benchmark.kernels import kernel_cases
from yolokkn.benchmark.machine import LoadMeter, allowed_cores, pinned
from yolokkn.benchmark.measure import Plan, run_cases
from yolokkn.benchmark.pipeline import pipeline_cases, scene_images, source_name
from yolokkn.benchmark.results import BenchmarkRun
from yolokkn.benchmark.startup import startup_cases
from yolokkn.benchmark.trackers import NUM_OBJECTS, QUICK_NUM_OBJECTS, tracker_cases
from yolokkn.benchmark.yardsticks import yardsticks
from yolokkn.errors import ModelError
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.load import load
from yolokkn.runtime.parity_models import open_models
from yolokkn.runtime.track import TRACK_SCORE_THRESHOLD

SUITES = ("kernels", "trackers", "backends", "pipeline", "startup")
_ONE_THREAD = ("kernels", "trackers")
_PLANS = {  # thorough, quick
    "kernels": (Plan(40.0), Plan(3.0)),
    "trackers": (Plan(30.0), Plan(2.5)),
    "backends": (Plan(40.0, turn_ms=100.0), Plan(4.0, min_rounds=6, turn_ms=40.0)),
    "pipeline": (Plan(70.0, min_rounds=6, turn_ms=400.0, max_calls=20), Plan(6.0, min_rounds=6, turn_ms=100.0)),
    "startup": (Plan(30.0, min_rounds=8), Plan(4.0, min_rounds=6)),
}
_FRAMES = (120, 20)


@dataclass(frozen=True)
class Request:
    """What is asked of the suites.

    Attributes:
        model: A model file, or the name of a packaged one; None: the packaged default.
        source: What `open_source` takes, nothing live.
        int8: The model in int8, for the backends.
        backends: Names; None: all that are there. The suites that run one take the first, onnxruntime where none is named.
        threads: Threads of networks; None: every core.
        tracker: Of the pipeline.
        quick: A few seconds a suite: enough to see that all works and what is slow, not to see small changes.
        only: Cases whose name holds this text.
        options: As `yolokkn.load` takes them.
    """

    model: str | None = None
    source: Any = None
    int8: str | None = None
    backends: Sequence[str] | None = None
    threads: int | None = None
    tracker: str = "kkn"
    quick: bool = False
    only: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_threads(self) -> int:
        """Threads of networks."""
        return self.threads or len(allowed_cores())


def run_suites(names: Sequence[str], request: Request, say: Callable[[str], None] | None = None) -> BenchmarkRun:
    """Measure suites one after the other, each between yardsticks of its own.

    Args:
        names: Of `SUITES`.
        request: What is asked for.
        say: Takes a line about what goes on.

    Raises:
        ValueError: There is no such suite, no case of such a name, or there are fewer cores than threads.
        ModelError: The model cannot be read or run.
        SourceError: The source cannot be read, or is live.
    """
    wrong = next((name for name in names if name not in SUITES), None)
    if wrong is not None:
        raise ValueError(f"run_suites: names must be of {', '.join(SUITES)}, got {wrong!r}")
    most = len(allowed_cores())
    if request.num_threads > most:
        raise ValueError(f"run_suites: threads must be within 1 and {most}, the cores there are, got {request.threads}")
    meter = LoadMeter.start()
    parts = [part for name in names if (part := _run_suite(name, request, say)) is not None]
    if not parts:
        raise ValueError(f"run_suites: only must be part of a case's name, got {request.only!r}")
    cores = {name: part.settings["cores"] for name, part in zip(names, parts, strict=False)}
    results = tuple(itertools.chain.from_iterable(part.results for part in parts))
    settings = _settings(names, request) | {"cores": cores}
    return replace(parts[0], load=meter.read(), settings=settings, results=results)


def _run_suite(name: str, request: Request, say: Callable[[str], None] | None) -> BenchmarkRun | None:
    threads = 1 if name in _ONE_THREAD else request.num_threads
    with pinned(threads) as cores:
        cases = [case for case in _MAKERS[name](request) if request.only in case.name]
        if not cases:
            return None
        plan = _PLANS[name][request.quick]
        return run_cases([*cases, *yardsticks(name, threads)], plan, settings={"cores": list(cores)}, say=say)


def _settings(names: Sequence[str], request: Request) -> dict[str, Any]:
    found: dict[str, Any] = {"suites": list(names), "quick": request.quick, "threads": request.num_threads}
    if any(name not in _ONE_THREAD for name in names):
        found |= {"model": _model_record(request.model), "tracker": request.tracker}
    if any(name in ("pipeline", "backends", "startup") for name in names):
        found["source"] = source_name(request.source)
    if request.int8 is not None and "backends" in names:
        found["int8"] = _model_record(request.int8)
    return found | {key: str(value) for key, value in request.options.items() if value is not None}


def _model_record(model: str | None) -> dict[str, str]:
    path = _model_path(model)
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}


def _model_path(model: str | None) -> Path:
    path = Path(resolve_model(model))
    if path.suffix.lower() == ".safetensors":
        raise ModelError(f"{path.name}: is a checkpoint; measure what runs: yolokkn export --model {path.name} first")
    if not path.is_file():
        raise FileNotFoundError(f"model: no such file: {path}")
    return path


def _kernels(request: Request) -> list[Case]:
    return kernel_cases()


def _trackers(request: Request) -> list[Case]:
    return tracker_cases(QUICK_NUM_OBJECTS if request.quick else NUM_OBJECTS)


def _backends(request: Request) -> list[Case]:
    return backend_cases(
        _model_path(request.model),
        scene_images(request.source),
        int8=request.int8,
        backends=request.backends,
        threads=request.num_threads,
        **request.options,
    )


def _pipeline(request: Request) -> list[Case]:
    backend = _one_backend(request)
    options = {"score_threshold": TRACK_SCORE_THRESHOLD, **request.options}
    opened = open_models(_model_path(request.model), backends=[backend], threads=request.num_threads, **options)
    precision = "int8-same" if opened.computes_in == "int8" else opened.computes_in
    return pipeline_cases(
        opened.models[backend],
        opened.reference,
        request.source,
        tracker=request.tracker,
        num_frames=_FRAMES[request.quick],
        precision=precision,
    )


def _one_backend(request: Request) -> str:
    """Return the backend of the suites that run one: the first that is named."""
    return (request.backends or ("onnxruntime",))[0]


def _startup(request: Request) -> list[Case]:
    path = _model_path(request.model)
    options = {**request.options, "backend": _one_backend(request)}
    model = load(path, threads=request.num_threads, **options)
    image = np.ascontiguousarray(scene_images(request.source, 1)[0])
    return startup_cases(model, path, image, threads=request.num_threads, options=options)


_MAKERS: Mapping[str, Callable[[Request], list[Case]]] = {
    "kernels": _kernels,
    "trackers": _trackers,
    "backends": _backends,
    "pipeline": _pipeline,
    "startup": _startup,
}
