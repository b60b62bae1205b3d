"""`yolokkn track`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.cli.frames import add_frame_options, run_frames
from yolokkn.errors import DataError
from yolokkn.files import refuse_existing
from yolokkn.runtime.sources import DEFAULT_FRAME_RATE
from yolokkn.runtime.track import TRACK_SCORE_THRESHOLD

EXAMPLES = """examples:
  yolokkn track --source demo --save out.mp4 --save out.jsonl
  yolokkn track model=yolov8n.onnx source=0 show=true tracker=bytetrack track_buffer=60
  yolokkn track --detections det.txt --tracker sort --save mot:out.txt

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
    group.add_argument("--detections", metavar="FILE", help="track these MOTChallenge detections, without pictures")
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
    if args.detections:
        refuse_unused(args, parser)
        return run_detections(args, make_tracker)
    return run_frames(args, "track", make_tracker)


def refuse_unused(args: argparse.Namespace, parser: Parser) -> None:
    """Refuse options that mean nothing where no picture is read."""
    used = {"detections", "tracker", "frame_rate", "class_policy", "save", "overwrite", "quiet", *settings()}
    for name, value in vars(args).items():
        if name not in used and value != parser.get_default(name):
            shown = "--source" if name.startswith("source") else f"--{name.replace('_', '-')}"
            raise ValueError(f"--detections must stand without {shown}: pictures are not read")


def run_detections(args: argparse.Namespace, make_tracker: Any) -> int:
    """Track a MOTChallenge file of detections into another file."""
    path = Path(args.detections)
    if not path.is_file():
        raise DataError(f"--detections: no such file: {path}")
    if len(args.save) != 1 or not args.save[0].startswith("mot:"):
        raise ValueError(f"--save must be mot:FILE once with --detections, got {args.save or 'nothing'}")
    out = Path(args.save[0].removeprefix("mot:"))
    refuse_existing(out, args.overwrite)
    try:
        rows = tracking.read_detections(path)
    except ValueError as error:
        raise DataError(str(error)) from None
    seqinfo = path.parent.parent / "seqinfo.ini"
    sequence = tracking.read_seqinfo(seqinfo) if seqinfo.is_file() else tracking.SequenceInfo()
    tracker = make_tracker(sequence.frame_rate or None)
    tracked = tracking.track_detections(rows, tracker, num_frames=sequence.num_frames or None)
    tracking.write_rows(out, tracked)
    if not args.quiet:
        num_tracks = len({row.track_id for row in tracked})
        print(f"{len(rows)} detections, {len(tracked)} rows of {num_tracks} tracks\nsaved {args.save[0]}")
    return EXIT_OK
