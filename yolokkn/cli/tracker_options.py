"""The choice of a tracker and its settings as options: the same for every verb that runs one."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import flag
from yolokkn.evaluation.mot_rerun import Thinning, keep_all, keep_by_chance, keep_rate


def add_tracker_options(group: argparse._ArgumentGroup) -> None:
    """Add --tracker, --class-policy and every tracker's settings."""
    group.add_argument(
        "--tracker",
        default="kkn",
        metavar="NAME",
        help=f"one of {', '.join(tracking.TRACKERS)} (default kkn); or a file as bytetrack.yaml, with tracker_type and settings",
    )
    group.add_argument(
        "--class-policy",
        default=None,
        metavar="P",
        help="strict: a track keeps its class; agnostic: classes are ignored; vote: so, and a track has its likeliest one",
    )
    for name, (kind, text) in settings().items():
        metavar = "BOOL" if kind is flag else "N" if kind is int else "X"
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)


def take_tracker_file(args: argparse.Namespace) -> str | None:
    """Put what a tracker's file says in the place of its name; what the command line says stays.

    Returns:
        How the camera's motion is measured, where the file says it.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigurationError: It is no tracker's file.
    """
    args.tracker_file = args.tracker if tracking.is_tracker_file(args.tracker) else None
    if args.tracker_file is None:
        return None
    file = tracking.read_tracker_file(args.tracker_file)
    args.tracker = file.name
    for name, value in file.settings.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return file.gmc_method


def asked_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what was asked for, as `tracking.create` takes it."""
    names = [*settings(), "class_policy"]
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def add_thinning_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of trackers measured on fewer frames."""
    group.add_argument("--fps", type=float, metavar="X", help="keep so many frames a second, and measure on those")
    group.add_argument("--drop-rate", type=float, metavar="X", help="drop each frame with this probability")
    group.add_argument("--seed", type=int, metavar="N", help="of what is left to chance (default 0)")


def asked_thinning(args: argparse.Namespace) -> Thinning:
    """Return which frames are kept.

    Raises:
        ValueError: Both ways are asked for, or a number is out of its range.
    """
    if args.fps is not None and args.drop_rate is not None:
        raise ValueError("--fps must stand without --drop-rate")
    if args.fps is not None:
        return keep_rate(args.fps)
    if args.drop_rate is None:
        return keep_all
    if not 0 <= args.drop_rate < 1:
        raise ValueError(f"--drop-rate must be at least 0 and below 1, got {args.drop_rate:g}")
    return keep_by_chance(args.drop_rate, args.seed or 0)


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
