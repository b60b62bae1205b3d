"""`yolokkn evaluate mot`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb
from yolokkn.evaluation.mot import RULES, evaluate_mot
from yolokkn.files import refuse_existing, write_atomically

EXAMPLES = """examples:
  yolokkn evaluate mot --gt MOT17/train --results results/
  yolokkn evaluate mot --gt MOT17-09/gt/gt.txt --results MOT17-09.txt --json figures.json --plot hota.png
  yolokkn evaluate mot --gt dancetrack/val --results results/ --rules dancetrack

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
        "--results",
        metavar="DIR",
        required=True,
        help="folder of SEQUENCE.txt, or with a folder data of them; or one file",
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
    return run_verb("yolokkn evaluate", run, parser.parse(argv))


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write what was asked for."""
    for path in filter(None, (args.json, args.plot)):
        refuse_existing(Path(path), args.overwrite)
    metrics = evaluate_mot(args.gt, args.results, rules=args.rules)
    print(metrics.table())
    if args.json:
        write_atomically(Path(args.json), json.dumps(metrics.to_dict(), indent=2) + "\n")
    if args.plot:
        from yolokkn.evaluation.mot_plots import plot_hota

        rows = metrics.sequences if len(metrics.sequences) == 1 else {**metrics.sequences, "COMBINED": metrics.combined}
        plot_hota(rows, Path(args.plot))
    return EXIT_OK
