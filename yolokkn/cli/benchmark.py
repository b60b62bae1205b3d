"""`yolokkn benchmark`: the suites; `compare` and `report` have files of their own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import tracking
from yolokkn.benchmark.results import BenchmarkRun, CaseResult, shown_ms, table
from yolokkn.benchmark.suites import SUITES, Request, run_suites
from yolokkn.cli import benchmark_compare, benchmark_report
from yolokkn.cli.arguments import EXIT_CODES, EXIT_FAILED, EXIT_OK, Parser, flag, milliseconds, run_verb, words
from yolokkn.cli.model_options import add_model_options, read_anchors, read_names
from yolokkn.cli.places import files_read
from yolokkn.errors import MissingDependencyError, did_you_mean, printable
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.runtime.backend_choice import forget_choices
from yolokkn.runtime.sources.demo import demo_clip

ALL = "all"
OTHERS = {"compare": benchmark_compare, "report": benchmark_report}
EXAMPLES = """suites:
  kernels      every kernel on one core, held against its NumPy twin
  trackers     one update of each tracker by the number of objects, on one core, held against its slow twin
  backends     the model on every backend: single runs, and as many at once as there are threads
  pipeline     the network alone, one frame after the other with its stages, and the whole run as `track` does it
  startup      from a cold process to the import, and to the first detections
  all          all of them (default): under five minutes, with --quick well under one

examples:
  yolokkn benchmark --quick
  yolokkn benchmark pipeline --model yolov8n.onnx --source street.mp4 --budget 33ms
  yolokkn benchmark kernels --save before.json
  yolokkn benchmark compare before.json after.json --fail-on slower
  yolokkn benchmark report *.json --save report.html

Cases take turns in random order in many short rounds; single calls are timed, and quantiles of them are said. A case whose
output differs from the slow reference's is refused: it gets no figure, and the exit code is 1. `spread` is the
distance of the quartiles, of the median.

"""


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    if argv and argv[0] in OTHERS:
        return OTHERS[argv[0]].main(argv[1:])
    parser = Parser(
        prog="yolokkn benchmark",
        description="Measure kernels, trackers, backends, the whole pipeline and the start, or `compare` two saved runs, or "
        "draw a `report` of some (yolokkn benchmark compare --help, report --help).",
        epilog=EXAMPLES + EXIT_CODES.replace("standard error says which", "an output is wrong; or a budget is passed"),
    )
    parser.add_argument("suite", nargs="?", default=ALL, metavar="SUITE", help=f"{', '.join(SUITES)} or all (default)")
    _add_options(parser)
    add_model_options(parser, conf=None, precision=False)
    parser.change(
        "backend",
        default=None,
        help="such as openvino; of `backends` a list, by default all there are; the others run its first, or onnxruntime",
    )
    parser.intermixed = True
    args = parser.parse(argv)
    names = (*SUITES, ALL, *OTHERS)
    if args.suite not in names:
        parser.error(f"no suite {args.suite!r}{did_you_mean(args.suite, names)}; there are {', '.join(names)}")
    return run_verb("yolokkn benchmark", run, args)


def _add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measurement")
    group.add_argument("--source", metavar="PATH", help="a video or pictures; default: the demo clip, or drawn scenes")
    group.add_argument(
        "--int8", metavar="FILE", help="backends: the model in int8 too, as `yolokkn quantize` writes it"
    )
    group.add_argument(
        "--tracker", choices=tuple(tracking.TRACKERS), default="kkn", metavar="NAME", help="pipeline: kkn ..."
    )
    group.add_argument("--case", default="", metavar="TEXT", help="only cases whose name holds this text")
    _add_flag(group, "--quick", "a few seconds a suite: enough to see what is slow, not to see small changes")
    group.add_argument("--save", metavar="FILE.json", help="keep every sample, with machine, versions and load")
    group.add_argument(
        "--budget",
        type=milliseconds,
        metavar="33ms",
        help="fail where the p99 of a case is above it; with all: of pipeline",
    )
    _add_flag(group, "--forget", "forget which backends `--backend auto` chose, and do nothing else")
    _add_flag(group, "--overwrite", "replace an existing file")
    _add_flag(group, "--quiet", "print the tables only")


def _add_flag(group: Any, name: str, text: str) -> None:
    group.add_argument(name, type=flag, nargs="?", const=True, default=False, metavar="BOOL", help=text)


def run(args: argparse.Namespace) -> int:
    """Measure, print, save, and judge."""
    if args.forget:
        print(f"forgot {forget_choices()} choices of --backend auto")
        return EXIT_OK
    if args.save:
        if Path(args.save).suffix.lower() != ".json":
            raise ValueError(f"--save must be a .json file, got {args.save}")
        refuse_existing(Path(args.save), args.overwrite, files_read(args))
    if args.trust_engine or args.device not in (None, "cpu"):
        raise ValueError("benchmark: the suites run model files on the CPU")
    names = SUITES if args.suite == ALL else (args.suite,)
    request = Request(
        model=args.model,
        source=args.source if args.source is not None else default_source(),
        int8=args.int8,
        backends=None if args.backend is None else words(args.backend),
        threads=args.threads,
        tracker=args.tracker,
        quick=args.quick,
        only=args.case,
        options=_options(args),
    )
    say = _quiet if args.quiet else _say
    measured = run_suites(names, request, say)
    print(printable(describe(measured)))
    for suite in measured.suites:
        print(printable(f"\n{suite}\n{table(measured.of(suite))}"))
        print(printable("".join(_ledger(result) for result in measured.of(suite))), end="")
    if args.save:
        write_atomically(Path(args.save), measured.to_json())
        say(f"saved {args.save}")
    return judge(measured, args.budget, "pipeline" if args.suite == ALL else args.suite)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    found = {
        "layout": args.layout, "imgsz": args.imgsz, "names": read_names(args.names),
        "anchors": read_anchors(args.anchors), "letterbox": args.letterbox, "rect": args.rect or None,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


def _say(text: str) -> None:
    print(printable(f"yolokkn benchmark: {text}"), file=sys.stderr)


def _quiet(text: str) -> None:
    return None


def describe(measured: BenchmarkRun) -> str:
    """Return where the figures come from, for people."""
    machine, load, settings = measured.machine, measured.load, measured.settings
    cores = "; ".join(f"{name} on core {', '.join(map(str, row))}" for name, row in settings["cores"].items())
    others = "not told" if load["others"] is None else f"{load['others']:.0%} of the cores by others"
    kind = ", virtual" if machine["is_virtual"] else ""
    lines = [
        f"machine   {machine['cpu']}, {machine['cores']} cores{kind}, {machine['instruction_set']} kernels",
        f"yolokkn   {machine['yolokkn']} {machine['commit'] or '(no repository)'}, {settings['threads']} threads for networks",
        f"cores     {cores}",
        f"load      {others}; average {load['average'][0]}",
    ]
    if "model" in settings:
        lines.append(f"model     {settings['model']['name']} on {settings['source']}")
    if load["others"] is not None and load["others"] > 0.25:
        lines.append("          a busy machine: believe ratios within this run, and little else")
    return "\n".join(lines)


def _ledger(result: CaseResult) -> str:
    """Return a line of a case's stages, where it tells them."""
    if not result.stages_ms:
        return ""
    parts = ", ".join(f"{stage} {shown_ms(p50)}" for stage, (p50, _, _) in result.stages_ms.items())
    return f"  stages of {result.name!r}, p50: {parts}\n"


def judge(measured: BenchmarkRun, budget_ms: float | None, suite: str) -> int:
    """Return the exit code: 1 where an output was refused or the budget passed; says which."""
    failed = False
    for result in measured.results:
        if result.refused:
            failed = True
            _say(f"{result.suite}: {result.name}: refused, its output differs from the reference: {result.refused}")
    judged = [result for result in measured.of(suite) if result.is_measured]
    if budget_ms is not None:
        if not judged:
            _say(f"{suite}: nothing was measured that the budget could be held against")
            return EXIT_FAILED
        for result in judged:
            if result.p99 > budget_ms:
                failed = True
                _say(f"{result.name}: p99 {shown_ms(result.p99)} ms is above the budget of {budget_ms:g} ms")
    return EXIT_FAILED if failed else EXIT_OK


def default_source() -> Any:
    """Return what is looked at where nothing is given: the demo clip where its package is installed, else drawn scenes."""
    try:
        return str(demo_clip("demo"))
    except MissingDependencyError:
        from yolokkn.data.toy_scene import ToyScene, draw_scene

        scene = ToyScene((480, 640), persons=True, max_objects=8)
        return np.stack([draw_scene(0, index, scene).image for index in range(24)])
