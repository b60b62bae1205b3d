"""What `yolokkn doctor` says of a model beside its tables: lines for people, and the whole as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from yolokkn.cli.info_engine import engine_as_values
from yolokkn.runtime.engine_facts import EngineFacts
from yolokkn.runtime.parity_models import OpenedModels
from yolokkn.runtime.parity_report import PictureParity, plural
from yolokkn.runtime.parity_summary import summarize


def describe(opened: OpenedModels) -> list[str]:
    """Return what the model is and where it runs, for people."""
    model = opened.one
    threads = next(iter(opened.models.values())).backend.threads if opened.models else None
    share = plural(threads, "thread") if threads else "all threads"
    producer = f" ({opened.producer})" if opened.producer else ""
    computes = "" if opened.computes_in == opened.precision else f", computed in {opened.computes_in}"
    h, w = model.input_hw
    size = f"{h} x {w}" + (
        f", or smaller by the picture's aspect, multiples of {model.stride}" if model.rectangular else ""
    )
    return [
        f"model     {opened.name}{producer}, {opened.precision}: {opened.precision_reason}{computes}",
        f"layout    {model.layout.name}: {model.reason}; task {model.layout.task}",
        f"picture   {size}; {model.layout.preprocess}",
        f"backends  {', '.join(opened.models)}" + ("" if opened.plain is None else f", {share}"),
        *(f"          not {name}: {why}" for name, why in opened.missing.items()),
    ]


def start_report(facts: dict[str, Any], engine: EngineFacts | None) -> dict[str, Any]:
    """Return what is known before anything is compared, as plain values."""
    known = {} if engine is None else {"engine": engine_as_values(engine)}
    return {"installation": facts, **known, "compared": False, "agrees": None, "pictures": []}


def of_results(opened: OpenedModels, results: Sequence[PictureParity], agrees: bool) -> dict[str, Any]:
    """Return the model and what was found, as plain values."""
    model = opened.one
    return {
        "model": {
            "name": opened.name,
            "producer": opened.producer,
            "precision": opened.precision,
            "computes_in": opened.computes_in,
            "precision_reason": opened.precision_reason,
            "layout": model.layout.name,
            "layout_reason": model.reason,
            "task": model.layout.task,
            "input_hw": list(model.input_hw),
            "preprocess": str(model.layout.preprocess),
            "class_names": list(model.class_names),
            "backends": list(opened.models),
            "missing": opened.missing,
        },
        "compared": True,
        "agrees": agrees,
        "pictures": [result.numbers() for result in results],
        "together": [summary.numbers() for summary in summarize(results)],
    }


def as_json(report: dict[str, Any]) -> str:
    """Return a report as JSON."""
    return json.dumps(finite(report), indent=2, allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """Return plain values with numbers that JSON does not know, such as infinity, as text."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
