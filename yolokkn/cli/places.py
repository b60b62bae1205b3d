"""What a command reads, which it never replaces, and where its results go when nothing is said."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from yolokkn.runtime.assets import embedded_models
from yolokkn.runtime.backends import ENGINE_SUFFIXES
from yolokkn.runtime.uri import PLACE

_MODELS = ("model", "path", "reference", "int8")
_OTHERS = (
    "images", "annotations", "names", "source", "source_option", "data", "gt", "results", "detections", "tracker", "tracker_file",
    "zones",
)  # fmt: skip


def files_read(args: argparse.Namespace) -> list[Path]:
    """Return the files and folders that a command line names to be read, a model's companions among them.

    Example:
        >>> [str(path) for path in files_read(argparse.Namespace(model="tiny.cfg", images="photos"))]
        ['tiny.cfg', 'tiny.weights', 'photos']
    """
    found: list[Path] = []
    for name in _MODELS:
        found += model_files(getattr(args, name, None))
    for name in _OTHERS:
        value = getattr(args, name, None)
        found += [Path(item) for item in (value if isinstance(value, list) else [value]) if item]
    return found


def model_files(model: Any) -> list[Path]:
    """Return the files that a model is read from: darknet's are two, an engine has its manifest, a name stands for a file."""
    if not isinstance(model, (str, Path)) or not str(model):
        return []
    path, models = Path(model), embedded_models()
    if not path.exists() and str(model) in models:
        return [models[str(model)].path]
    suffix = path.suffix.lower()
    if suffix in (".cfg", ".weights"):
        return [path.with_suffix(".cfg"), path.with_suffix(".weights")]
    if suffix in ENGINE_SUFFIXES:
        return [path, path.with_name(f"{path.name}.json")]
    return [path]


def default_place(model: str, ending: str) -> Path:
    """Return where a model made of another goes by default: the current folder, under the other's name.

    Never beside the other, whose folder may be somebody else's.

    Example:
        >>> str(default_place("runs/train/run/best.safetensors", "-int8.onnx"))
        'best-int8.onnx'
    """
    return Path(Path(model).stem + ending)


def require_stream(name: str, value: str) -> None:
    """Raise ValueError unless a place for results of several sources holds {stream}: they would write one file."""
    if PLACE not in value:
        raise ValueError(
            f"--{name} must hold {PLACE} where there are several sources, as results/{PLACE}.jsonl, got {value}"
        )


def require_suffix(save: Path, suffix: str) -> None:
    """Raise ValueError unless a file to write has the suffix of what is written."""
    if save.suffix.lower() != suffix:
        raise ValueError(f"--save must end in {suffix}, got {save.name}")
