"""What a run leaves behind for people: figures as JSON and pictures as PNG, refreshed while it goes."""

from __future__ import annotations

import json
import time
from pathlib import Path

from yolokkn.data.batch import Batch
from yolokkn.files import write_atomically
from yolokkn.training.display import Display
from yolokkn.training.parts import Parts
from yolokkn.training.plots import plot_batch, plot_figures, plot_history, plot_measured, plot_samples
from yolokkn.training.run_folder import METRICS
from yolokkn.training.validate import Measured, Validator, detections_of

_HISTORY_EVERY_S = 60.0
_SHOWN_BATCHES = (0, 1, 2)
_SHOWN_SAMPLES = 8


class Report:
    """Writes `metrics.json` at each measurement, and pictures: the first batches, the history, curves and samples.

    Args:
        folder: Of the run.
        parts: Of the run.
        plots: Draw pictures.
        display: Where words go.
    """

    def __init__(self, folder: Path, parts: Parts, plots: bool, display: Display) -> None:
        self._folder, self._parts, self._plots, self._display = folder, parts, plots, display
        self._drawn_at = time.monotonic()
        self._last: tuple[Measured, Validator] | None = None

    def batch(self, batch: Batch, step: int) -> None:
        """Draw the first batches of the run, as they are trained on."""
        self._last = None  # another measurement will come
        if self._plots and step in _SHOWN_BATCHES:
            plot_batch(batch, self._parts.spec.class_names, self._folder / f"train_batch{step}.png")

    def measured(self, measured: Measured, validator: Validator, epoch: int, *, is_best: bool, is_last: bool) -> None:
        """Write the figures; draw curves and samples of the best now and then (of the last: `finish`)."""
        figures = {kind: metrics.to_dict() for kind, metrics in measured.metrics.items()}
        text = json.dumps({"epoch": epoch, **figures}, indent=2) + "\n"
        write_atomically(self._folder / "metrics.json", text)
        self._last = (measured, validator)
        if is_best and not is_last and self._plots and time.monotonic() - self._drawn_at > _HISTORY_EVERY_S:
            self._draw(measured, validator)

    def _draw(self, measured: Measured, validator: Validator) -> None:
        plot_measured(measured, self._folder)
        per_class = {kind: metrics.per_class_ap for kind, metrics in measured.metrics.items()}
        plot_figures(per_class, self._folder / "classes.png")
        count = min(_SHOWN_SAMPLES, len(validator.indices))
        chosen = [i * len(validator.indices) // count for i in range(count)]
        samples = [validator.sample(i) for i in chosen]
        chosen = [i for i, sample in zip(chosen, samples, strict=True) if sample is not None]
        names = self._parts.spec.class_names
        found = [detections_of(measured, validator.indices[i] + 1, names, score_threshold=0.25) for i in chosen]
        plot_samples([s for s in samples if s is not None], found, names, self._folder / "samples.png")

    def epoch(self, epoch: int) -> None:
        """Draw the history, not too often."""
        if self._plots and time.monotonic() - self._drawn_at > _HISTORY_EVERY_S:
            self._drawn_at = time.monotonic()
            plot_history(self._folder / METRICS, self._folder / "history.png")

    def finish(self) -> None:
        """Say and draw the last measurement, and draw the history of the whole run."""
        if self._last is not None:
            for metrics in self._last[0].metrics.values():
                self._display.line(metrics.table(per_class=True))
            if self._plots:
                self._draw(*self._last)
        if self._plots:
            plot_history(self._folder / METRICS, self._folder / "history.png")
