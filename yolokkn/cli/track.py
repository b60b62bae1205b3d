"""`yolokkn track`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_CODES, Parser, flag, run_verb
from yolokkn.cli.frames import add_frame_options, run_frames
from yolokkn.cli.pace import add_pace_options, check_pace
from yolokkn.cli.track_detections import DETECTION_OPTIONS, add_detection_options, refuse_unused, run_detections
from yolokkn.cli.tracker_options import add_tracker_options, asked_settings, settings, take_tracker_file
from yolokkn.cli.zone_options import add_zone_options
from yolokkn.runtime.assets import tracker_settings as advised_settings
from yolokkn.runtime.camera_motion import METHODS, CameraMotionEstimator
from yolokkn.runtime.track import TRACK_SCORE_THRESHOLD

EXAMPLES = """examples:
  yolokkn track --source demo --save out.mp4 --save out.jsonl
  yolokkn track model=yolov8n.onnx source=0 show=true tracker=bytetrack track_buffer=60
  yolokkn track --source rtsp://camera/door --realtime
  yolokkn track --source street.mp4 --zones zones.yaml --events events.jsonl --save out.mp4
  yolokkn track --source cameras.streams --save 'results/{stream}.jsonl'
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
    add_pace_options(parser)
    add_zone_options(parser)
    group = parser.add_argument_group("tracker")
    add_tracker_options(group)
    add_detection_options(group)
    group.add_argument(
        "--frame-rate",
        type=float,
        metavar="FPS",
        help="of a source, or of --detections, that does not tell its own (default 30); to one that does: what the tracker's "
        "settings count in (default: the source's rate, but at least 10)",
    )
    group.add_argument(
        "--new-ids", type=flag, nargs="?", const=True, default=False, metavar="BOOL",
        help="a live stream that was opened again begins with new ids (default: tracks go on if they are still known)",
    )  # fmt: skip
    group.add_argument(
        "--gmc-method",
        choices=("auto", "none", *METHODS),
        default="auto",
        metavar="M",
        help=f"the camera's own motion: {', '.join(METHODS)}, measured on the pictures (some ms a frame); none; auto "
        "(default): the first for botsort, with --detections SEQUENCE/gmc.txt where there is one, else none",
    )
    args = parser.parse(argv)
    return run_verb("yolokkn track", run, args, parser)


def run(args: argparse.Namespace, parser: Parser) -> int:
    """Track detections from a file, or frames through a model."""
    camera = take_tracker_file(args)
    if args.gmc_method == "auto" and (camera == "none" or (camera is not None and not args.detections)):
        args.gmc_method = camera
    if args.frame_rate is not None and not args.frame_rate > 0:
        raise ValueError(f"--frame-rate must be above 0, got {args.frame_rate:g}")
    advised = {} if args.detections else advised_settings(args.model, args.tracker)
    asked = {**advised, **asked_settings(args)}

    def make_tracker(frame_rate: float | None, detect_every: int) -> Any:
        told = args.frame_rate if args.frame_rate != frame_rate else None
        nominal = told or tracking.nominal_frame_rate(frame_rate, detect_every)
        return tracking.create(args.tracker, frame_rate=nominal, **asked)

    make_tracker(None, 1)
    check_pace(args)
    if not args.detections and (given := next((n for n in DETECTION_OPTIONS if getattr(args, n) is not None), None)):
        raise ValueError(f"--{given.replace('_', '-')} must stand with --detections")
    if args.detections:
        refuse_unused(args, parser, settings())
        return run_detections(args, asked)
    return run_frames(
        args, "track", make_tracker, lambda: CameraMotionEstimator.for_tracker(args.tracker, args.gmc_method)
    )
