"""Learning rate over the steps: warm-up and decay sized to how many steps there are, few or many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Schedule:
    """The factor of the learning rate at each step.

    Attributes:
        total_steps: Steps of the whole run.
        warmup_steps: Of these, the first in which the factor rises linearly from near 0 to 1.
        shape: Form of the decay from 1 to `final`: cosine (Loshchilov and Hutter, SGDR, 2016, equation 5, without
            restarts), linear or constant.
        final: The factor at the end.
    """

    total_steps: int
    warmup_steps: int
    shape: Shape = "cosine"
    final: float = 0.01

    def __post_init__(self) -> None:
        if self.total_steps < 1 or not 0 <= self.warmup_steps < max(self.total_steps, 2):
            raise ValueError(
                f"Schedule: warmup_steps must be within 0 and total_steps - 1, got {self.warmup_steps} of "
                f"{self.total_steps}"
            )

    def factor(self, step: float) -> float:
        """Return the factor of the learning rate for step 0 .. total_steps - 1.

        Example:
            >>> schedule = Schedule(total_steps=10, warmup_steps=2, shape="linear", final=0.0)
            >>> [round(schedule.factor(i), 2) for i in (0, 1, 2, 6, 10)]
            [0.33, 0.67, 1.0, 0.5, 0.0]
        """
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        if self.shape == "constant":
            return 1.0
        share = min((step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1), 1.0)
        left = 1 - share if self.shape == "linear" else (1 + math.cos(math.pi * share)) / 2
        return self.final + (1 - self.final) * left


def plan_schedule(
    total_steps: int,
    steps_per_epoch: int,
    *,
    warmup_epochs: float = 3.0,
    warmup_share: float = 0.1,
    shape: Shape = "cosine",
    final: float = 0.01,
) -> Schedule:
    """Size the warm-up to a run.

    Args:
        total_steps: Steps of the whole run.
        steps_per_epoch: Steps of an epoch.
        warmup_epochs: Wanted warm-up; at least 100 steps, as an epoch of a small set has but a few.
        warmup_share: The warm-up takes at most this share of all steps.
        shape: Form of the decay.
        final: The factor at the end.

    Example:
        >>> plan_schedule(200, 1).warmup_steps, plan_schedule(100_000, 1000).warmup_steps
        (20, 3000)
    """
    wanted = max(warmup_epochs * steps_per_epoch, 100 if warmup_epochs else 0)
    warmup = min(round(wanted), int(warmup_share * total_steps), total_steps - 1)
    return Schedule(total_steps, warmup, shape, final)


@dataclass(frozen=True)
class Progress:
    """How far a run is on its way, while the number of its steps may be corrected: no jump when it is.

    Attributes:
        total_steps: Steps of the whole run, as far as is known.
        anchor_step: Step of the last correction.
        anchor_share: Share of the way that was done at that step.
    """

    total_steps: int
    anchor_step: int = 0
    anchor_share: float = 0.0

    def share(self, step: int) -> float:
        """Return the share of the way that is done at a step: 0 at the start, 1 at `total_steps`."""
        if step >= self.total_steps:
            return 1.0
        left = self.total_steps - self.anchor_step
        return min(self.anchor_share + (1 - self.anchor_share) * (step - self.anchor_step) / left, 1.0)

    def corrected(self, step: int, total_steps: int) -> Progress:
        """Return the way from here when the run shall have so many steps."""
        return Progress(max(total_steps, step), step, self.share(step))
