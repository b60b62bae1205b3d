"""`yolokkn train`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yolokkn.cli.arguments import EXIT_CODES, EXIT_INTERRUPTED, EXIT_OK, Parser, flag, run_verb

if TYPE_CHECKING:
    from yolokkn.training.config import TrainConfig
    from yolokkn.training.parts import Outcome

EXAMPLES = """examples:
  yolokkn train data=street/ time=5                        a model in five minutes
  yolokkn train data=coco/ model=yolovkkn-s epochs=100 batch=32 device=cuda
  yolokkn train config=street.yaml lr0=0.002 name=slower
  yolokkn train resume=runs/train/run
  torchrun --nproc-per-node 8 -m yolokkn train data=coco/ batch=128 sync_bn=true

data is a folder or data.yaml in the format of COCO, VOC, YOLO or MOT. Everything of a run lies in PROJECT/NAME: config.yaml,
metrics.jsonl, last.safetensors (to go on from), best.safetensors (to use), plots as PNG.

"""
EXIT_SIGTERM = 143


_FEW_EPOCHS = 20


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn train",
        description="Train a network on labelled pictures, from scratch or from a checkpoint.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--config", metavar="FILE", help="YAML with the same keys; the command line goes before it")
    parser.add_argument(
        "--quiet", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="print the end only"
    )
    try:
        from yolokkn.training.config import TrainConfig, settings
    except ImportError as error:
        return run_verb("yolokkn train", _refuse_without_torch, error)
    add_settings(parser, settings(), TrainConfig())
    args = parser.parse(argv)
    given = {k: v for k, v in vars(args).items() if v is not None and k not in ("config", "quiet")}
    return run_verb("yolokkn train", run, args.config, given, args.quiet)


def _refuse_without_torch(error: ImportError) -> int:
    from yolokkn.errors import MissingDependencyError

    raise MissingDependencyError(
        f"training needs PyTorch and a few packages more ({error}); run: pip install 'yolokkn[train]'"
    )


def add_settings(parser: argparse.ArgumentParser, settings: dict[str, Any], defaults: Any) -> None:
    """Add an option for each key of a training's configuration, grouped by stage."""
    groups: dict[str, Any] = {}
    for name, (stage, field, kind) in settings.items():
        group = groups.setdefault(stage, parser.add_argument_group(stage))
        default = getattr(getattr(defaults, stage), name)
        text = field.metadata.get("help", "")
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
        more = f" (default {shown.lower() if default is None else shown})" if shown not in ("", "{}") else ""
        extra: dict[str, Any] = {"nargs": "?", "const": "true"} if kind is bool else {}
        choices = field.metadata.get("choices")
        if choices is not None:
            text += ": " + ", ".join(choices())
        group.add_argument(
            f"--{name.replace('_', '-')}", metavar=_metavar(kind), help=(text + more).replace("%", "%%"), **extra
        )


def _metavar(kind: Any) -> str:
    from typing import Literal, get_args, get_origin

    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    words: dict[Any, str] = {
        bool: "BOOL", int: "N", int | None: "N", float: "X", float | None: "X", str: "TEXT",
        tuple[int, int] | None: "N|HxW",
    }  # fmt: skip
    return words.get(kind, "LIST")


def run(config_file: str | None, given: dict[str, Any], quiet: bool) -> int:
    """Read the configuration, train, and say how it ended."""
    from yolokkn.cli.train_display import make_display
    from yolokkn.training.distributed import join_world
    from yolokkn.training.run import start

    config = make_config(config_file, given)
    with join_world(config.runtime.device) as world:
        display = make_display(world.is_main, quiet)
        outcome = start(config, world, display)
        if world.is_main:
            print(summary(outcome, config))
    if outcome.reason == "interrupted":
        return EXIT_SIGTERM if outcome.signal_number == 15 else EXIT_INTERRUPTED
    return EXIT_OK


def make_config(config_file: str | None, given: dict[str, Any]) -> TrainConfig:
    """Join the defaults, the file of a run that is resumed, the given file and the command line; the last wins."""
    from yolokkn.configuration import read_yaml
    from yolokkn.training.config import TrainConfig, read_config
    from yolokkn.training.run_folder import CONFIG, find_resume

    config = TrainConfig()
    if given.get("resume"):
        path = find_resume(given["resume"]).parent / CONFIG
        config = read_config(read_yaml(path), config, str(path))
    if config_file is not None:
        config = read_config(read_yaml(Path(config_file)), config, config_file)
    return read_config(given, config)


def summary(outcome: Outcome, config: TrainConfig) -> str:
    """Return the last words: how it ended, what was reached, what to do next."""
    folder = outcome.folder
    if outcome.reason == "interrupted":
        return f"interrupted after {outcome.epochs} epochs; saved; go on with: yolokkn train resume={folder}"
    why = {"patience": ", stopped early: no better AP", "time": ", at the end of its time"}.get(outcome.reason, "")
    lines = [f"trained {outcome.epochs} epochs{why}; everything is in {folder}"]
    best = folder / "best.safetensors"
    weights = best if best.is_file() else folder / "last.safetensors"
    if outcome.best >= 0:
        figures = "  ".join(f"{k} {v:.4f}" for k, v in outcome.figures.items() if k.endswith(("AP", "AP50")))
        kinds = sum(name.endswith("AP") for name in outcome.figures)
        what = "best AP" if kinds < 2 else f"best mean of the {kinds} APs"
        lines.append(f"{what}: {outcome.best:.4f} in epoch {outcome.best_epoch}; at the end {figures}")
    if outcome.reason == "time" and outcome.epochs < _FEW_EPOCHS:
        lines.append(f"only {outcome.epochs} epochs fitted into the time: more minutes, or a smaller imgsz, teach more")
    lines += ["next:", f"  yolokkn export {weights}", f"  yolokkn predict model={weights} source=photos/ save=out/"]
    return "\n".join(lines)
