"""The loop: epochs of steps, measurements between them, checkpoints, and an orderly end whatever ends it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yolokkn.data.batch import Batch
from yolokkn.errors import ModelError
from yolokkn.training.checkpoint import Checkpoint
from yolokkn.training.clock import EpochClock
from yolokkn.training.config import TrainConfig
from yolokkn.training.course import Course
from yolokkn.training.display import Display, format_epoch, format_terms
from yolokkn.training.distributed import World
from yolokkn.training.parts import Listener, Outcome, Parts
from yolokkn.training.run_folder import BEST, LAST, METRICS, MetricsLog
from yolokkn.training.signals import Signals, catch_signals
from yolokkn.training.state import Position, averaged_state, read_figures, restore_state, save_state
from yolokkn.training.stepper import StepReport

_MAX_STEP_LINES = 20_000  # of steps in the log


class Trainer:
    """Trains the parts of a run.

    Args:
        parts: What is trained, on what, measured how.
        config: Of the run.
        folder: An existing folder of its own.
        world: The processes.
        display: Where words go.
        listener: Told of batches and measurements, in the main process.
    """

    def __init__(
        self,
        parts: Parts,
        config: TrainConfig,
        folder: Path,
        world: World,
        display: Display,
        listener: Listener | None = None,
    ) -> None:
        self.parts, self.config, self.folder, self.world, self.display = parts, config, folder, world, display
        self._listener = listener if world.is_main else None
        self.position = Position()
        self._accumulate = config.optimizer.accumulate
        steps_per_epoch = max(-(-len(parts.loader) // self._accumulate), 1)
        self.course = Course(config.schedule, steps_per_epoch, world, parts.stepper.ema)
        self._figures: dict[str, float] = {}
        self._last_save = self._last_measure = time.monotonic()
        self._reason = "done"
        self._measured_epoch = 0
        self._log: MetricsLog | None = None

    def resume(self, checkpoint: Checkpoint, name: str) -> None:
        """Take the run up where a checkpoint left it, for as long as the configuration says now.

        Args:
            checkpoint: The run's last.
            name: What errors call it.

        Raises:
            ModelError: The checkpoint is not one to go on from.
        """
        self.position, progress = restore_state(checkpoint, self.parts.stepper, self.world, name)
        self._figures = read_figures(checkpoint, name)
        if self.position.batch > len(self.parts.loader):
            raise ModelError(
                f"{name}: its epoch is at batch {self.position.batch}, and the data gives {len(self.parts.loader)}; a run "
                "goes on with the pictures that it began with"
            )
        self.course.resume(progress, self.position.step, self.position.elapsed_s)

    def train(self) -> Outcome:
        """Train to the end of the schedule, the time, the patience, or until a signal."""
        self._started = time.monotonic() - self.position.elapsed_s
        if self.world.is_main:
            tensorboard = self.config.runtime.tensorboard
            self._log = MetricsLog(self.folder / METRICS, self.position.step, tensorboard=tensorboard)
        self._plan_time()
        try:
            with catch_signals() as asked:
                while not self.course.is_over(self.position.step):
                    if self._epoch(asked) or self._is_out_of_patience():
                        break
        finally:
            if self._log is not None:
                self._log.close()
        position = self.position
        return Outcome(
            self.folder, self._reason, position.epoch, position.best, position.best_epoch, self._figures, asked.number
        )

    def _epoch(self, asked: Signals) -> bool:
        """Train an epoch, or its rest, and measure; returns whether the run was interrupted."""
        position, display = self.position, self.display
        if position.batch == 0:
            position.sums, position.num_steps = {}, 0
        self.parts.stepper.train_mode()
        clock = EpochClock()
        done = position.batch // self._accumulate
        display.begin(f"epoch {position.epoch + 1}{self._of_epochs()}", self.course.steps_per_epoch, done)
        was_asked = False
        groups = self._groups()
        for group, waited_s in groups:
            was_asked = self._step(group, waited_s, clock, asked).was_asked
            if was_asked or self._is_save_due():
                self._save(self.folder / LAST)
            if was_asked or self.course.is_over(position.step):
                break
        groups.close()
        display.end()
        if not was_asked or self.course.is_over(position.step):
            position.epoch += 1
            position.batch = 0
            self._finish_epoch(clock)
        # a signal may have come while it was measured, and to one process alone
        asked.number = int(self.world.largest(torch.tensor(asked.number, device=self.world.device)))
        if not asked.number or self.course.is_over(position.step):
            return False
        self._reason = "interrupted"
        return True

    def _batches(self, is_plain: bool) -> Iterator[Batch]:
        """Begin to load, from where the run stands in its epoch."""
        loader, augment = self.parts.loader, self.config.augment
        loader.config = augment.unmixed() if is_plain else augment
        loader.set_epoch(self.position.epoch)
        loader.start_batch = self.position.batch
        return iter(loader)

    def _groups(self) -> Generator[tuple[list[Batch], float], None, None]:
        """Give the batches of each step of the epoch, and the seconds that were spent waiting for them."""
        is_plain = self.course.is_plain(self.position.step)
        batches = self._batches(is_plain)
        while True:
            started = time.perf_counter()
            if not is_plain and self.course.is_plain(self.position.step):  # what was loaded ahead is another kind
                is_plain = True
                batches = self._batches(is_plain)
            group = list(islice(batches, self._accumulate))
            if not group:
                return
            yield group, time.perf_counter() - started

    def _step(self, group: list[Batch], waited_s: float, clock: EpochClock, asked: Signals) -> StepReport:
        position, started = self.position, time.perf_counter()
        if self._listener is not None:
            self._listener.batch(group[0], position.step)
        report = self.parts.stepper.step(
            group,
            self.course.factor(position.step),
            number=position.step,
            epoch=position.epoch,
            is_asked=asked.number != 0,
        )
        position.step += 1
        position.batch += len(group)
        position.num_steps += 1
        for name, value in report.terms.items():
            position.sums[name] = position.sums.get(name, 0.0) + value
        clock.waited_s += waited_s
        clock.num_images += report.num_images
        if self.course.budget is not None:
            self.course.budget.saw_step(time.perf_counter() - started + waited_s)
            if self.course.is_plan_due(position.step):
                self._plan_time()
        if self._log is not None and position.step % max(self.course.progress.total_steps // _MAX_STEP_LINES, 1) == 0:
            lr = self.parts.stepper.learning_rate()
            row = {"epoch": position.epoch + 1, "terms": report.terms, "lr": lr, "grad_norm": report.grad_norm}
            self._log.write("step", position.step, row | {"wait_s": waited_s})
        speed = clock.figures()
        self.display.advance(
            f"{format_terms(report.terms)}  lr {self.parts.stepper.learning_rate():.1e}  "
            f"{speed['images_per_s']:.1f} images/s, {100 * speed['wait_share']:.0f}% waiting"
        )
        return report

    def _plan_time(self) -> None:
        """Correct how many steps fit into the time that is left."""
        validator = self.parts.validator
        batches = 0.0 if validator is None else len(validator.indices) / self.config.data.batch
        elapsed_s = time.monotonic() - self._started
        if self.course.plan_time(self.position.step, elapsed_s, 0.5 * batches / self._accumulate):
            self._reason = "time"

    def _of_epochs(self) -> str:
        return f"/{self.course.num_epochs}" if self.course.budget is None or self.position.step > 5 else ""

    def _finish_epoch(self, clock: EpochClock) -> None:
        """Measure, log and save after an epoch."""
        position = self.position
        row: dict[str, Any] = {
            "epoch": position.epoch,
            "terms": {name: value / max(position.num_steps, 1) for name, value in position.sums.items()},
            "lr": self.parts.stepper.learning_rate(),
            **clock.figures(),
        }
        is_last = self.course.is_over(position.step)
        is_due = self._is_measure_due(is_last)
        if is_due:
            self._save(self.folder / LAST)  # what was trained must not hang on what measuring meets
        is_best = self._measure(is_last) if is_due else False
        if is_best is not False:
            row["figures"] = self._figures
        if self._log is not None:
            self._log.write("epoch", position.step, row)
        self.display.line(format_epoch(row, max(self.course.num_epochs, position.epoch)))
        if self._listener is not None:
            self._listener.epoch(position.epoch)
        if is_best:
            self._save(self.folder / BEST, is_final=True)
        every = self.config.runtime.save_every
        if every and position.epoch % every == 0:
            self._save(self.folder / f"epoch{position.epoch:04d}.safetensors", is_final=True)
        self._save(self.folder / LAST)

    def _is_measure_due(self, is_last: bool) -> bool:
        stage = self.config.validate
        if self.parts.validator is None:
            return False
        if is_last:
            return True
        if not stage.val_every or self.position.epoch % stage.val_every:
            return False
        budget = self.course.budget
        if budget is None:
            return True
        return self.world.from_main(budget.wants_measure(time.monotonic() - self._last_measure))

    def _measure(self, is_last: bool) -> bool | None:
        """Measure the mean of the weights; returns whether it is the best so far (None: measured, and not)."""
        validator, position = self.parts.validator, self.position
        if validator is None:
            return False
        ema = self.parts.stepper.ema.network
        own = {name: value.clone() for name, value in ema.state_dict().items()} if self.world.size > 1 else None
        if own is not None:
            ema.load_state_dict(averaged_state(ema, self.world))
        self.display.begin("measuring", -(-len(validator.indices) // self.world.size))
        measured = validator.measure(ema, self.display.advance)
        self.display.end()
        if own is not None:
            ema.load_state_dict(own)
        self._last_measure = time.monotonic()
        figures, fitness, seconds = self.world.from_main(
            (measured.figures(), measured.fitness, measured.seconds) if measured is not None else ({}, 0.0, 0.0)
        )
        self._figures, self._measured_epoch = figures, position.epoch
        if self.course.budget is not None:
            self.course.budget.measure_s = seconds
            self._plan_time()
        is_best = fitness > position.best or position.best < 0
        if is_best:
            position.best, position.best_epoch = float(np.float64(fitness)), position.epoch
        if measured is not None and self._listener is not None:
            self._listener.measured(measured, validator, position.epoch, is_best=is_best, is_last=is_last)
        return True if is_best else None

    def _is_out_of_patience(self) -> bool:
        patience = self.config.schedule.patience
        position = self.position
        if not patience or self._measured_epoch != position.epoch or position.epoch - position.best_epoch < patience:
            return False
        self._reason = "patience"
        self.display.line(f"stopping: no better AP for {patience} epochs; the best was epoch {position.best_epoch}")
        return True

    def _is_save_due(self) -> bool:
        """Tell whether the last checkpoint is old; all processes take the main one's word, so they are asked seldom."""
        minutes = self.config.runtime.save_minutes
        if not minutes or (self.world.size > 1 and self.position.step % 50):
            return False
        return self.world.from_main(time.monotonic() - self._last_save > minutes * 60)

    def _save(self, path: Path, *, is_final: bool = False) -> None:
        self.position.elapsed_s = time.monotonic() - self._started
        about = {
            "model": self.parts.spec.to_dict(),
            "config": self.config.to_dict(),
            "epoch": self.position.epoch,
            "step": self.position.step,
            "figures": self._figures,
        }
        save_state(
            path, self.parts.stepper, self.world, self.position, self.course.progress, about=about, is_final=is_final
        )  # fmt: skip
        if not is_final:
            self._last_save = time.monotonic()
