"""The cases of the suite `backends`: one model on every backend, held against the file as it stands on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from yolokkn.benchmark.case import Case, Check, Run, Timed, Unsuitable
from yolokkn.benchmark.networks import network_case, runs_at_once
from yolokkn.graph.precision import less_exact
from yolokkn.runtime.backends import Backend
from yolokkn.runtime.model import Model
from yolokkn.runtime.parity import compare_models
from yolokkn.runtime.parity_models import OpenedModels, open_models

SUITE = "backends"
_NUM_CHECKED = 2  # pictures: a comparison runs NumPy's slow twins over each


class _Checked(Backend):
    """A backend whose runs are those of a case: what is checked is what is timed."""

    def __init__(self, backend: Backend, run: Run) -> None:
        self.inputs, self.outputs, self.metadata = backend.inputs, backend.outputs, backend.metadata
        self.op_types, self.threads = backend.op_types, backend.threads
        self._run = run

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        output = self._run(dict(feeds))
        return output.output if isinstance(output, Timed) else output


def parity_check(model: Model, plain: Model, images: Sequence[np.ndarray], precision: str) -> Check:
    """Return a check of a run of the network: from picture to detections, stage by stage, by the tolerances of parity."""

    def check(run: Run) -> str:
        checked = replace(model, backend=_Checked(model.backend, run))
        for index, image in enumerate(images[:_NUM_CHECKED]):
            found = compare_models({"it": checked}, plain, image, precision=precision)
            first = found.columns[0].first_difference
            if first is not None:
                return f"picture {index}: {first.stage}: {first.detail or first.text}"
        return ""

    return check


def backend_cases(
    model: Any,
    images: Sequence[np.ndarray],
    *,
    int8: Any = None,
    backends: Sequence[str] | None = None,
    threads: int,
    **options: Any,
) -> list[Case]:
    """Return the cases: single runs, and as many runs at once as there are threads, of each backend that is there.

    Args:
        model: A model file, or the name of a packaged model.
        images: (H, W, 3) uint8 BGR each: what the network is run on.
        int8: The same model in int8, as `yolokkn quantize` writes it; held against the model by the tolerances of int8.
        backends: Names; None: all that are there.
        threads: Threads of all runs together.
        **options: As `yolokkn.load` takes them.

    Raises:
        ModelError: The model cannot be read.
        MissingDependencyError: A backend that was asked for is not there.
    """
    if not len(images):
        raise ValueError("backend_cases: images must hold one at least, got none")
    opened = open_models(model, backends=backends, threads=threads, **options)
    precision = "int8-same" if opened.computes_in == "int8" else opened.computes_in
    found = _cases_of(opened, opened.reference, images, precision, "", threads)
    if int8 is not None:
        other = open_models(int8, backends=backends, threads=threads, **options)
        exact = less_exact(opened.precision, other.precision)
        found += _cases_of(other, opened.reference, images, exact, f" {other.precision}", threads)
    return found


def _cases_of(
    opened: OpenedModels, plain: Model, images: Sequence[np.ndarray], precision: str, suffix: str, threads: int
) -> list[Case]:
    found = []
    for name, model in opened.models.items():
        facts = {"stage": "network", "backend": name, "precision": opened.precision}
        check = parity_check(model, plain, images, precision)
        naming = {"suite": SUITE, "facts": facts | {"mode": "single runs"}}
        found.append(network_case(model, images, check, name=f"{name}{suffix}, single runs", **naming))
        if threads > 1:
            title = f"{name}{suffix}, {threads} runs at once"
            mode = facts | {"mode": f"{threads} runs at once"}
            found.append(runs_at_once(model, images, check, threads, name=title, suite=SUITE, facts=mode))
    found += [_absent(name, suffix, why) for name, why in opened.missing.items()]
    return found


def _absent(name: str, suffix: str, why: str) -> Case:
    def make() -> Run:
        raise Unsuitable(why)

    return Case(f"{name}{suffix}", SUITE, make, [None], None, facts={"stage": "network", "backend": name})
