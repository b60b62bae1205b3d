"""What a change of precision costs in accuracy and brings in speed: the model before and after it, on the same pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from yolokkn.errors import MissingDependencyError
from yolokkn.evaluation.coco import CocoDataset, IouType, evaluate_coco
from yolokkn.runtime.backends import CPU_BACKENDS
from yolokkn.runtime.evaluate import collect_coco_results, map_model_classes
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model, size_input

_ENOUGH = 1.05  # times as fast: what a machine with other work on it can tell from nothing
_IOU_TYPES: dict[str, IouType] = {"segment": "segm", "segment-pose": "segm"}


@dataclass(frozen=True)
class AccuracyDelta:
    """Average precision of two models over the same pictures.

    Attributes:
        iou_type: What was compared: "bbox", or "segm" for models that give masks.
        num_images: How many pictures.
        backend: What ran them.
        ap_before: AP at IoU 0.5 to 0.95 of the first model, 0 to 1.
        ap_after: Of the second.
        ap50_before: AP at IoU 0.5 of the first.
        ap50_after: Of the second.
    """

    iou_type: str
    num_images: int
    backend: str
    ap_before: float
    ap_after: float
    ap50_before: float
    ap50_after: float

    @property
    def delta(self) -> float:
        """What the second model's AP is above the first one's."""
        return self.ap_after - self.ap_before

    def text(self) -> str:
        """Return the figures as a line for people."""
        return (
            f"AP {self.ap_before:.4f} -> {self.ap_after:.4f} ({self.delta:+.4f}), "
            f"AP50 {self.ap50_before:.4f} -> {self.ap50_after:.4f} ({self.ap50_after - self.ap50_before:+.4f}): "
            f"{self.iou_type} on {self.num_images} pictures, {self.backend}"
        )


@dataclass(frozen=True)
class SpeedRatio:
    """Time of two networks on one backend, measured in turn.

    Attributes:
        backend: What ran them.
        before_ms: Median of the first.
        after_ms: Median of the second.
        ratio: Median over the pairs of runs: how many times as fast the second is.
    """

    backend: str
    before_ms: float
    after_ms: float
    ratio: float

    def text(self) -> str:
        """Return the figures as a line for people, which says plainly when nothing is gained."""
        verdict = "" if self.ratio >= _ENOUGH else "; it is NOT faster on this CPU"
        return f"{self.backend}: {self.before_ms:.1f} ms -> {self.after_ms:.1f} ms, {self.ratio:.2f} times as fast{verdict}"


def compare_accuracy(
    before: str | Path | bytes,
    after: str | Path | bytes,
    annotations: str | Path,
    images: str | Path,
    *,
    backend: str | None = None,
    iou_threshold: float = 0.7,
    advance: Callable[[], None] = lambda: None,
    **options: Any,
) -> AccuracyDelta:
    """Measure two models on the same labelled pictures, as `yolokkn evaluate coco` does.

    Args:
        before: The model as it was, as `yolokkn.load` takes it.
        after: The changed one.
        annotations: A file in COCO's format.
        images: Folder of its pictures.
        backend: What runs both; `yolokkn.load` chooses by default.
        iou_threshold: Of the suppression.
        advance: Called after each picture of each model.
        **options: More of `yolokkn.load`'s, for both.

    Raises:
        DataError: Annotations or pictures are missing or unreadable, or do not fit the models.
    """
    dataset = CocoDataset.load(Path(annotations))
    figures, ran_on = [], ""
    for content in (before, after):
        model = load(
            content, backend=backend, score_threshold=0.001, iou_threshold=iou_threshold, multi_label=True, **options
        )
        iou_type = _IOU_TYPES.get(model.layout.task, "bbox")
        measured = sorted(set(map_model_classes(model, dataset).values()))
        results = collect_coco_results(model, dataset, Path(images), iou_type, advance)
        ran_on = model.backend.name
        figures.append(evaluate_coco(dataset, results, iou_type=iou_type, category_ids=measured).figures)
    first, second = figures
    return AccuracyDelta(
        iou_type, len(dataset.images), ran_on, first["AP"], second["AP"], first["AP50"], second["AP50"]
    )


def compare_speed(
    before: str | Path | bytes,
    after: str | Path | bytes,
    *,
    backends: Sequence[str] = CPU_BACKENDS,
    num_runs: int = 20,
    **options: Any,
) -> list[SpeedRatio]:
    """Time two networks in turn on each backend that is installed, without what comes before and after them.

    Args:
        before: The model as it was, as `yolokkn.load` takes it.
        after: The changed one, of the same input.
        backends: Which; those that are not installed are left out.
        num_runs: Pairs of runs, after two that do not count.
        **options: More of `yolokkn.load`'s, for both.
    """
    found = []
    for backend in backends:
        try:
            models = [load(content, backend=backend, **options) for content in (before, after)]
        except MissingDependencyError:
            continue
        times = [[_run_ms(model) for model in models] for _ in range(num_runs + 2)][2:]
        pairs = np.array(times)
        found.append(
            SpeedRatio(backend, median(pairs[:, 0]), median(pairs[:, 1]), float(np.median(pairs[:, 0] / pairs[:, 1])))
        )
    return found


def _run_ms(model: Model) -> float:
    spec, hw = model.picture, model.input_hw
    feeds: dict[str, np.ndarray] = {spec.name: np.full((model.batch, 3, *hw), 0.45, spec.dtype)}
    feeds |= size_input(model.backend, model.batch, hw)
    started = time.perf_counter()
    model.backend.run(feeds)
    return (time.perf_counter() - started) * 1e3
