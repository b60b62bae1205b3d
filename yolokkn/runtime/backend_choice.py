"""`backend="auto"`: which backend is the fastest for a model on this machine, measured once and remembered."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.benchmark.case import Case, Check, Run
from yolokkn.benchmark.measure import Plan, measure
from yolokkn.benchmark.networks import network_case, runs_at_once
from yolokkn.errors import YolokknError
from yolokkn.files import write_atomically
from yolokkn.runtime.backends import CPU_BACKENDS
from yolokkn.runtime.backends.base import available_cores
from yolokkn.runtime.differences import compare_arrays
from yolokkn.runtime.engine_cache import cache_folder
from yolokkn.runtime.installation import installation
from yolokkn.runtime.model import Model, as_float
from yolokkn.runtime.tolerances import TOLERANCES

AUTO = "auto"
TIME_LIMIT_S = 20.0
LEAST_GAIN = 1.1  # a backend must be so many times as fast to take the default's place
_FILE = "backends.json"
_MOST_REMEMBERED = 200
_MOST_BYTES = 1 << 20
_BUDGET_S, _ROUNDS, _RUNS_EACH = 2.0, 4, 2
_SUITE = "backends"


@dataclass(frozen=True)
class BackendChoice:
    """What runs a model, and why.

    Attributes:
        backend: Its name.
        reason: For people: by how much it is faster, or why nothing else could be chosen.
        is_remembered: It was measured before.
    """

    backend: str
    reason: str
    is_remembered: bool = False


def choose_backend(
    open_model: Callable[[str], Model],
    key: Mapping[str, Any],
    *,
    time_limit_s: float = TIME_LIMIT_S,
    folder: Path | None = None,
) -> tuple[BackendChoice, Model]:
    """Measure a model on every CPU backend that is there, or remember what was measured.

    ONNX Runtime keeps the place unless another is 1.1 times as fast (the mean of single runs on all threads and of as
    many single-threaded runs at once) and gives the same outputs within the tolerances of parity.

    Args:
        open_model: Opens the model on the backend of a name.
        key: What the choice depends on; see `choice_key`.
        time_limit_s: No measurement is begun that would take longer; the default is then chosen, and nothing remembered.
        folder: Where choices are remembered; None: the cache folder.

    Returns:
        The choice, and the model that runs so.

    Raises:
        YolokknError: The model does not open on ONNX Runtime.

    Cost:
        Some seconds where nothing is remembered.
    """
    started = time.monotonic()
    file = (cache_folder() if folder is None else folder) / _FILE
    name = _digest(key)
    known = _read(file).get(name)
    if known is not None:
        with contextlib.suppress(YolokknError):  # a backend that was there is not: measure again
            said = f"{known['reason']}; remembered of {known['when']}"
            return BackendChoice(known["backend"], said, True), open_model(known["backend"])
    models, missing = _open_all(open_model)
    default = models[CPU_BACKENDS[0]]
    if len(models) == 1:
        return BackendChoice(CPU_BACKENDS[0], "no other backend: " + "; ".join(missing.values())), default
    times, wrong, is_late = _measured(models, time_limit_s - (time.monotonic() - started))
    if is_late:
        said = f"measuring the backends would take more than {time_limit_s:g} s; not remembered"
        return BackendChoice(CPU_BACKENDS[0], said), default
    choice = _best(times, wrong)
    _remember(file, name, choice, key)
    return choice, models[choice.backend]


def choice_key(model: str | Path | bytes, threads: int | None, imgsz: Any) -> dict[str, Any]:
    """Return what a choice depends on: the model's content, its size and threads, the machine, and the versions."""
    facts = installation()
    packages = {name: facts["packages"].get(name) for name in CPU_BACKENDS}
    return {
        "model": hashlib.sha256(_content(model)).hexdigest(),
        "threads": threads or available_cores(),
        "imgsz": imgsz,
        "cpu": facts["cpu"],
        "cores": available_cores(),
        "packages": packages,
        "yolokkn": facts["yolokkn"],
    }


def forget_choices(folder: Path | None = None) -> int:
    """Forget every choice; returns how many there were."""
    file = (cache_folder() if folder is None else folder) / _FILE
    count = len(_read(file))
    file.unlink(missing_ok=True)
    return count


def _content(model: str | Path | bytes) -> bytes:
    if isinstance(model, bytes):
        return model
    path = Path(model)
    if path.suffix.lower() in (".cfg", ".weights"):
        return b"".join(path.with_suffix(suffix).read_bytes() for suffix in (".cfg", ".weights"))
    return path.read_bytes()


def _open_all(open_model: Callable[[str], Model]) -> tuple[dict[str, Model], dict[str, str]]:
    models, missing = {CPU_BACKENDS[0]: open_model(CPU_BACKENDS[0])}, {}
    for name in CPU_BACKENDS[1:]:
        try:
            models[name] = open_model(name)
        except YolokknError as error:
            missing[name] = str(error)
    return models, missing


def _measured(models: Mapping[str, Model], time_left_s: float) -> tuple[dict[str, list[float]], dict[str, str], bool]:
    """Return median milliseconds by backend (single runs, and at once), what is wrong with others, and if time is short."""
    default = models[CPU_BACKENDS[0]]
    image = _picture(default.input_hw)
    feeds = default.workspace().feeds(image)
    wanted = as_float(default.backend.run(feeds))
    begin = time.monotonic()
    default.backend.run(feeds)
    run_s = time.monotonic() - begin
    threads = default.backend.threads or available_cores()
    num_runs = 4 + 2 * _ROUNDS + (1 + _ROUNDS) * _RUNS_EACH * threads
    if run_s * len(models) * num_runs > time_left_s:
        return {}, {}, True
    cases = []
    for name, model in models.items():
        check = _same_outputs(feeds, wanted)
        facts = {"backend": name}
        cases.append(network_case(model, [image], check, name=f"{name}, single", suite=_SUITE, facts=facts))
        if threads > 1:
            cases.append(_at_once(model, image, threads, name, facts))
    plan = Plan(min(_BUDGET_S, max(time_left_s / 4, 0.1)), min_rounds=_ROUNDS, turn_ms=20.0)
    results = measure(cases, plan)
    wrong = {str(r.facts["backend"]): r.refused for r in results if r.refused}
    times: dict[str, list[float]] = {}
    for result in results:
        if result.is_measured and result.facts["backend"] not in wrong:
            times.setdefault(str(result.facts["backend"]), []).append(result.p50)
    return times, wrong, False


def _at_once(model: Model, image: np.ndarray, threads: int, name: str, facts: dict[str, Any]) -> Case:
    return runs_at_once(
        model, [image], None, threads, runs_each=_RUNS_EACH, name=f"{name}, at once", suite=_SUITE, facts=facts
    )


def _picture(hw: tuple[int, int]) -> np.ndarray:
    """Return a picture of blots: something for a detector to be uncertain about."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (hw[0] // 16 + 1, hw[1] // 16 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(16, 0).repeat(16, 1)[: hw[0], : hw[1]])


def _same_outputs(feeds: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> Check:
    tolerance = TOLERANCES["fp32"]

    def check(run: Run) -> str:
        found = as_float(run(feeds))
        for name, value in wanted.items():
            if name not in found or found[name].shape != value.shape:
                return f"output {name} is missing or of another shape"
            apart = compare_arrays(value, found[name], tolerance.absolute, tolerance.relative)
            if apart.num_beyond:
                return f"output {name} differs by {apart.largest:.2g}"
        return ""

    return check


def _best(times: Mapping[str, list[float]], wrong: Mapping[str, str]) -> BackendChoice:
    """Choose by the mean ratio over the ways to run."""
    default = CPU_BACKENDS[0]
    gains = {
        name: math.exp(float(np.mean(np.log(np.array(times[default]) / np.array(row)))))
        for name, row in times.items()
        if name != default and len(row) == len(times[default])
    }
    best = max(gains, key=lambda name: gains[name], default=default)
    told = [f"{name} is {gain:.2f} times as fast as {default}" for name, gain in gains.items()]
    told += [f"{name} gives other outputs ({why})" for name, why in wrong.items()]
    if best == default or gains[best] < LEAST_GAIN:
        return BackendChoice(default, f"{'; '.join(told)}: less than {LEAST_GAIN} keeps the default")
    milliseconds = " and ".join(f"{b:.1f} instead of {a:.1f}" for a, b in zip(times[default], times[best], strict=True))
    return BackendChoice(best, f"{'; '.join(told)} with the same outputs ({milliseconds} ms)")


def _digest(key: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()


def _read(file: Path) -> dict[str, dict[str, str]]:
    """Return what is remembered; what is not as it was written counts as nothing."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            return {}
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    rows = content.items() if isinstance(content, dict) else ()
    return {str(name): row for name, row in rows if _is_choice(row)}


def _is_choice(row: Any) -> bool:
    texts = isinstance(row, dict) and all(isinstance(row.get(k), str) for k in ("backend", "reason", "when", "model"))
    return texts and row["backend"] in CPU_BACKENDS


def _remember(file: Path, name: str, choice: BackendChoice, key: Mapping[str, Any]) -> None:
    """Keep a choice; where the folder cannot be written, it is measured again the next time."""
    when = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    row = {"backend": choice.backend, "reason": choice.reason, "when": when, "model": str(key["model"])[:16]}
    rows = {**{k: v for k, v in _read(file).items() if k != name}, name: row}
    kept = dict(list(rows.items())[-_MOST_REMEMBERED:])
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(file, json.dumps(kept, indent=1) + "\n")
