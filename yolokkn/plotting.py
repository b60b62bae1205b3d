"""Figures of matplotlib, drawn without a screen and written whole."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

from yolokkn.errors import MissingDependencyError
from yolokkn.files import write_atomically

FORMATS = ("png", "svg", "pdf")
_NEEDS = "plots need matplotlib; run: pip install matplotlib"


def check_plot(target: Path) -> None:
    """Find out before the work whether a figure can be written there.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ValueError: The file's ending is none that can be written.
    """
    _kind(target)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingDependencyError(_NEEDS)


def _kind(target: Path) -> str:
    kind = target.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise ValueError(f"plot: must end in .png, .svg or .pdf, got {target.name!r}")
    return kind


def new_figure(rows: int, columns: int, width: float = 4.2, height: float = 3.2) -> tuple[Any, list[Any]]:
    """Return a figure and its panels, row by row; width and height are those of a panel, in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependencyError(_NEEDS) from None
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def save_figure(figure: Any, target: Path) -> None:
    """Write a figure as its file's ending says (.png, .svg, .pdf), atomically.

    Raises:
        ValueError: The ending is another.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    kind = _kind(target)
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=110)
    write_atomically(target, content.getvalue())
