"""The loop: epochs of steps, measurements between them, checkpoints, and an orderly end whatever ends it."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.data.batch import Batch
from yolokkn.training.budget import Budget
from yolokkn.training.checkpoint import load_checkpoint
from yolokkn.training.config import TrainConfig
from yolokkn.training.distributed import World
from yolokkn.training.parts import Listener, Outcome, Parts
from yolokkn.training.progress import Display, format_epoch, format_terms
from yolokkn.training.run_folder import BEST, LAST, METRICS, MetricsLog
from yolokkn.training.schedule import Progress, Schedule, plan_schedule
from yolokkn.training.signals import Signals, catch_signals
from yolokkn.training.state import Position, averaged_state, restore_state, save_state
from yolokkn.training.stepper import StepReport

_MAX_STEP_LINES = 20_000  # of steps in the log


@dataclass
class _Clock:
    """The time of an epoch: all of it, and that spent waiting for data."""

    started: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0
    num_images: int = 0

    def figures(self) -> dict[str, float]:
        elapsed = max(time.perf_counter() - self.started, 1e-9)
        return {"images_per_s": self.num_images / elapsed, "wait_share": self.waited_s / elapsed, "seconds": elapsed}


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
        self.steps_per_epoch = max(-(-len(parts.loader) // self._accumulate), 1)
        self._budget = Budget(config.schedule.time * 60) if config.schedule.time else None
        self.progress = Progress(config.schedule.epochs * self.steps_per_epoch)
        self._figures: dict[str, float] = {}
        self._last_save = self._last_measure = time.monotonic()
        self._reason = "done"
        self._log: MetricsLog | None = None

    def resume(self, path: Path) -> None:
        """Take the run up where a checkpoint left it.

        Raises:
            ModelError: The checkpoint is not one to go on from.
        """
        checkpoint = load_checkpoint(path)
        self.position, self.progress = restore_state(checkpoint, self.parts.stepper, self.world, path.name)
        wanted = self.config.schedule.epochs * self.steps_per_epoch
        if self._budget is None and wanted != self.progress.total_steps:  # it was told to be longer or shorter
            self.progress = self.progress.corrected(self.position.step, wanted)
        figures = checkpoint.manifest.get("figures")
        self._figures = {k: float(v) for k, v in figures.items()} if isinstance(figures, dict) else {}
        self.parts.stepper.ema.plan(self.progress.total_steps)

    def train(self) -> Outcome:
        """Train to the end of the schedule, the time, the patience, or until a signal."""
        self._started = time.monotonic() - self.position.elapsed_s
        if self.world.is_main:
            tensorboard = self.config.runtime.tensorboard
            self._log = MetricsLog(self.folder / METRICS, self.position.step, tensorboard=tensorboard)
        if self._budget is not None:
            self._plan_time()
        try:
            with catch_signals() as asked:
                while self.position.step < self.progress.total_steps and not asked.number:
                    if self._epoch(asked) == "interrupted" or self._is_out_of_patience():
                        break
        finally:
            if self._log is not None:
                self._log.close()
        position = self.position
        return Outcome(
            self.folder, self._reason, position.epoch, position.best, position.best_epoch, self._figures, asked.number
        )

    def _epoch(self, asked: Signals) -> str:
        position, display = self.position, self.display
        if position.batch == 0:
            position.sums, position.num_steps = {}, 0
            share = self.progress.share(position.step)
            position.is_plain = share >= 1 - self.config.schedule.plain_share - 1e-9
        self.parts.stepper.train_mode()
        clock = _Clock()
        done = position.batch // self._accumulate
        display.begin(f"epoch {position.epoch + 1}{self._of_epochs()}", self.steps_per_epoch, done)
        was_asked = False
        groups = self._groups()
        for group, waited_s in groups:
            report = self._step(group, waited_s, clock, asked)
            was_asked = report.was_asked
            if was_asked or self._is_save_due():
                self._save(self.folder / LAST)
            if was_asked or position.step >= self.progress.total_steps:
                break
        groups.close()
        display.end()
        if was_asked and position.step < self.progress.total_steps:
            self._reason = "interrupted"
            return "interrupted"
        position.epoch += 1
        position.batch = 0
        self._finish_epoch(clock)
        return "done"

    def _groups(self) -> Generator[tuple[list[Batch], float], None, None]:
        """Give the batches of each step of the epoch, and the seconds that were spent waiting for them."""
        position, loader, augment = self.position, self.parts.loader, self.config.augment
        loader.config = replace(augment, mosaic=0.0, mixup=0.0, copy_paste=0.0) if position.is_plain else augment
        loader.set_epoch(position.epoch)
        loader.start_batch = position.batch
        batches = iter(loader)
        while True:
            started = time.perf_counter()
            group = [b for _, b in zip(range(self._accumulate), batches, strict=False)]
            if not group:
                return
            yield group, time.perf_counter() - started

    def _step(self, group: list[Batch], waited_s: float, clock: _Clock, asked: Signals) -> StepReport:
        position, started = self.position, time.perf_counter()
        factor = self._factor()
        if self._listener is not None:
            self._listener.batch(group[0], position.step)
        report = self.parts.stepper.step(
            group, factor, number=position.step, epoch=position.epoch, is_asked=asked.number != 0
        )
        position.step += 1
        position.batch += len(group)
        position.num_steps += 1
        for name, value in report.terms.items():
            position.sums[name] = position.sums.get(name, 0.0) + value
        clock.waited_s += waited_s
        clock.num_images += report.num_images
        if self._budget is not None:
            self._budget.saw_step(time.perf_counter() - started + waited_s)
            if position.step in (2, 5, 10, 20) or position.step % max(self.progress.total_steps // 50, 10) == 0:
                self._plan_time()
        if self._log is not None and position.step % max(self.progress.total_steps // _MAX_STEP_LINES, 1) == 0:
            lr = self.parts.stepper.learning_rate()
            row = {"epoch": position.epoch + 1, "terms": report.terms, "lr": lr, "grad_norm": report.grad_norm}
            self._log.write("step", position.step, row | {"wait_s": waited_s})
        speed = clock.figures()
        self.display.advance(
            f"{format_terms(report.terms)}  lr {self.parts.stepper.learning_rate():.1e}  "
            f"{speed['images_per_s']:.1f} images/s, {100 * speed['wait_share']:.0f}% waiting"
        )
        return report

    def _factor(self) -> float:
        """Return the factor of the learning rate at this step, on the way as it is planned now."""
        schedule = self._schedule()
        return schedule.factor(self.progress.share(self.position.step) * schedule.total_steps)

    def _schedule(self) -> Schedule:
        stage = self.config.schedule
        return plan_schedule(
            self.progress.total_steps, self.steps_per_epoch, warmup_epochs=stage.warmup_epochs,
            warmup_share=stage.warmup_share, shape=stage.schedule, final=stage.lr_final,
        )  # fmt: skip

    def _plan_time(self) -> None:
        """Correct how many steps fit into the time that is left; all processes take the main one's word."""
        budget, step, validator = self._budget, self.position.step, self.parts.validator
        if budget is None or budget.num_steps == 0:
            return
        if budget.measure_s == 0 and validator is not None:  # a guess until there is one: half a step for each batch
            batches = len(validator.indices) / self.config.data.batch
            budget.measure_s = 0.5 * batches * budget.step_s / self._accumulate
        total = self.world.from_main(budget.total_steps(step, time.monotonic() - self._started))
        self.progress = self.progress.corrected(step, total)
        self.parts.stepper.ema.plan(self.progress.total_steps)
        self._reason = "time"

    def _of_epochs(self) -> str:
        total = -(-self.progress.total_steps // self.steps_per_epoch)
        return f"/{total}" if self._budget is None or self.position.step > 5 else ""

    def _finish_epoch(self, clock: _Clock) -> None:
        """Measure, log and save after an epoch."""
        position = self.position
        row: dict[str, Any] = {
            "epoch": position.epoch,
            "terms": {name: value / max(position.num_steps, 1) for name, value in position.sums.items()},
            "lr": self.parts.stepper.learning_rate(),
            **clock.figures(),
        }
        is_last = position.step >= self.progress.total_steps
        is_best = self._measure(is_last) if self._is_measure_due(is_last) else False
        if is_best is not False:
            row["figures"] = self._figures
        if self._log is not None:
            self._log.write("epoch", position.step, row)
        total = -(-self.progress.total_steps // self.steps_per_epoch)
        self.display.line(format_epoch(row, max(total, position.epoch)))
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
        if self._budget is None:
            return True
        return self.world.from_main(self._budget.wants_measure(time.monotonic() - self._last_measure))

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
        self._figures = figures
        if self._budget is not None:
            self._budget.measure_s = seconds
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
        if not patience or position.best_epoch == 0 or position.epoch - position.best_epoch < patience:
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
            path, self.parts.stepper, self.world, self.position, self.progress, about=about, is_final=is_final
        )  # fmt: skip
        if not is_final:
            self._last_save = time.monotonic()
