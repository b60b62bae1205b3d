"""Score terms of the losses with one target a positive and 0 elsewhere, for heads with and without objectness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.losses.positives import Positives
from yolokkn.training.losses.terms import binary_cross_entropy, class_cross_entropy


def positive_scores(positives: Positives, values: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy of what scores a positive as an object, and the elements that each value covers.

    A head with objectness scores an object by it: one element. A head without scores by its classes: their sum, with
    `values` for the own class. So the score of a detection (objectness times class, or class) is asked for the same value.

    Args:
        positives: P of them.
        values: (P,) targets, 0 to 1.

    Returns:
        (P,) values.
    """
    picked = positives.outputs
    if picked.objectness is not None:
        return binary_cross_entropy(picked.objectness[0], values), 1
    return class_cross_entropy(picked.classes[0], positives.class_ids, values), picked.classes.shape[-1]


def background_scores(outputs: HeadOutputs, background: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy to 0 of what scores an object, for background anchors, and the elements that each value covers.

    Args:
        outputs: Of the batch.
        background: (B, A) bool.

    Returns:
        (N,) values in order of picture and anchor.
    """
    if outputs.objectness is not None:
        return F.softplus(outputs.objectness[background]), 1
    return F.softplus(outputs.classes[background]).sum(-1), outputs.classes.shape[-1]


def sums_by_level(values: Tensor, level_ids: Tensor, num_levels: int) -> tuple[Tensor, Tensor]:
    """(L,) sums of values and (L,) their numbers."""
    zeros = values.new_zeros(num_levels)
    return zeros.index_add(0, level_ids, values), zeros.index_add(0, level_ids, torch.ones_like(values))
