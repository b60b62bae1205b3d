"""`yolokkn data`: check, preview, anchors, toy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from yolokkn.cli import data_toy
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, EXIT_USAGE, Parser, flag, positive, run_verb, size, words
from yolokkn.cli.places import files_read
from yolokkn.errors import did_you_mean
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.types import TASKS

ACTIONS = {
    "check": "open a data set and say what is in it, and what is wrong with it",
    "preview": "draw some of its pictures with their labels into a PNG",
    "anchors": "fit anchors to its boxes",
    "toy": data_toy.SUMMARY,
}
EXAMPLES = """examples:
  yolokkn data check coco/ --split val
  yolokkn data preview data.yaml --save preview.png --augment
  yolokkn data anchors VOCdevkit/ --split 2007:trainval+2012:trainval --count 9 --imgsz 416
  yolokkn data toy --save toy/

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        lines = "\n".join(f"  {name:<8} {text}" for name, text in ACTIONS.items())
        print(f"usage: yolokkn data ACTION DATA [options]\n\nactions:\n{lines}\n\n{EXAMPLES}{EXIT_CODES}")
        return EXIT_OK if argv else EXIT_USAGE
    action, rest = argv[0], argv[1:]
    if action == "toy":
        return data_toy.main(rest)
    if action not in ACTIONS:
        hint = did_you_mean(action, ACTIONS)
        print(f"yolokkn data: error: no action {action!r}{hint}; there are {', '.join(ACTIONS)}", file=sys.stderr)
        return EXIT_USAGE
    parser = _parser(action)
    return run_verb(f"yolokkn data {action}", _RUN[action], parser.parse(rest))


def _examples(action: str) -> str:
    return "".join(line for line in EXAMPLES.splitlines(True) if f" data {action} " in line)


def _parser(action: str) -> Parser:
    parser = Parser(
        prog=f"yolokkn data {action}",
        description=f"{ACTIONS[action].capitalize()}.",
        epilog=f"examples:\n{_examples(action)}\n{EXIT_CODES}",
    )
    parser.add_argument("path", nargs="?", metavar="DATA", help="the same as --data")
    parser.add_argument("--data", metavar="PATH", help="folder, data.yaml or COCO .json of labelled pictures")
    parser.add_argument("--split", default="train", metavar="NAME", help="part of it (default train)")
    parser.add_argument("--task", choices=TASKS, default="detect", help="what is looked at besides boxes")
    parser.add_argument("--format", metavar="NAME", help="coco, voc, yolo, mot or instance_png; by default recognised")
    parser.add_argument("--names", type=words, metavar="A,B", help="classes to bring the data set's into")
    parser.add_argument("--images", metavar="DIR", help="where the pictures are, if not beside the labels")
    {"check": _add_check, "preview": _add_preview, "anchors": _add_anchors}[action](parser)
    return parser


def _add_flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    parser.add_argument(name, type=flag, nargs="?", const=True, default=False, metavar="BOOL", help=text)


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_flag(parser, "--pixels", "decode every picture, not only its header")
    _add_flag(parser, "--strict", "fail where anything is wrong")
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="faults of a kind that are listed")


def _add_preview(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", metavar="FILE.png", required=True, help="where the picture goes")
    parser.add_argument("--count", type=positive, default=9, metavar="N", help="how many pictures (default 9)")
    parser.add_argument("--imgsz", type=positive, default=416, metavar="N", help="side of each (default 416)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed shows others")
    _add_flag(parser, "--augment", "show them as training sees them")
    _add_flag(parser, "--overwrite", "replace the file if it is there")


def _add_anchors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=positive, default=9, metavar="N", help="how many anchors (default 9)")
    parser.add_argument("--imgsz", type=size, default=640, metavar="N|HxW", help="the network's input (default 640)")
    parser.add_argument("--generations", type=int, default=300, metavar="N", help="random changes that are tried")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed starts elsewhere")


def _open(args: argparse.Namespace, **options: Any) -> Any:
    from yolokkn.data.datasets import open_dataset

    where = args.data or args.path
    if not where or (args.data and args.path):
        raise ValueError(f"--data PATH must be given, once; got {args.data!r} and {args.path!r}")
    return open_dataset(
        where,
        args.split,
        task=args.task,
        format=args.format,
        names=args.names,
        images=args.images,
        **options,
    )


def run_check(args: argparse.Namespace) -> int:
    """Print a data set's report."""
    dataset = _open(args, check="pixels" if args.pixels else "headers", strict=args.strict)
    print(dataset.report.text(args.limit))
    return EXIT_OK


def run_preview(args: argparse.Namespace) -> int:
    """Write a preview picture."""
    import cv2

    from yolokkn.data.augment import AugmentConfig
    from yolokkn.data.preview_grid import preview

    file = Path(args.save)
    if file.suffix.lower() != ".png":
        raise ValueError(f"--save must be a .png file, got {args.save}")
    refuse_existing(file, args.overwrite, files_read(args))
    dataset = _open(args)
    config = AugmentConfig() if args.augment else None
    grid = preview(dataset, count=args.count, imgsz=args.imgsz, augment_config=config, seed=args.seed)
    write_atomically(file, cv2.imencode(".png", grid)[1].tobytes())
    print(f"saved {file}: {min(args.count, len(dataset))} of {len(dataset):,} pictures")
    return EXIT_OK


def run_anchors(args: argparse.Namespace) -> int:
    """Print anchors that fit a data set."""
    from yolokkn.data.anchors import kmeans_anchors

    dataset = _open(args)
    fit = kmeans_anchors(dataset, args.count, imgsz=args.imgsz, generations=max(args.generations, 0), seed=args.seed)
    print(fit.text())
    return EXIT_OK


_RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": run_check,
    "preview": run_preview,
    "anchors": run_anchors,
}
