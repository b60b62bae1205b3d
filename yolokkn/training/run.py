"""A run from its configuration to its end: the folder, the parts, the loop, the plots."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from yolokkn.configuration import dump_yaml
from yolokkn.files import write_atomically
from yolokkn.training.checkpoint import load_checkpoint
from yolokkn.training.config import TrainConfig
from yolokkn.training.display import Display
from yolokkn.training.distributed import World
from yolokkn.training.host_memory import keep_freed_memory
from yolokkn.training.parts import Outcome
from yolokkn.training.report import Report
from yolokkn.training.resuming import refuse_other_run
from yolokkn.training.run_folder import CONFIG, find_resume, make_run_folder
from yolokkn.training.setup import build_parts
from yolokkn.training.teacher import make_teacher
from yolokkn.training.trainer import Trainer


def start(config: TrainConfig, world: World, display: Display) -> Outcome:
    """Train as a configuration says.

    Args:
        config: Of the run; with `resume` it goes on in that run's folder.
        world: The processes.
        display: Where words go.

    Returns:
        How it ended. A signal ends it in order: the state is saved, and the reason is "interrupted".
    """
    if world.device.type == "cpu":
        keep_freed_memory()
    resumed = find_resume(config.runtime.resume) if config.runtime.resume else None
    checkpoint = load_checkpoint(resumed) if resumed else None
    if resumed and checkpoint:
        refuse_other_run(config, checkpoint, resumed.name)
    parts = build_parts(config, world, display.line, make_teacher=make_teacher, resumed=checkpoint)
    folder = resumed.parent if resumed else None
    if folder is None and world.is_main:  # only now: what cannot be trained leaves no empty run behind
        folder = make_run_folder(Path(config.runtime.project), config.runtime.name)
    folder = Path(world.from_main(folder))  # type: ignore[arg-type]
    parts.stepper.report_folder = folder

    report = Report(folder, parts, config.runtime.plots, display)
    trainer = Trainer(parts, config, folder, world, display, report)
    if resumed and checkpoint:
        trainer.resume(checkpoint, resumed.name)
    if world.is_main:
        kept = replace(config, runtime=replace(config.runtime, resume=""))
        write_atomically(folder / CONFIG, dump_yaml(kept.to_dict()))
        write_atomically(folder / "model.json", parts.spec.to_json() + "\n")
    display.line(f"run: {folder}")
    if resumed:
        display.line(f"going on after step {trainer.position.step} (epoch {trainer.position.epoch + 1})")
    outcome = trainer.train()
    if world.is_main and outcome.reason != "interrupted":
        report.finish()
    return outcome
