"""What is known of an engine, for `yolokkn info` and `yolokkn doctor`, on a machine with or without a GPU."""

from __future__ import annotations

from typing import Any

from yolokkn.errors import printable
from yolokkn.runtime.engine_facts import EngineFacts
from yolokkn.runtime.engine_manifest import profiles_text

_WHOLE = "whole: every byte is as its manifest says"
_NAMES_SHOWN = 12


def engine_as_values(engine: EngineFacts) -> dict[str, Any]:
    """Return the facts of an engine as plain values; None where nobody tells."""
    facts = engine.model_facts()
    known: dict[str, Any] = {
        "engine": engine.path.name,
        "is_whole": engine.problem is None,
        "is_foreign": engine.is_foreign,
        "state": _WHOLE if engine.problem is None else f"REFUSED: {engine.problem}",
        "precision": engine.stated or None,
        "tolerances_of": engine.precision,
        "precision_reason": engine.precision_reason,
        "producer": facts.producer,
        "layout": facts.layout,
        "task": facts.task,
        "input_size": None if facts.input_hw is None else list(facts.input_hw),
        "class_names": list(facts.class_names or ()),
        "megabytes": round(engine.num_bytes / 1e6, 2),
    }
    manifest = engine.manifest
    if manifest is None:
        return known
    request = manifest.request
    return known | {
        "model": manifest.name,
        "library": f"{request.library} {request.library_version}",
        "target": request.target,
        "sizes": profiles_text(request.profiles),
        "built": f"{manifest.created}, in {manifest.build_s:.1f} s, by yolokkn {request.producer.partition(' ')[0]}",
        "model_sha256": request.model_sha256,
    }


def engine_as_text(known: dict[str, Any]) -> str:
    """Return the facts as aligned lines."""
    names = known["class_names"]
    more = f", ... ({len(names)} in all)" if len(names) > _NAMES_SHOWN else ""
    producer = f" ({known['producer']})" if known["producer"] else ""
    precision = f"{known['precision'] or 'precision unknown'}: {known['precision_reason']}"
    rows = [
        ("engine", f"{known['engine']}{producer}, {known['megabytes']:.2f} MB, {precision}"),
        ("state", known["state"]),
    ]
    if "model" in known:
        rows += [
            ("model", f"{known['model']}, SHA-256 {known['model_sha256'][:16]}..."),
            ("runs on", f"{known['target']}, by {known['library']}"),
        ]
    rows += [
        ("sizes", _sizes(known)),
        ("layout", known["layout"] or "not told by the file; found out when it is loaded"),
        ("task", known["task"] or "not told by the file"),
        ("classes", ", ".join(names[:_NAMES_SHOWN]) + more or "not named by the file"),
    ]
    rows += [("built", known["built"])] if "built" in known else []
    return printable("\n".join(f"{key:<9} {value}" for key, value in rows))


def _sizes(known: dict[str, Any]) -> str:
    size = " x ".join(map(str, known["input_size"] or ())) + " (height x width) by the metadata"
    told = [known["sizes"]] if "sizes" in known else []
    return ", ".join(told + ([size] if known["input_size"] else [])) or "not told by the file"
