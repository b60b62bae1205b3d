"""Pictures of a tracker's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from yolokkn.evaluation.mot import MotFigures
from yolokkn.evaluation.mot_hota import ALPHAS
from yolokkn.plotting import new_figure, save_figure


def plot_hota(figures: Mapping[str, MotFigures], target: Path) -> None:
    """Draw HOTA and its parts over the thresholds of localisation, a line for each set of figures.

    Args:
        figures: By the name that stands in the legend.
        target: The picture; its ending says the format (.png, .svg, .pdf).

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ValueError: The ending is none that can be written.
    """
    figure, axes = new_figure(1, 3, height=4.2)
    for axis, part in zip(axes, ("hota", "det_a", "ass_a"), strict=True):
        for name, row in figures.items():
            values = getattr(row.hota, part)
            axis.plot(ALPHAS, values, marker=".", label=f"{name} ({values.mean():.3f})")
        axis.set_title({"hota": "HOTA", "det_a": "detection (DetA)", "ass_a": "association (AssA)"}[part])
        axis.set_xlabel("IoU threshold alpha")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save_figure(figure, target)
