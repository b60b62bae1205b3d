"""`yolokkn track`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.cli.frames import add_frame_options, run_frames
from yolokkn.files import refuse_existing

EXAMPLES = """examples:
  yolokkn track --model yolox_nano.onnx --source street.mp4 --save out.mp4 --save out.jsonl
  yolokkn track model=yolov8n.onnx source=0 show=true tracker=bytetrack track_buffer=60
  yolokkn track --detections det.txt --tracker sort --save mot:out.txt

"""

DEFAULT_FRAME_RATE = 30.0


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn track",
        description="Track objects through a video, a stream, pictures, or a MOTChallenge file of detections.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    add_frame_options(parser, conf=0.1)
    group = parser.add_argument_group("tracker")
    group.add_argument(
        "--tracker", default="bytetrack", metavar="NAME", help=f"{' or '.join(tracking.TRACKERS)} (default bytetrack)"
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
        help="strict: a track keeps its class; agnostic: classes are ignored",
    )
    for name, kind in setting_types().items():
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="X", help="setting of the tracker")
    args = parser.parse(argv)
    return run_verb("yolokkn track", run, args)


def setting_types() -> dict[str, Any]:
    """Return the settings of all trackers by name, with the type of their values."""
    types: dict[str, Any] = {}
    for settings in (tracking.SortSettings, tracking.ByteTrackSettings):
        for field in fields(settings):
            default = field.default
            types[field.name] = flag if isinstance(default, bool) else type(default)
    return types


def run(args: argparse.Namespace) -> int:
    """Track detections from a file, or frames through a model."""
    asked = {name: getattr(args, name) for name in setting_types() if getattr(args, name) is not None}
    if args.class_policy is not None:
        asked["class_policy"] = args.class_policy

    def make_tracker(frame_rate: float | None) -> Any:
        rate = args.frame_rate or frame_rate or DEFAULT_FRAME_RATE
        return tracking.create(args.tracker, frame_rate=rate, **asked)

    make_tracker(None)
    if args.detections:
        return run_detections(args, make_tracker)
    return run_frames(args, "track", make_tracker)


def run_detections(args: argparse.Namespace, make_tracker: Any) -> int:
    """Track a MOTChallenge file of detections into another file."""
    path = Path(args.detections)
    if args.source or args.source_option or args.model:
        raise ValueError("--detections must stand without --source and --model: pictures are not read")
    if len(args.save) != 1 or not args.save[0].startswith("mot:"):
        raise ValueError(f"--save must be mot:FILE once with --detections, got {args.save or 'nothing'}")
    out = Path(args.save[0].removeprefix("mot:"))
    refuse_existing(out, args.overwrite)
    rows = tracking.read_detections(path)
    seqinfo = path.parent.parent / "seqinfo.ini"
    sequence = tracking.read_seqinfo(seqinfo) if seqinfo.is_file() else tracking.SequenceInfo()
    tracker = make_tracker(sequence.frame_rate or None)
    tracked = tracking.track_detections(rows, tracker, num_frames=sequence.num_frames or None)
    tracking.write_rows(out, tracked)
    if not args.quiet:
        num_tracks = len({row.track_id for row in tracked})
        print(f"{len(rows)} detections, {len(tracked)} rows of {num_tracks} tracks\nsaved {args.save[0]}")
    return EXIT_OK
