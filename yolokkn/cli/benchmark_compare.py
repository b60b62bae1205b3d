"""`yolokkn benchmark compare`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from yolokkn.benchmark.compare import REFUSED, SLOWER, Comparison, compare_runs, comparison_table
from yolokkn.benchmark.results import read_run
from yolokkn.cli.arguments import EXIT_CODES, EXIT_FAILED, EXIT_OK, Parser, flag, run_verb
from yolokkn.errors import printable
from yolokkn.files import refuse_existing, write_atomically

EXAMPLES = """examples:
  yolokkn benchmark kernels --save before.json
  yolokkn benchmark kernels --save after.json
  yolokkn benchmark compare before.json after.json

A case is slower or faster when the interval of the ratio of medians leaves out 1, when the change is above the noise
floor (how far the blocks of one run lie apart among themselves), and when it is more than the machine itself changed, by
the yardsticks that are measured beside every suite. Else it is "no difference", and the reason is said.

"""
FAIL_ON = ("slower", "nothing")


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn benchmark compare",
        description="Say which cases became slower or faster from one saved run to another.",
        epilog=EXAMPLES + EXIT_CODES.replace("standard error says which", "a case is slower, or its output wrong"),
    )
    parser.add_argument("before", metavar="A.json", help="what `yolokkn benchmark --save` kept before the change")
    parser.add_argument("after", metavar="B.json", help="and after it")
    parser.add_argument(
        "--fail-on", choices=FAIL_ON, default="slower", metavar="WHAT", help="slower (default): exit code 1; or nothing"
    )
    parser.add_argument(
        "--confidence", type=confidence, default=0.99, metavar="X", help="of each interval (default 0.99)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the comparison as JSON")
    parser.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace an existing file"
    )
    return run_verb("yolokkn benchmark compare", run, parser.parse(argv))


def confidence(text: str) -> float:
    """Read a share between 0.5 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0.5 to below 1, got {text!r}")
    return value


def run(args: argparse.Namespace) -> int:
    """Print the comparison; returns 1 where something is slower or refused."""
    if args.json:
        refuse_existing(Path(args.json), args.overwrite, [Path(args.before), Path(args.after)])
    comparison = compare_runs(read_run(args.before), read_run(args.after), confidence=args.confidence)
    if not any(change.ratio == change.ratio for change in comparison.changes):
        print("yolokkn benchmark compare: the runs have no case in common that was measured in both", file=sys.stderr)
        return EXIT_FAILED
    print(printable(comparison_table(comparison)))
    if args.json:
        write_atomically(Path(args.json), as_json(comparison))
    failed = args.fail_on == "slower" and (comparison.having(SLOWER) or comparison.having(REFUSED))
    return EXIT_FAILED if failed else EXIT_OK


def as_json(comparison: Comparison) -> str:
    """Return a comparison as JSON; a ratio that there is none of is null."""
    content = asdict(comparison)
    for change in content["changes"]:
        change.update({k: None for k in ("ratio", "low", "high", "floor") if change[k] != change[k]})
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
