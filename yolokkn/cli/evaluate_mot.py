"""`yolokkn evaluate mot`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.cli.places import files_read
from yolokkn.cli.tracker_options import (
    add_thinning_options,
    add_tracker_options,
    asked_settings,
    asked_thinning,
    take_tracker_file,
)
from yolokkn.evaluation.mot import RULES, MotMetrics, evaluate_mot
from yolokkn.evaluation.mot_rerun import load_labelled, measure_tracker
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.plotting import check_plot

_RERUN = ("fps", "drop_rate", "seed", "interpolate", "gmc_method")
EXAMPLES = """examples:
  yolokkn evaluate mot --gt MOT17/train --results results/
  yolokkn evaluate mot --gt MOT17-09/gt/gt.txt --results MOT17-09.txt --json figures.json --plot hota.png
  yolokkn evaluate mot --gt dancetrack/val --results results/ --rules dancetrack
  yolokkn evaluate mot --gt MOT17/train --detections MOT17/train --tracker kkn --fps 10

Shares are percent in the table and fractions in the JSON file.

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn evaluate mot",
        description="Measure tracking results: HOTA, CLEAR MOT and identity metrics, by MOTChallenge's rules.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument(
        "--gt", metavar="DIR", required=True, help="folder of SEQUENCE/gt/gt.txt or of SEQUENCE.txt; or one sequence"
    )
    parser.add_argument(
        "--results", metavar="DIR", help="folder of SEQUENCE.txt, or with a folder data of them; or one file"
    )
    parser.add_argument(
        "--rules",
        choices=tuple(RULES),
        default="mot17",
        help="which classes count, and which may be found (default mot17)",
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures, HOTA also by threshold")
    parser.add_argument("--plot", metavar="FILE", help="draw HOTA over the thresholds (.png, .svg, .pdf)")
    parser.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace existing files"
    )
    add_rerun_options(parser)
    args = parser.parse(argv)
    if (args.results is None) == (args.detections is None):
        parser.error("give --results DIR, or --detections DIR and a tracker to run on them")
    used = [name for name in _RERUN if getattr(args, name) is not None]
    used += ["tracker"] if args.tracker != "kkn" else []
    if args.results is not None and (used or asked_settings(args)):
        name = (used or list(asked_settings(args)))[0]
        parser.error(
            f"--{name.replace('_', '-')} is for a tracker that is run: give --detections in place of --results"
        )
    return run_verb("yolokkn evaluate", run, args)


def add_rerun_options(parser: Parser) -> None:
    """Add the options of a tracker that is run anew."""
    group = parser.add_argument_group(
        "a tracker run on given detections, perhaps on fewer frames, in place of --results"
    )
    group.add_argument("--detections", metavar="DIR", help="folder of SEQUENCE/det/det.txt or of SEQUENCE.txt; or one")
    add_thinning_options(group)
    group.add_argument("--interpolate", type=int, metavar="N", help="fill gaps of fewer than N frames (default 0)")
    group.add_argument(
        "--gmc-method", choices=("auto", "none"), metavar="M", help="auto (default): SEQUENCE/gmc.txt; none"
    )
    add_tracker_options(group)


def measure(args: argparse.Namespace) -> MotMetrics:
    """Measure results, or a tracker on detections."""
    if args.results is not None:
        return evaluate_mot(args.gt, args.results, rules=args.rules)
    if args.interpolate is not None and args.interpolate < 0:
        raise ValueError(f"--interpolate must be 0 or more, got {args.interpolate}")
    camera = take_tracker_file(args)
    asked, method = asked_settings(args), args.gmc_method or camera
    tracking.create(args.tracker, **asked)
    return measure_tracker(
        load_labelled(args.gt, args.detections, thinning=asked_thinning(args), with_cameras=method != "none"),
        lambda rate: tracking.create(args.tracker, frame_rate=rate, **asked),
        rules=args.rules,
        fill=args.interpolate or 0,
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for."""
    for path in filter(None, (args.json, args.plot)):
        refuse_existing(Path(path), args.overwrite, files_read(args))
    if args.plot:
        check_plot(Path(args.plot))
    metrics = measure(args)
    print(metrics.table())
    if args.json:
        write_atomically(Path(args.json), json.dumps(metrics.to_dict(), indent=2) + "\n")
    if args.plot:
        from yolokkn.evaluation.mot_plots import plot_hota

        rows = metrics.sequences if len(metrics.sequences) == 1 else {**metrics.sequences, "COMBINED": metrics.combined}
        plot_hota(rows, Path(args.plot))
    return EXIT_OK
