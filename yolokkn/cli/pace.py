"""The options by which `track` keeps up with a source: which frames the network sees, and within which time."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from yolokkn.cli.arguments import flag, milliseconds, positive
from yolokkn.errors import printable
from yolokkn.runtime.cadence import MOST_FRAMES, Cadence
from yolokkn.runtime.model import Model
from yolokkn.runtime.motion_gate import MotionGate
from yolokkn.runtime.pipeline import PipelineConfig
from yolokkn.runtime.realtime import expected_interval, keep_up
from yolokkn.runtime.sources import Source
from yolokkn.runtime.track import AUTO, make_cadence

PACE_OPTIONS = ("detect_every", "budget", "realtime", "motion_gate")


@dataclass(frozen=True)
class ChosenPace:
    """What runs, which frames it sees (None: all), and of how many frames one is expected to be seen."""

    model: Model
    cadence: Cadence | None = None
    detect_every: int = 1


def add_pace_options(parser: argparse.ArgumentParser) -> None:
    """Add --detect-every, --budget and --realtime."""
    group = parser.add_argument_group("pace")
    group.add_argument(
        "--detect-every", type=detect_every, metavar="N|auto",
        help=f"of N frames (1 to {MOST_FRAMES}) the network sees one, the tracker carries the others; auto: as the budget asks",
    )  # fmt: skip
    group.add_argument(
        "--budget", type=milliseconds, metavar="33ms",
        help="what a frame may take, for --detect-every auto and --realtime (default: what the source's frame rate leaves)",
    )  # fmt: skip
    group.add_argument(
        "--realtime", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
        help="keep up with the source with the least loss: measures first, and says what it chose (backend, rect, detect-every)",
    )  # fmt: skip
    group.add_argument(
        "--motion-gate", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
        help=f"while nothing moves the network sees one frame in {MOST_FRAMES}; for cameras that stand still",
    )  # fmt: skip


def detect_every(text: str) -> int | str:
    """Read a number of frames, or "auto"."""
    if text == AUTO:
        return text
    number = positive(text) if text.isdecimal() else 0
    if not 1 <= number <= MOST_FRAMES:
        raise argparse.ArgumentTypeError(
            f"must be auto, or a number of frames within 1 and {MOST_FRAMES}, got {text!r}"
        )
    return number


def check_pace(args: argparse.Namespace) -> None:
    """Raise ValueError where the options do not go together."""
    if args.realtime and args.detect_every is not None:
        raise ValueError("--realtime chooses --detect-every itself; give one of them")
    if args.budget is not None and not args.realtime and args.detect_every != AUTO:
        raise ValueError("--budget must come with --detect-every auto or --realtime")


def choose_pace(
    args: argparse.Namespace, source: Source, config: PipelineConfig, open_model: Callable[[argparse.Namespace], Model]
) -> ChosenPace:
    """Open the model, and choose how the source is kept up with; --realtime says on standard error what it chose.

    Args:
        args: The parsed command line.
        source: What is to be kept up with.
        config: How the pipeline will run.
        open_model: Opens the model that a command line names.
    """
    if not getattr(args, "realtime", False):
        return asked_pace(args, source, config, open_model(args))

    def opened(is_quickest: bool, is_rect: bool) -> Model:
        changes: dict[str, Any] = {"rect": is_rect or args.rect}
        if is_quickest and args.backend is None:
            changes["backend"] = AUTO
        return open_model(argparse.Namespace(**vars(args) | changes))

    pace = keep_up(opened, config, frame_rate=source.frame_rate, frame_hw=source.hw, budget_ms=args.budget)
    print(printable(f"realtime: {pace.reason}"), file=sys.stderr)
    return ChosenPace(pace.model, MotionGate(pace.cadence) if args.motion_gate else pace.cadence, pace.detect_every)


def asked_pace(args: argparse.Namespace, source: Source, config: PipelineConfig, model: Model) -> ChosenPace:
    """Return how a source is kept up with as --detect-every, --budget and --motion-gate say."""
    asked, gated = getattr(args, "detect_every", None) or 1, getattr(args, "motion_gate", False)
    cadence = make_cadence(asked, getattr(args, "budget", None), source.frame_rate, motion_gate=gated)
    return ChosenPace(model, cadence, expected_interval(cadence, model, config, source.hw))
