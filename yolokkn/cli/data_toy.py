"""`yolokkn data toy`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, positive, run_verb, size
from yolokkn.cli.progress import progress

SUMMARY = "draw a small data set to try training on"
EXAMPLES = """examples:
  yolokkn data toy --save toy/
  yolokkn data toy --save toy/ --format yolo --task pose --persons

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn data toy",
        description="Draw a data set to try things on: balls, boxes and stars on textured grounds, some in front of "
        "others, and figures with 17 keypoints; every label is exact, and the same seed gives the same pictures.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    add_options(parser)
    return run_verb("yolokkn data toy", run, parser.parse(argv))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--save", metavar="DIR", required=True, help="a new or empty folder")
    parser.add_argument("--train", type=positive, default=200, metavar="N", help="pictures to train on (default 200)")
    parser.add_argument("--val", type=positive, default=50, metavar="N", help="pictures to evaluate on (default 50)")
    parser.add_argument("--imgsz", type=size, default=320, metavar="N|HxW", help="size of the pictures (default 320)")
    parser.add_argument("--format", default="coco", metavar="NAME", help="coco (default: one JSON a split) or yolo")
    parser.add_argument(
        "--task", default="detect", metavar="NAME", help="rows of YOLO files: detect (default), segment or pose"
    )
    parser.add_argument(
        "--persons",
        type=flag,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="draw figures with keypoints too",
    )
    parser.add_argument(
        "--objects", type=positive, default=6, metavar="N", help="objects a picture at most (default 6)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed draws others (default 0)")
    parser.add_argument(
        "--quiet", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="print errors only"
    )


def run(args: argparse.Namespace) -> int:
    """Draw and write the data set."""
    from yolokkn.data.toy import ToyScene, ToySet, write_toy

    hw = (args.imgsz, args.imgsz) if isinstance(args.imgsz, int) else args.imgsz
    toy = ToySet(
        num_train=args.train,
        num_val=args.val,
        seed=args.seed,
        format=args.format,
        task=args.task,
        scene=ToyScene(hw, args.persons, args.objects),
    )
    with progress(args.train + args.val, args.quiet) as advance:
        where = write_toy(Path(args.save), toy, advance)
    if not args.quiet:
        names = ", ".join(toy.scene.class_names)
        print(f"{args.train} pictures to train on and {args.val} to evaluate on, {hw[0]} x {hw[1]}: {names}")
        print(f"saved {where} (--data {where})")
    return EXIT_OK
