"""Learning rate over the steps: warm-up and decay sized to how many steps there are, few or many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from yolokkn.training.progress import Progress

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

    def factor(self, step: int, progress: Progress | None = None) -> float:
        """Return the factor of the learning rate for step 0 .. total_steps - 1.

        Args:
            step: Steps taken.
            progress: How the run came there, when its length was corrected on the way.

        Example:
            >>> schedule = Schedule(total_steps=10, warmup_steps=2, shape="linear", final=0.0)
            >>> [round(schedule.factor(i), 2) for i in (0, 1, 2, 6, 10)]
            [0.33, 0.67, 1.0, 0.5, 0.0]
        """
        way = progress or Progress(self.total_steps)
        warm = self.warm(step, way)
        if warm < 1 or self.shape == "constant":
            return warm
        share = self.decayed(step, way)
        left = 1 - share if self.shape == "linear" else (1 + math.cos(math.pi * share)) / 2
        return self.final + (1 - self.final) * left

    def warm(self, step: int, way: Progress) -> float:
        """Return the share of the warm-up that is done: by steps, whatever the length of the run turns out to be."""
        return min(way.anchor_warm + (step + 1 - way.anchor_step) / (self.warmup_steps + 1), 1.0)

    def decayed(self, step: int, way: Progress) -> float:
        """Return the share of the decay that is done: 0 while the rate rises, 1 at the end of the run."""
        end_of_warmup = way.anchor_step - 1 + (1 - way.anchor_warm) * (self.warmup_steps + 1)
        first = max(end_of_warmup, way.anchor_step)
        done = min(max(step - first, 0.0) / max(self.total_steps - first, 1.0), 1.0)
        return way.anchor_decay + (1 - way.anchor_decay) * done

    def corrected(self, progress: Progress, step: int, longer: Schedule) -> Progress:
        """Return the way from here when the run shall go by another schedule: the factor at this step stays as it is."""
        warm = self.warm(step, progress) - 1 / (longer.warmup_steps + 1)
        decay = self.decayed(step, progress)
        return Progress(longer.total_steps, step, progress.share(step), warm, decay)


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
