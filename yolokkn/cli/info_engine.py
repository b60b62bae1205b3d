"""`yolokkn info` of an engine: what its manifest says, held against the file, on a machine with or without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yolokkn.layouts import read_facts
from yolokkn.runtime.engine_manifest import open_engine, profiles_text


def describe_engine(path: Path) -> dict[str, Any]:
    """Verify an engine and return what it is, as plain values.

    Raises:
        EngineRefusedError: It has no manifest, or is not what that says.
    """
    manifest = open_engine(path).manifest
    request, facts = manifest.request, read_facts(manifest.metadata)
    return {
        "engine": path.name,
        "model": manifest.name,
        "precision": request.precision,
        "library": f"{request.library} {request.library_version}",
        "target": request.target,
        "sizes": profiles_text(request.profiles),
        "layout": facts.layout,
        "task": facts.task,
        "class_names": list(facts.class_names or ()),
        "megabytes": round(manifest.file_bytes / 1e6, 2),
        "built": f"{manifest.created}, in {manifest.build_s:.1f} s, by yolokkn {request.producer}",
        "model_sha256": request.model_sha256,
        "state": "whole: every byte is as its manifest says",
    }


def engine_as_text(facts: dict[str, Any]) -> str:
    """Return the facts as aligned lines."""
    names = facts["class_names"]
    shown = ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")
    rows = [
        ("engine", f"{facts['engine']}, {facts['megabytes']:.2f} MB, {facts['precision']}"),
        ("state", facts["state"]),
        ("model", f"{facts['model']}, SHA-256 {facts['model_sha256'][:16]}..."),
        ("runs on", f"{facts['target']}, by {facts['library']}"),
        ("sizes", facts["sizes"]),
        ("layout", facts["layout"] or "not told by the file; found out when it is loaded"),
        ("task", facts["task"] or "not told by the file"),
        ("classes", shown or "not named by the file"),
        ("built", facts["built"]),
    ]
    return "\n".join(f"{key:<9} {value}" for key, value in rows)
