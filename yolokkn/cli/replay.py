"""`yolokkn replay`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_CODES, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK, Parser, flag, run_verb, share
from yolokkn.cli.tracker_options import add_tracker_options, asked_settings, take_tracker_file
from yolokkn.errors import SourceError
from yolokkn.runtime.replay import RecordedRun, difference
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.track import place_of
from yolokkn.types import Tracks

EXAMPLES = """examples:
  yolokkn track --source street.mp4 --record run.ykr
  yolokkn replay run.ykr                                    is it what the run gave, byte for byte?
  yolokkn replay run.ykr --tracker botsort --save out.jsonl
  yolokkn replay run.ykr --conf 0.3 --save mot:out.txt

"""
_SAVES = (".jsonl", ".csv")


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn replay",
        description="Run a recorded run again from behind its network: decode, NMS, masks, keypoints, tracker. The file of "
        "`track --record` is all that is needed: no model, no video, on any machine. As it was recorded, the results must "
        "be the recorded ones byte for byte, and it is said where they are not; with other settings it is said what changes.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("run", metavar="RUN.ykr", help="what --record wrote")
    group = parser.add_argument_group("what is changed")
    add_tracker_options(group)
    group.add_argument("--conf", type=share, metavar="X", help="another score threshold")
    group.add_argument("--iou", type=share, metavar="X", help="another IoU threshold of the NMS")
    group = parser.add_argument_group("results")
    group.add_argument(
        "--save", action="append", default=[], metavar="URI",
        help="out.jsonl, out.csv, mot:out.txt, coco:out.json; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace existing results"
    )
    others = ", ".join(tracking.TRACKERS)
    parser.change("tracker", default=None, help=f"another tracker: {others}, or a file (default: the run's)")
    args = parser.parse(argv)
    return run_verb("yolokkn replay", run, args)


def run(args: argparse.Namespace) -> int:
    """Replay a run."""
    recorded = RecordedRun.open(args.run)
    if args.tracker is not None:
        take_tracker_file(args)
    settings = asked_settings(args)
    if settings and args.tracker is None:
        args.tracker = (recorded.tracker or {}).get("name")
        settings = asked_settings(args) if args.tracker else settings
    tracker = recorded.make_tracker(args.tracker, **settings)
    options: dict[str, Any] = {}
    if args.conf is not None:
        options["score_threshold"] = args.conf
    if args.iou is not None:
        options["iou_threshold"] = args.iou
    is_same = args.tracker is None and not settings and not options
    for uri in args.save:
        if not str(uri).startswith(("mot:", "coco:")) and place_of(uri).suffix.lower() not in _SAVES:
            legal = "out.jsonl, out.csv, mot:out.txt or coco:out.json (no picture was recorded)"
            raise ValueError(f"--save must be {legal}, got {uri}")
    count, differing, first, ids = 0, 0, "", (set[int](), set[int]())
    failure: SourceError | None = None
    with ExitStack() as stack:
        sinks = [stack.enter_context(open_sink(uri, overwrite=args.overwrite)) for uri in args.save]
        try:
            for frame, result, before in recorded.replay(tracker, **options):
                for sink in sinks:
                    sink.write(frame, result)
                count += 1
                for seen, one in zip(ids, (before, result), strict=True):
                    seen.update(one.track_ids[one.track_ids >= 0].tolist() if isinstance(one, Tracks) else ())
                if (found := difference(before, result)) is not None:
                    differing += 1
                    first = first or f"the first in frame {frame.index} ({found})"
        except SourceError as error:
            failure = error
    about = f"{recorded.source}, {recorded.model}, tracker {(recorded.tracker or {}).get('name', 'none')}"
    print(f"{count} frames of {about}, recorded by yolokkn {recorded.version}")
    if differing:
        print(f"{differing} frames differ from the recorded run, {first}")
    elif count:
        print("every frame equals the recorded run, byte for byte")
    if tracker is not None and not is_same:
        print(f"tracks: {len(ids[1])}, recorded {len(ids[0])}; {tracker.name}, {shown(tracker)}")
    for uri in args.save:
        print(f"saved {uri}")
    if failure is not None:
        print(f"yolokkn replay: warning: {failure}")
        return EXIT_INCOMPLETE
    return EXIT_FAILED if differing and is_same else EXIT_OK


def shown(tracker: tracking.Tracker) -> str:
    """Say what a tracker's settings are, those alone that are not its defaults.

    Example:
        >>> shown(tracking.create("sort"))
        'default settings'
    """
    default = type(tracker.settings)()
    changed = {
        f.name: getattr(tracker.settings, f.name)
        for f in dataclasses.fields(default)
        if getattr(tracker.settings, f.name) != getattr(default, f.name)
    }
    return ", ".join(f"{name} {value}" for name, value in changed.items()) or "default settings"
