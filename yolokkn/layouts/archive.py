"""Layouts as plain values, and back: for files that hold outputs without the model that gave them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from yolokkn.errors import LayoutError
from yolokkn.layouts.base import Layout, Preprocess
from yolokkn.layouts.detect import LAYOUTS


def layout_to_plain(layout: Layout) -> dict[str, Any]:
    """Return a layout as values that JSON can hold.

    Example:
        >>> from yolokkn.layouts import LAYOUTS
        >>> plain = layout_to_plain(LAYOUTS["v8"](num_classes=2, head="output0"))
        >>> plain["name"], layout_from_plain(plain).head
        ('v8', 'output0')
    """
    values = {f.name: _plain(getattr(layout, f.name)) for f in fields(layout) if f.name != "kernels"}
    return {"name": layout.name, "values": values}


def layout_from_plain(plain: Any) -> Layout:
    """Return the layout that `layout_to_plain` described.

    Raises:
        LayoutError: There is no such layout, or its values are not its.
    """
    try:
        cls = LAYOUTS[plain["name"]]
        values = {name: _typed(value) for name, value in plain["values"].items()}
        known = {f.name for f in fields(cls)} - {"kernels"}
        if set(values) - known:
            raise LayoutError(f"layout: {plain['name']} has no value {min(set(values) - known)!r}")
        values["preprocess"] = Preprocess(**values["preprocess"])
        return cls(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LayoutError(f"layout: the description of a layout is not one: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"dtype": value.dtype.str, "array": value.tolist()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_typed(item) for item in value)
    if isinstance(value, dict):
        if set(value) == {"dtype", "array"}:
            dtype = np.dtype(value["dtype"])
            if dtype.kind not in "fiu":
                raise ValueError(f"an array of {dtype}")
            return np.array(value["array"], dtype)
        return {name: _typed(item) for name, item in value.items()}
    return value
