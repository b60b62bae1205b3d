"""What a run is made of, who listens to it, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from yolokkn.data.batch import Batch
from yolokkn.data.loader import Loader
from yolokkn.models import ModelSpec
from yolokkn.training.stepper import Stepper
from yolokkn.training.validate import Measured, Validator


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: Where everything is.
        reason: "done", "time", "patience" or "interrupted".
        epochs: Epochs that were trained.
        best: The best fitness (mean AP); -1 when nothing was measured.
        best_epoch: When it was, from 1.
        figures: Those of the last measurement.
        signal_number: What interrupted the run; 0 for nothing.
    """

    folder: Path
    reason: str
    epochs: int
    best: float
    best_epoch: int
    figures: dict[str, float]
    signal_number: int = 0


@dataclass
class Parts:
    """What a run is made of; see `setup.build_parts`.

    Attributes:
        spec: The network's description.
        stepper: The network and all that changes it.
        loader: Batches of training.
        validator: Measures; None: nothing is measured.
    """

    spec: ModelSpec
    stepper: Stepper
    loader: Loader
    validator: Validator | None


class Listener(Protocol):
    """Told how the run goes, in the main process."""

    def batch(self, batch: Batch, step: int) -> None:
        """Take a batch before it is trained on."""
        ...

    def measured(self, measured: Measured, validator: Validator, epoch: int, *, is_best: bool, is_last: bool) -> None:
        """Take what a measurement found, after `epoch` epochs."""
        ...

    def epoch(self, epoch: int) -> None:
        """Take that an epoch is over and logged."""
        ...
