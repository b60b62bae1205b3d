"""Models whose input follows the frame's aspect, so that nothing is computed for a wide frame's padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph import free_sizes, read_model
from yolokkn.graph.onnx_file import parse_model
from yolokkn.runtime.differences import compare_arrays
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model, as_float
from yolokkn.runtime.tolerances import TOLERANCES


def load_rectangular(model: Any, given: Mapping[str, Any]) -> Model:
    """Load a model whose input follows the frame's aspect; see `yolokkn.load`.

    A file of fixed size is opened with free ones. It must then compute at its own size what it computed before, and run at
    a smaller one, which a graph that has its sizes built in does not.

    Args:
        model: As `yolokkn.load` takes it.
        given: The other arguments.

    Raises:
        ModelError: The file's sizes are built in.
        ValueError: The model is no .onnx file of fixed size, or pictures are stretched for it.
    """
    fixed = load(model, **given)
    rule = fixed.layout.preprocess.rule
    if rule == "stretch":
        raise ValueError(f"rect: {fixed.name} takes stretched pictures, whose aspect is always that of its input")
    if fixed.rectangular:
        return fixed
    if fixed.picture.shape[2] is None and fixed.picture.shape[3] is None:
        return replace(fixed, rectangular=True)
    if isinstance(model, bytes):
        content = parse_model(model, fixed.name)
    elif isinstance(model, (str, Path)) and Path(model).suffix.lower() == ".onnx":
        content = read_model(Path(model))
    else:
        raise ValueError(f"rect: {fixed.name} has one size; only an .onnx file can be given free ones")
    freed = _freed(content, fixed, given)
    return replace(freed, name=fixed.name, class_names=fixed.class_names, names_reason=fixed.names_reason)


def _freed(content: Any, fixed: Model, given: Mapping[str, Any]) -> Model:
    said = f"rect: {fixed.name} has its sizes built in; export it with free ones (dynamic=True)"
    options = {
        **given,
        "layout": fixed.layout.name,
        "imgsz": fixed.input_hw,
        "letterbox": fixed.layout.preprocess.rule,
        "names": fixed.class_names or None,
    }
    if given.get("backend") == "auto":  # chosen already, for the file as it is
        options["backend"] = fixed.backend.name
    try:
        freed = replace(load(free_sizes(content).to_bytes(), **options), rectangular=True)
        freed.backend.choice = fixed.backend.choice
        size = fixed.input_hw
        smaller = (max(size[0] // 2 // freed.stride, 1) * freed.stride, size[1])
        blob = np.random.default_rng(0).random((1, 3, *size), np.float32)
        wanted, found = (as_float(one.backend.run(one.feeds(blob, size))) for one in (fixed, freed))
        less = freed.backend.run(freed.feeds(np.ascontiguousarray(blob[:, :, : smaller[0]]), smaller))
    except Exception as error:
        raise ModelError(f"{said}: {str(error).strip()[:200]}") from error
    tolerance = TOLERANCES["fp32"]
    for name, want in wanted.items():
        if compare_arrays(want, found[name], tolerance.absolute, tolerance.relative).num_beyond:
            raise ModelError(f"{said}: with free sizes it computes something else")
    if smaller != size and all(less[name].shape == want.shape for name, want in wanted.items()):
        raise ModelError(f"{said}: its outputs are of one size, whatever the picture's")
    return freed
