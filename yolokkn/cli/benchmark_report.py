"""`yolokkn benchmark report`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from yolokkn.benchmark.report import SECTIONS, report_page
from yolokkn.benchmark.results import read_run
from yolokkn.cli.arguments import EXIT_CODES, EXIT_OK, Parser, flag, run_verb, words
from yolokkn.files import refuse_existing, write_atomically

EXAMPLES = """examples:
  yolokkn benchmark all --save today.json
  yolokkn benchmark report today.json --save report.html
  yolokkn benchmark report results/*.json --save report.html --title "our cameras"

The page needs no network and no scripts.

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    parser = Parser(
        prog="yolokkn benchmark report",
        description="Write saved runs as one HTML page with tables and plots.",
        epilog=EXAMPLES + EXIT_CODES,
    )
    parser.add_argument("runs", nargs="+", metavar="FILE.json", help="what `yolokkn benchmark --save` kept")
    parser.add_argument("--save", metavar="FILE.html", required=True, help="where the page goes")
    parser.add_argument("--title", default="yolokkn: measured", metavar="TEXT", help="of the page")
    parser.add_argument(
        "--sections", type=words, metavar="A,B", help=f"of {', '.join(SECTIONS)}, in this order (default all)"
    )
    parser.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace an existing file"
    )
    parser.intermixed = True
    return run_verb("yolokkn benchmark report", run, parser.parse(argv))


def run(args: argparse.Namespace) -> int:
    """Read the runs and write the page."""
    target = Path(args.save)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--save must be an .html file, got {args.save}")
    refuse_existing(target, args.overwrite, args.runs)
    runs = [(Path(path).stem, read_run(path)) for path in args.runs]
    write_atomically(target, report_page(runs, args.title, args.sections))
    print(f"saved {target}: {sum(len(run.results) for _, run in runs)} cases of {len(runs)} runs")
    return EXIT_OK
