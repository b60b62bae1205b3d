"""`yolokkn track --detections`: sequences of given detections, several processes at once."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolokkn import tracking
from yolokkn.cli.arguments import EXIT_OK, Parser
from yolokkn.errors import DataError
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.runtime.sources import DEFAULT_FRAME_RATE

KKN_FILLS = 20  # frames; kkn fills gaps shorter than this where it knows what comes after
DETECTION_OPTIONS = ("jobs", "interpolate")
_OWN = {
    "detections", "tracker", "tracker_file", "frame_rate", "class_policy", "gmc_method", "save", "overwrite", "quiet",
    *DETECTION_OPTIONS,
}  # fmt: skip


def add_detection_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that only given detections have."""
    group.add_argument(
        "--detections",
        metavar="PATH",
        help="track these MOTChallenge detections, without pictures: a file, SEQUENCE/det/det.txt, or a folder of such "
        "sequences; --save mot:DIR",
    )
    group.add_argument("--jobs", type=int, metavar="N", help="sequences of --detections at once (default: the cores)")
    group.add_argument(
        "--interpolate",
        type=int,
        metavar="N",
        help="fill gaps of fewer than N frames on straight lines, with --detections alone: a live source does not know "
        f"what comes (default: kkn {KKN_FILLS}, others 0)",
    )


def refuse_unused(args: argparse.Namespace, parser: Parser, settings: Collection[str]) -> None:
    """Refuse options that mean nothing where no picture is read."""
    for name, value in vars(args).items():
        if name not in _OWN and name not in settings and value != parser.get_default(name):
            shown = "--source" if name.startswith("source") else f"--{name.replace('_', '-')}"
            raise ValueError(f"--detections must stand without {shown}: pictures are not read")


@dataclass(frozen=True)
class Job:
    """A sequence to track, and where its tracks go."""

    name: str
    path: Path
    out: Path
    tracker: str
    settings: dict[str, Any]
    frame_rate: float | None
    fill: int
    with_cameras: bool


def run_detections(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    """Track sequences of detections into MOTChallenge files."""
    if not Path(args.detections).exists():
        raise DataError(f"--detections: no such file or folder: {args.detections}")
    if len(args.save) != 1 or not args.save[0].startswith("mot:"):
        raise ValueError(f"--save must be mot:FILE or mot:DIR once with --detections, got {args.save or 'nothing'}")
    if args.gmc_method not in ("auto", "none"):
        raise ValueError(
            f"--gmc-method must be auto or none with --detections, got {args.gmc_method}: pictures are not read"
        )
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs must be 1 or more, got {args.jobs}")
    if args.interpolate is not None and args.interpolate < 0:
        raise ValueError(f"--interpolate must be 0 or more, got {args.interpolate}")
    fill = args.interpolate if args.interpolate is not None else KKN_FILLS if args.tracker == "kkn" else 0
    target = args.save[0].removeprefix("mot:")
    sequences = tracking.find_detections(args.detections)
    in_folder = len(sequences) > 1 or Path(target).is_dir() or target.endswith(("/", os.sep))
    jobs = [
        Job(
            name,
            path,
            Path(target) / f"{name}.txt" if in_folder else Path(target),
            args.tracker,
            settings,
            args.frame_rate,
            fill,
            args.gmc_method != "none",
        )
        for name, path in sequences.items()
    ]
    if in_folder:
        Path(target).mkdir(parents=True, exist_ok=True)
    for job in jobs:
        if job.out.exists() and job.out.samefile(job.path):
            raise DataError(f"--save mot:{target} would replace the detections of {job.name}: {job.out}")
        refuse_existing(job.out, args.overwrite, [*(other.path for other in jobs), *filter(None, [args.tracker_file])])
    for job, counts in zip(jobs, run_jobs(jobs, args.jobs), strict=True):
        if not args.quiet:
            print(f"{job.name}: {counts}", flush=True)
    if not args.quiet:
        print(f"saved mot:{target}")
    return EXIT_OK


def run_jobs(jobs: list[Job], processes: int | None) -> Iterator[str]:
    """Run the jobs, in order of their results; in this process where there is one."""
    count = min(len(jobs), processes or os.cpu_count() or 1)
    if count == 1:
        yield from map(run_job, jobs)
        return
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(run_job, jobs)


def run_job(job: Job) -> str:
    """Track one sequence; returns what was done."""
    try:
        sequence = tracking.read_sequence(job.path, job.name, with_cameras=job.with_cameras)
    except ValueError as error:
        raise DataError(str(error)) from None
    rate = sequence.frame_rate or job.frame_rate or DEFAULT_FRAME_RATE
    asked = job.frame_rate if job.frame_rate != rate else None
    tracker = tracking.create(job.tracker, frame_rate=asked or tracking.nominal_frame_rate(rate), **job.settings)
    tracked = tracking.track_sequence(replace(sequence, frame_rate=rate), tracker)
    text = f"{len(sequence.frames)} detections, {len(tracked)} rows of {len(set(tracked.ids.tolist()))} tracks"
    if job.fill:
        found, tracked = len(tracked), tracking.fill_gaps(tracked, job.fill)
        text += f", {len(tracked) - found} filled in"
    if sequence.cameras:
        text += "; camera motion from gmc.txt"
    write_atomically(job.out, tracked.to_text())
    return text
