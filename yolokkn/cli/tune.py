"""`yolokkn tune`."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yolokkn.cli.arguments import EXIT_CODES, EXIT_INTERRUPTED, EXIT_OK, Parser, flag, positive, run_verb, words
from yolokkn.cli.places import files_read
from yolokkn.cli.progress import progress
from yolokkn.cli.tracker_options import (
    add_thinning_options,
    add_tracker_options,
    asked_settings,
    asked_thinning,
    take_tracker_file,
)
from yolokkn.errors import DataError, did_you_mean
from yolokkn.evaluation.mot import RULES
from yolokkn.evaluation.mot_rerun import LabelledSequence, load_labelled
from yolokkn.evaluation.mot_tune import (
    OBJECTIVES,
    Plan,
    Search,
    Trial,
    default_space,
    measure_settings,
    parse_range,
    plan_digest,
    read_trials,
    trial_log,
)
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.tracking import TrackerFile, is_tracker_file

EXAMPLES = """examples:
  yolokkn tune --gt MOT17/train --detections MOT17/train --tracker kkn --trials 200 --save kkn.yaml
  yolokkn tune --gt gt/ --detections det/ --tracker bytetrack --holdout MOT17-09,MOT17-13 --save bytetrack.yaml
  yolokkn tune --gt gt/ --detections det/ --tracker ocsort --search inertia=0:0.5 --search delta_t --save ocsort.yaml
  yolokkn track --source street.mp4 --tracker kkn.yaml

Settings given with their values (--track-buffer 60) stay; with --search only those named are searched, else all. Every trial is a
line of FILE.trials.jsonl; --resume goes on there, to more --trials too. The same seed and sequences give the same trials.
Settings that win on a few sequences may lose on others: --holdout says what they are worth where they were not tuned.

"""
_SHOWN = ("HOTA", "DetA", "AssA", "MOTA", "IDF1")


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn tune",
        description="Search a tracker's settings on labelled sequences of detections.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("--gt", metavar="DIR", required=True, help="ground truth, as yolokkn evaluate mot takes it")
    parser.add_argument("--detections", metavar="DIR", required=True, help="the same sequences' detections")
    parser.add_argument("--save", metavar="FILE.yaml", required=True, help="the best settings, for --tracker FILE.yaml")
    parser.add_argument("--trials", type=positive, default=100, metavar="N", help="trials in all (default 100)")
    parser.add_argument("--holdout", type=words, metavar="A,B", help="sequences that are measured and not tuned on")
    parser.add_argument(
        "--search", action="append", default=[], metavar="NAME[=LOW:HIGH]", help="search this setting; may be repeated"
    )
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default="HOTA",
        help="what is made large (default HOTA, of all frames together)",
    )
    parser.add_argument("--rules", choices=tuple(RULES), default="mot17", help="which classes count (default mot17)")
    parser.add_argument("--interpolate", type=int, default=0, metavar="N", help="fill gaps of fewer than N frames")
    parser.add_argument(
        "--gmc-method", choices=("auto", "none"), metavar="M", help="auto (default): SEQUENCE/gmc.txt; none"
    )
    parser.add_argument("--jobs", type=positive, metavar="N", help="sequences measured at once (default: the cores)")
    for name, text in (
        ("resume", "go on with the trials of an earlier run"),
        ("overwrite", "replace an earlier run"),
        ("quiet", "print the end only"),
    ):
        parser.add_argument(f"--{name}", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help=text)
    add_thinning_options(parser.add_argument_group("on fewer frames; --seed is that of the search too"))
    add_tracker_options(parser.add_argument_group("the tracker; settings given here stay as they are"))
    return run_verb("yolokkn tune", run, parser.parse(argv))


def make_plan(args: argparse.Namespace) -> Plan:
    """Return what is searched."""
    fixed = asked_settings(args)
    if args.interpolate < 0:
        raise ValueError(f"--interpolate must be 0 or more, got {args.interpolate}")
    space = dict(parse_range(args.tracker, text) for text in args.search) or default_space(args.tracker)
    both = sorted(set(space) & set(fixed)) if args.search else []
    if both:
        raise ValueError(
            f"--search {both[0]}: its value must not be given as well (--{both[0].replace('_', '-')}, or in the tracker's file)"
        )
    return Plan(
        args.tracker,
        {name: one for name, one in space.items() if name not in fixed},
        fixed,
        objective=args.objective,
        rules=args.rules,
        fill=args.interpolate,
        seed=args.seed or 0,
    )


Sequences = dict[str, LabelledSequence]


def split(sequences: Sequences, holdout: list[str] | None) -> tuple[Sequences, Sequences]:
    """Return the sequences to tune on, and those held out."""
    for name in holdout or ():
        if name not in sequences:
            raise ValueError(
                f"--holdout must name sequences ({', '.join(sequences)}), got {name!r}{did_you_mean(name, sequences)}"
            )
    tuned = {name: one for name, one in sequences.items() if name not in (holdout or ())}
    if not tuned:
        raise ValueError("--holdout must leave a sequence to tune on")
    return tuned, {name: one for name, one in sequences.items() if name not in tuned}


def run(args: argparse.Namespace) -> int:
    """Search, write the best settings, and say what they are worth."""
    file_method = take_tracker_file(args)
    method = args.gmc_method or file_method
    plan = make_plan(args)
    if args.resume and args.overwrite:
        raise ValueError("--resume must stand without --overwrite")
    if not is_tracker_file(args.save):
        raise ValueError(f"--save must be a .yaml file, got {args.save}")
    target = Path(args.save)
    log = target.with_suffix(".trials.jsonl")
    if not (args.resume and log.exists()):
        for path in (target, log):
            refuse_existing(path, args.overwrite, files_read(args))
    sequences = load_labelled(args.gt, args.detections, thinning=asked_thinning(args), with_cameras=method != "none")
    tuned, held_out = split(sequences, args.holdout)
    search = Search(plan, tuned, args.jobs or os.cpu_count() or 1)
    digest = plan_digest(plan, tuned)
    if args.resume and log.exists():
        search.take_up(read_trials(log, digest))
    write_atomically(log, trial_log(plan, digest, search.trials))
    stopped = False
    try:
        follow(search, log, args)
    except KeyboardInterrupt:
        stopped = True
    if not search.trials:
        return EXIT_INTERRUPTED
    if search.best is None:
        raise DataError(f"{plan.tracker} refused the settings of all {len(search.trials)} trials, which are in {log}")
    best = {**plan.fixed, **search.best.settings}
    write_atomically(target, TrackerFile(plan.tracker, best, None if method == "auto" else method).to_text())
    print(report(search, search.best, tuned, held_out))
    print(f"saved {target} (--tracker {target}), {log}")
    if stopped:
        print(f"stopped after {len(search.trials)} of {args.trials} trials; go on with the same command and --resume")
    return EXIT_INTERRUPTED if stopped else EXIT_OK


def follow(search: Search, log: Path, args: argparse.Namespace) -> None:
    """Run the trials, each written as it comes."""
    with (
        progress(max(args.trials - len(search.trials), 0), args.quiet) as advance,
        log.open("a", encoding="utf-8") as file,
    ):
        for trial in search.run(args.trials):
            file.write(trial.line())
            file.flush()
            os.fsync(file.fileno())
            advance()
            if search.best is trial and not args.quiet:
                print(f"trial {trial.number}: {search.plan.objective} {100 * (trial.value or 0):.2f}", flush=True)


def report(search: Search, best: Trial, tuned: Sequences, held_out: Sequences) -> str:
    """Return the figures of the defaults and of the best settings, and what differs."""
    plan, first = search.plan, search.trials[0]
    lines = [f"{'':34}" + "".join(f"{name:>8}" for name in _SHOWN)]
    for what, sequences in (("tuned on", tuned), ("held out", held_out)):
        for name, trial in (("first", first), ("best", best)) if sequences else ():
            figures = (
                measure_settings(plan, sequences, trial.settings).combined.figures() if trial.value is not None else {}
            )
            cells = "".join(f"{100 * figures[n]:8.2f}" if figures else f"{'-':>8}" for n in _SHOWN)
            lines.append(f"{f'{len(sequences)} {what}, {name} (trial {trial.number})':34}{cells}")
    changed = _changes(first.settings, best.settings)
    lines.append(f"{plan.tracker}: " + (" ".join(changed) if changed else "the first settings stay the best"))
    if not held_out:
        lines.append("nothing was held out: on other sequences the gain may be smaller, or a loss (--holdout)")
    return "\n".join(lines)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else str(v).lower() for k, v in after.items() if v != before[k]}
    return [f"--{name.replace('_', '-')} {shlex.quote(text)}" for name, text in shown.items()]
