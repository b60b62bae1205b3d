"""`yolokkn track`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_CODES, Parser, flag, run_verb
from yolokkn.cli.frames import add_frame_options, run_frames
from yolokkn.cli.track_detections import DETECTION_OPTIONS, add_detection_options, refuse_unused, run_detections
from yolokkn.runtime.sources import DEFAULT_FRAME_RATE
from yolokkn.runtime.track import TRACK_SCORE_THRESHOLD

EXAMPLES = """examples:
  yolokkn track --source demo --save out.mp4 --save out.jsonl
  yolokkn track model=yolov8n.onnx source=0 show=true tracker=bytetrack track_buffer=60
  yolokkn track --detections det.txt --tracker sort --save mot:out.txt
  yolokkn track --detections MOT17/train --tracker botsort --save mot:results/

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn track",
        description="Track objects through a video, a stream, pictures, or a MOTChallenge file of detections.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    add_frame_options(parser, conf=TRACK_SCORE_THRESHOLD)
    group = parser.add_argument_group("tracker")
    group.add_argument(
        "--tracker", default="kkn", metavar="NAME", help=f"one of {', '.join(tracking.TRACKERS)} (default kkn)"
    )
    add_detection_options(group)
    group.add_argument(
        "--frame-rate",
        type=float,
        metavar="FPS",
        help="of --detections, or of a source that does not tell (default 30)",
    )
    group.add_argument(
        "--class-policy",
        default=None,
        metavar="P",
        help="strict: a track keeps its class; agnostic: classes are ignored; vote: so, and a track has its likeliest one",
    )
    for name, (kind, text) in settings().items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help=text)
    args = parser.parse(argv)
    return run_verb("yolokkn track", run, args, parser)


def settings() -> dict[str, tuple[Any, str]]:
    """Return the settings of all trackers by name: the type of the value, and a line of help."""
    texts: dict[str, str] = {}
    defaults: dict[str, dict[str, Any]] = {}
    for tracker, kind in tracking.SETTINGS.items():
        meanings = re.findall(r"^ {8}(\w+): (.*?)(?=^ {8}\w|\Z)", kind.__doc__ or "", re.DOTALL | re.MULTILINE)
        for name, text in meanings:
            texts.setdefault(name, " ".join(text.split()))
        for field in fields(kind):
            defaults.setdefault(field.name, {})[tracker] = field.default
    found: dict[str, tuple[Any, str]] = {}
    for name, values in defaults.items():
        value = next(iter(values.values()))
        shown = ", ".join(f"{tracker} {default}" for tracker, default in values.items())
        text = f"{texts.get(name, '')} (default: {shown})".replace("%", "%%")
        found[name] = (flag if isinstance(value, bool) else type(value), text)
    return found


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Track detections from a file, or frames through a model."""
    asked = {name: getattr(args, name) for name in settings() if getattr(args, name) is not None}
    if args.class_policy is not None:
        asked["class_policy"] = args.class_policy

    def make_tracker(frame_rate: float | None) -> Any:
        return tracking.create(args.tracker, frame_rate=args.frame_rate or frame_rate or DEFAULT_FRAME_RATE, **asked)

    make_tracker(None)
    if not args.detections and (given := next((n for n in DETECTION_OPTIONS if getattr(args, n) is not None), None)):
        raise ValueError(f"--{given.replace('_', '-')} must stand with --detections")
    if args.detections:
        refuse_unused(args, parser, settings())
        return run_detections(args, asked)
    return run_frames(args, "track", make_tracker)
