"""What an assigner gives: which anchors answer for which targets, and which anchors nobody asks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from yolokkn.data.batch import Targets


@dataclass(frozen=True)
class Assignment:
    """The positives of a batch; no anchor of a picture stands in it twice.

    Attributes:
        image_index: (P,) int64 picture of the positive.
        anchor_index: (P,) int64 anchor of the positive, over all levels.
        target_index: (P,) int64 the target that it answers for, in `Targets`.
        weights: (P,) float32 how well the anchor fits: soft target of its score and weight of its other terms.
        ignored: (B, A) bool anchors that are no background although they may be no positive either.
    """

    image_index: Tensor
    anchor_index: Tensor
    target_index: Tensor
    weights: Tensor
    ignored: Tensor

    def __len__(self) -> int:
        return len(self.anchor_index)

    @property
    def background(self) -> Tensor:
        """(B, A) bool anchors that must say "nothing here": neither positive nor ignored."""
        background = ~self.ignored
        background[self.image_index, self.anchor_index] = False
        return background


@dataclass(frozen=True)
class Claims:
    """Wishes of targets for anchors, not yet settled; the same anchor may be wanted many times.

    Attributes:
        target_index: (C,) int64, ascending.
        anchor_index: (C,) int64.
        priority: (C,) float32, not negative: whose claim is stronger.
        weights: (C,) float32 see `Assignment`.
    """

    target_index: Tensor
    anchor_index: Tensor
    priority: Tensor
    weights: Tensor

    def take(self, chosen: Tensor) -> Claims:
        """Those of some positions."""
        return Claims(self.target_index[chosen], self.anchor_index[chosen], self.priority[chosen], self.weights[chosen])


def usable_targets(targets: Targets) -> Tensor:
    """(U,) int64 positions of the targets that anchors answer for: not ignored, finite, with an area."""
    boxes = targets.boxes
    sound = boxes.isfinite().all(-1) & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return (sound & ~targets.ignored).nonzero()[:, 0]


def descending_order(groups: Tensor, values: Tensor) -> Tensor:
    """(N,) positions sorted by group ascending, then value descending; ties keep their order.

    Args:
        groups: (N,) int64 from 0 to 2^31.
        values: (N,) float32, not negative: as such their bits rise with them, and one sort of integers does.
    """
    bits = values.float().contiguous().view(torch.int32).to(torch.int64)
    return torch.argsort((groups << 32) - bits, stable=True)


def first_of_groups(groups: Tensor) -> Tensor:
    """(N,) bool: where sorted (N,) groups begin."""
    starts = torch.ones_like(groups, dtype=torch.bool)
    starts[1:] = groups[1:] != groups[:-1]
    return starts


def rank_in_group(groups: Tensor) -> Tensor:
    """(N,) int64 position of every element within its run of sorted (N,) groups."""
    positions = torch.arange(len(groups), device=groups.device)
    starts = torch.where(first_of_groups(groups), positions, torch.zeros_like(positions))
    return positions - starts.cummax(0).values if len(groups) else positions


def settle(claims: Claims, targets: Targets, ignored: Tensor) -> Assignment:
    """Give every anchor to the claim with the highest priority, the lower target index where they are equal.

    Args:
        claims: The wishes.
        targets: Whose they are.
        ignored: (B, A) see `Assignment`.

    Returns:
        The positives, in order of picture and anchor.
    """
    image_index = targets.image_index[claims.target_index]
    flat = image_index * ignored.shape[1] + claims.anchor_index
    order = descending_order(flat, claims.priority)
    kept = order[first_of_groups(flat[order])]
    return Assignment(
        image_index[kept], claims.anchor_index[kept], claims.target_index[kept], claims.weights[kept], ignored
    )
