"""What a change of precision costs in accuracy and brings in speed: the model before and after it, on the same pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from yolokkn.errors import MissingDependencyError
from yolokkn.evaluation.coco import CocoDataset, IouType, evaluate_coco
from yolokkn.evaluation.coco_bootstrap import ap_difference_interval
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
        backend: What ran them; "onnxruntime, then tensorrt" where that differs.
        ap_before: AP at IoU 0.5 to 0.95 of the first model, 0 to 1.
        ap_after: Of the second.
        ap50_before: AP at IoU 0.5 of the first.
        ap50_after: Of the second.
        interval: Where the difference of AP lies with 95%, by a bootstrap over the pictures.
    """

    iou_type: str
    num_images: int
    backend: str
    ap_before: float
    ap_after: float
    ap50_before: float
    ap50_after: float
    interval: tuple[float, float] | None = None

    @property
    def delta(self) -> float:
        """What the second model's AP is above the first one's."""
        return self.ap_after - self.ap_before

    def text(self) -> str:
        """Return the figures as a line for people."""
        interval = ""
        if self.interval is not None:
            low, high = self.interval
            told = "" if low > 0 or high < 0 else ": no difference that these pictures can tell"
            interval = f"\nthe difference of AP lies within {low:+.4f} and {high:+.4f} with 95%{told}"
        return (
            f"AP {_change(self.ap_before, self.ap_after)}, AP50 {_change(self.ap50_before, self.ap50_after)}: "
            f"{self.iou_type} on {self.num_images} pictures, {self.backend}{interval}"
        )


def _change(before: float, after: float) -> str:
    """Return two figures and the difference of what is shown of them."""
    return f"{before:.4f} -> {after:.4f} ({round(after, 4) - round(before, 4):+.4f})"


@dataclass(frozen=True)
class SpeedRatio:
    """Time of two networks on one backend, measured in turn.

    Attributes:
        backend: What ran them.
        before_ms: Median of the first.
        after_ms: Median of the second.
        pairs: How many times as fast the second was in single pairs of runs: the quarter below and above which lie half of
            them, where there were pairs.
    """

    backend: str
    before_ms: float
    after_ms: float
    pairs: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """How many times as fast the second is: the quotient of the medians as they are shown."""
        return float(_shown(self.before_ms)) / float(_shown(self.after_ms))

    def text(self) -> str:
        """Return the figures as a line for people, which says plainly when nothing is gained."""
        ratio = round(self.ratio, 2)
        verdict = "" if ratio >= _ENOUGH else "; it is NOT faster on this CPU"
        if 1 / _ENOUGH < ratio < _ENOUGH:
            verdict = "; no difference that this measurement can tell"
        half = f" (half of the pairs: {self.pairs[0]:.2f} to {self.pairs[1]:.2f})" if self.pairs else ""
        times = f"{_shown(self.before_ms)} ms -> {_shown(self.after_ms)} ms"
        return f"{self.backend}: {times}, {ratio:.2f} times as fast{half}{verdict}"


def _shown(ms: float) -> str:
    return f"{ms:.1f}" if ms >= 10 else f"{max(ms, 1e-3):.3f}"


def compare_accuracy(
    before: str | Path | bytes,
    after: str | Path | bytes,
    annotations: str | Path,
    images: str | Path,
    *,
    backend: str | None = None,
    iou_threshold: float = 0.7,
    advance: Callable[[], None] = lambda: None,
    after_options: Mapping[str, Any] | None = None,
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
        after_options: Options of `yolokkn.load` that the second model has otherwise, such as its device.
        **options: More of `yolokkn.load`'s, for both.

    A model of free size is measured at the one size of the other, where that takes but one.

    Raises:
        DataError: Annotations or pictures are missing or unreadable, or do not fit the models.
    """
    dataset = CocoDataset.load(Path(annotations))
    options |= {"backend": backend, "score_threshold": 0.001, "iou_threshold": iou_threshold, "multi_label": True}
    first_model = load(before, **options)
    second_model = load(after, **{**options, **(after_options or {})})
    if first_model.rectangular and not second_model.rectangular:
        first_model = replace(load(before, **{**options, "imgsz": second_model.input_hw}), rectangular=False)
    found = []
    for model in (first_model, second_model):
        iou_type = _IOU_TYPES.get(model.layout.task, "bbox")
        measured = sorted(set(map_model_classes(model, dataset).values()))
        results = collect_coco_results(model, dataset, Path(images), iou_type, advance)
        found.append(evaluate_coco(dataset, results, iou_type=iou_type, category_ids=measured))
    first, second = found
    interval = None
    if first.judged and second.judged and first.judged.truths.shape == second.judged.truths.shape:
        interval = ap_difference_interval(first.judged, second.judged)
    ran_on = ", then ".join(dict.fromkeys(model.backend.name for model in (first_model, second_model)))
    return AccuracyDelta(
        iou_type, len(dataset.images), ran_on, first["AP"], second["AP"], first["AP50"], second["AP50"], interval
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
        low, high = np.quantile(pairs[:, 0] / pairs[:, 1], (0.25, 0.75))
        found.append(SpeedRatio(backend, median(pairs[:, 0]), median(pairs[:, 1]), (float(low), float(high))))
    return found


def _run_ms(model: Model) -> float:
    spec, hw = model.picture, model.input_hw
    feeds: dict[str, np.ndarray] = {spec.name: np.full((model.batch, 3, *hw), 0.45, spec.dtype)}
    feeds |= size_input(model.backend, model.batch, hw)
    started = time.perf_counter()
    model.backend.run(feeds)
    return (time.perf_counter() - started) * 1e3
