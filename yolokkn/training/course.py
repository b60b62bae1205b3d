"""How long a run is, in epochs or in minutes, and what follows from it: the learning rate and the end without mosaic."""

from __future__ import annotations

from yolokkn.training.budget import Budget
from yolokkn.training.config import ScheduleConfig
from yolokkn.training.distributed import World
from yolokkn.training.ema import Ema
from yolokkn.training.progress import Progress
from yolokkn.training.schedule import Schedule, plan_schedule


class Course:
    """The way of a run from its first step to its last.

    Args:
        stage: What was asked for.
        steps_per_epoch: Steps of an epoch.
        world: The processes; all take the main one's word of the time.
        ema: The mean of the weights, told of the run's length.

    Attributes:
        progress: How many steps there are, as far as is known.
        budget: Of the time; None where epochs decide.
    """

    def __init__(self, stage: ScheduleConfig, steps_per_epoch: int, world: World, ema: Ema) -> None:
        self._stage, self.steps_per_epoch, self._world, self._ema = stage, steps_per_epoch, world, ema
        self.budget = Budget(stage.time * 60) if stage.time else None
        self.progress = Progress(stage.epochs * steps_per_epoch)

    @property
    def num_epochs(self) -> int:
        """Epochs of the run, the last perhaps not whole."""
        return -(-self.progress.total_steps // self.steps_per_epoch)

    def is_over(self, step: int) -> bool:
        """Tell whether all steps are taken."""
        return step >= self.progress.total_steps

    def factor(self, step: int) -> float:
        """Return the factor of the learning rate, on the way as it is planned now."""
        return self._plan(self.progress.total_steps).factor(step, self.progress)

    def is_plain(self, step: int) -> bool:
        """Tell whether a step goes without mosaic and mixup: one of the last, however short the run is."""
        return self.progress.share(step) >= 1 - self._stage.plain_share - 1e-9

    def resume(self, progress: Progress, step: int, elapsed_s: float) -> None:
        """Go on where a checkpoint was written, for as many epochs, or minutes, as are asked for now."""
        self.progress = progress
        if self.budget is not None and step:  # else a run that ended would not know that there is time again
            self.budget.saw_step(elapsed_s / step)
        wanted = self._stage.epochs * self.steps_per_epoch
        if self.budget is None and wanted != progress.total_steps:  # it was told to be longer or shorter
            self._correct(step, wanted)
        self._ema.plan(self.progress.total_steps)

    def is_plan_due(self, step: int) -> bool:
        """Tell whether the steps that fit into the time should be counted anew."""
        return step in (2, 5, 10, 20) or step % max(self.progress.total_steps // 50, 10) == 0

    def plan_time(self, step: int, elapsed_s: float, steps_of_measuring: float) -> bool:
        """Correct how many steps fit into the time that is left.

        Args:
            step: Steps taken.
            elapsed_s: Since the run began.
            steps_of_measuring: Steps that a measurement is guessed to take as long as, until there was one.

        Returns:
            Whether there is a budget of time that could be planned.
        """
        budget = self.budget
        if budget is None or budget.num_steps == 0:
            return False
        if budget.measure_s == 0:
            budget.measure_s = steps_of_measuring * budget.step_s
        self._correct(step, self._world.from_main(budget.total_steps(step, elapsed_s)))
        return True

    def _plan(self, total_steps: int) -> Schedule:
        stage = self._stage
        return plan_schedule(
            total_steps, self.steps_per_epoch, warmup_epochs=stage.warmup_epochs, warmup_share=stage.warmup_share,
            shape=stage.schedule, final=stage.lr_final,
        )  # fmt: skip

    def _correct(self, step: int, total_steps: int) -> None:
        longer = self._plan(max(total_steps, step, 1))
        self.progress = self._plan(self.progress.total_steps).corrected(self.progress, step, longer)
        self._ema.plan(self.progress.total_steps)
