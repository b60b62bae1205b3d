"""How far a run is on its way, while the number of its steps may be corrected."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is on its way; `Schedule.corrected` gives it another length without a jump.

    Attributes:
        total_steps: Steps of the whole run, as far as is known.
        anchor_step: Step of the last correction.
        anchor_share: Share of the way that was done at that step.
        anchor_warm: Share of the warm-up that was done before that step.
        anchor_decay: Share of the decay that was done at that step.
    """

    total_steps: int
    anchor_step: int = 0
    anchor_share: float = 0.0
    anchor_warm: float = 0.0
    anchor_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.total_steps < 1 or not 0 <= self.anchor_step <= self.total_steps:
            raise ValueError(
                f"Progress: anchor_step must be within 0 and total_steps, got {self.anchor_step} of {self.total_steps}"
            )
        if not (0 <= self.anchor_share <= 1 and -1 <= self.anchor_warm <= 1 and 0 <= self.anchor_decay <= 1):
            raise ValueError("Progress: anchor_share, anchor_warm and anchor_decay must be shares of 1")

    def share(self, step: int) -> float:
        """Return the share of the way that is done at a step: 0 at the start, 1 at `total_steps`."""
        if step >= self.total_steps:
            return 1.0
        left = self.total_steps - self.anchor_step
        return min(self.anchor_share + (1 - self.anchor_share) * (step - self.anchor_step) / left, 1.0)
