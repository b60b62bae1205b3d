"""A run within a number of minutes: how many steps fit, corrected while it goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Budget:
    """Plans the steps of a run that must end in time.

    Measurements get a share of the time; the last one and the checkpoints are kept back for.

    Attributes:
        seconds: What the run may take, from its first to its last second.
        step_s: Seconds of a step, a running mean.
        measure_s: Seconds of the last measurement of AP, or an estimate.
        num_steps: Steps that the mean has seen.
    """

    seconds: float
    step_s: float = 0.0
    measure_s: float = 0.0
    num_steps: int = 0

    MEASURE_SHARE = 0.1
    KEPT_BACK = 0.05

    def saw_step(self, seconds: float) -> None:
        """Take in how long a step took, waiting for data included; the first ones count less and less."""
        self.num_steps += 1
        self.step_s += (seconds - self.step_s) / min(self.num_steps, 20)

    def total_steps(self, step: int, elapsed_s: float) -> int:
        """Return how many steps the run will have when `step` are done after `elapsed_s`; `step` when the time is over."""
        left = self.seconds * (1 - self.KEPT_BACK) - elapsed_s - 1.2 * self.measure_s
        more = left * (1 - self.MEASURE_SHARE) / max(self.step_s, 1e-6)
        return step + max(int(more), 0)

    def wants_measure(self, since_s: float) -> bool:
        """Tell whether a measurement is due when the last was so long ago."""
        return since_s * self.MEASURE_SHARE >= self.measure_s
