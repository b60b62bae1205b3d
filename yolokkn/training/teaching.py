"""The seam at which a teacher joins a training."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from yolokkn.data.batch import Batch
from yolokkn.models.outputs import HeadOutputs


class Teacher(Protocol):
    """Something that knows more about the pictures than their labels do."""

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch with what the teacher adds to its targets; called on the batch's device before the network."""
        ...

    def loss(self, outputs: HeadOutputs, batch: Batch) -> dict[str, Tensor]:
        """Return further terms, each a scalar that is added to the loss; none is an empty dictionary."""
        ...
