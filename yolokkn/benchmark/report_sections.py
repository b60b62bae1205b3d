"""The sections of a report: what the results of some runs show, each as a plot and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yolokkn.benchmark.compare import times_as_fast
from yolokkn.benchmark.report_plots import (
    Series,
    escape,
    legend,
    line_legend,
    lines,
    number,
    ratios,
    scatter,
    stacked_bars,
)
from yolokkn.benchmark.results import BenchmarkRun, CaseResult, shown_ms
from yolokkn.benchmark.yardsticks import SUITE as YARDSTICK

OWN = "yolokkn"
STAGES = ("decode", "preprocess", "inference", "postprocess", "track")
Named = Sequence[tuple[str, BenchmarkRun]]


def section(heading: str, text: str, content: str) -> str:
    """Return a section of the page; heading and text are plain, the content is markup."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n<p>{escape(text)}</p>\n{content}\n</section>\n"


def details(summary: str, content: str) -> str:
    """Return what is opened by a click."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1) -> str:
    """Return a table; cells are text, those from a column on are figures."""

    def cells(row: Sequence[str], tag: str) -> str:
        kinds = ("" if i < numbers_from else ' class="n"' for i in range(len(row)))
        found = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, row, strict=True))
        return f"<tr>{''.join(found)}</tr>"

    body = "".join(cells(row, "td") for row in rows)
    return f'<div class="scroll"><table><thead>{cells(head, "th")}</thead><tbody>{body}</tbody></table></div>'


def told_apart(found: Sequence[tuple[str, str]]) -> list[str]:
    """Return the labels of (run, label) pairs, with the run's name where several runs have the same label.

    Example:
        >>> told_apart([("a", "nms"), ("b", "nms"), ("b", "masks")])
        ['nms (a)', 'nms (b)', 'masks']
    """
    runs: dict[str, set[str]] = {}
    for run, label in found:
        runs.setdefault(label, set()).add(run)
    return [f"{label} ({run})" if len(runs[label]) > 1 else label for run, label in found]


def measured(runs: Named) -> list[tuple[str, BenchmarkRun, CaseResult]]:
    """Return every result that has samples, but the yardsticks', with its run."""
    return [(n, run, r) for n, run in runs for r in run.results if r.is_measured and r.suite != YARDSTICK]


def ledger(runs: Named) -> str:
    """Return where the milliseconds of a frame go."""
    found = [one for one in measured(runs) if one[2].stages_ms]
    if not found:
        return ""
    seen = list(dict.fromkeys(stage for _, _, r in found for stage in r.stages_ms))
    stages = [s for s in STAGES if s in seen] + [s for s in seen if s not in STAGES]
    labels = told_apart([(name, r.name + _model(run)) for name, run, r in found])
    bars, rows = [], []
    for label, (_, _, result) in zip(labels, found, strict=True):
        bars.append((label, [result.stages_ms.get(stage, (0.0,))[0] for stage in stages]))
        here = [stage for stage in stages if stage in result.stages_ms]
        rows += [[label, stage, *(shown_ms(v) for v in result.stages_ms[stage])] for stage in here]
    plot = stacked_bars(bars, "ms", "median milliseconds of each stage of a frame")
    figures = details("Figures", table(["case", "stage", "p50", "p95", "p99"], rows, 2))
    text = "Where the milliseconds of a frame go: the median of each stage, one frame after the other."
    return section("Latency ledger", text, legend(stages) + plot + figures)


def _model(run: BenchmarkRun) -> str:
    model = run.settings.get("model")
    return f", {model['name']}" if isinstance(model, Mapping) and model.get("name") else ""


def peers(runs: Named) -> str:
    """Return how many times as fast ours is as the best peer of each case."""
    groups: dict[tuple[str, str, str], list[CaseResult]] = {}
    for name, _, result in measured(runs):
        if "by" in result.facts and "case" in result.facts:
            groups.setdefault((name, result.suite, str(result.facts["case"])), []).append(result)
    found = [(key, row) for key, results in groups.items() if (row := best_peer(results)) is not None]
    if not found:
        return ""
    labels = told_apart([(name, _with_stage(suite, case)) for (name, suite, case), _ in found])
    rows = [(label, *row) for label, (_, row) in zip(labels, found, strict=True)]
    text = (
        "How many times as fast as the best peer that gives the same output, in the same run, with the interval of 99% of the "
        "ratio of medians. Right of 1x yolokkn is faster."
    )
    return section("Beside the best peer", text, ratios(rows, "ratio to the best peer of each stage"))


def _with_stage(suite: str, case: str) -> str:
    stage = suite.removeprefix("peers: ")
    return case if case.startswith(stage) else f"{stage}: {case}"


def best_peer(results: Sequence[CaseResult]) -> tuple[float, float, float, str] | None:
    """Return the ratio of the best peer's time to ours, its interval, and the figure in words; None without both."""
    own = [r for r in results if is_own(r)]
    others = [r for r in results if not is_own(r)]
    if not own or not others:
        return None
    best = min(others, key=lambda r: r.p50)
    ratio, low, high = times_as_fast(own[0], best)
    return ratio, low, high, f"{number(ratio)}x {best.facts['by']}"


def is_own(result: CaseResult) -> bool:
    """Tell ours from peers: "yolokkn", or "yolokkn, WAY"; what names nobody is ours."""
    return str(result.facts.get("by", OWN)).partition(",")[0] == OWN


def objects(runs: Named) -> str:
    """Return the time of an update against the number of objects."""
    found = [(name, r) for name, _, r in measured(runs) if _is_count(r.facts.get("objects"))]
    names = [str(r.facts.get("by", r.facts.get("tracker", r.name))).removeprefix(f"{OWN}, ") for _, r in found]
    labels = told_apart([(run, name) for (run, _), name in zip(found, names, strict=True)])
    points: dict[tuple[bool, str], list[tuple[float, float, float, float]]] = {}
    for label, (_, r) in zip(labels, found, strict=True):
        point = (float(r.facts["objects"]), r.p50, r.quantile(0.25), r.quantile(0.75))
        points.setdefault((not is_own(r), label), []).append(point)
    kept = sorted((key, sorted(row)) for key, row in points.items() if len(row) > 1)
    if not kept:
        return ""
    series = [Series(label, row, index, not is_peer) for index, ((is_peer, label), row) in enumerate(kept)]
    drawn = lines(series, "objects", "ms an update", "time of a tracker update by objects")
    text = "One update of a tracker on walking crowds, median; the strokes reach from the first to the third quartile."
    return section("Time against objects", text, f'{line_legend(series)}<div class="framed">{drawn}</div>')


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


def backends(runs: Named) -> str:
    """Return the same network on each backend."""
    found = [(name, r) for name, _, r in measured(runs) if r.suite == "backends" and r.facts.get("backend")]
    if not found:
        return ""
    labels = told_apart([(name, r.name) for name, r in found])
    rows = []
    for label, (name, result) in zip(labels, found, strict=True):
        same_mode = (r for run, r in found if run == name and r.facts.get("mode") == result.facts.get("mode"))
        first = next((r for r in same_mode if r.facts.get("backend") == "onnxruntime"), None)
        if first is not None and first is not result:
            ratio, low, high = times_as_fast(result, first)
            rows.append((label, ratio, low, high, f"{number(ratio)}x"))
    cells = [
        [label, *(shown_ms(v) for v in (r.p50, r.p95, r.p99))] for label, (_, r) in zip(labels, found, strict=True)
    ]
    text = (
        "The same network on the backends that are there, outputs held against ONNX Runtime without optimisations: how many "
        "times as fast as ONNX Runtime in the same mode, and milliseconds a picture."
    )
    plot = ratios(rows, "speed of backends against ONNX Runtime") if rows else ""
    return section("Backends", text, plot + table(["case", "p50", "p95", "p99"], cells))


def accuracy(runs: Named) -> str:
    """Return speed against accuracy, a plot for each figure that the results tell."""
    found: dict[str, list[tuple[str, CaseResult, float]]] = {}
    for name, _, result in measured(runs):
        told = result.facts.get("accuracy")
        if isinstance(told, Mapping) and isinstance(told.get("value"), (int, float)):
            found.setdefault(str(told.get("name", "accuracy")), []).append((name, result, float(told["value"])))
    plots = []
    for figure, rows in found.items():
        labels = told_apart([(name, str(r.facts.get("label", r.name)).removeprefix(f"{OWN}, ")) for name, r, _ in rows])
        points = [(label, r.p50, value, is_own(r)) for label, (_, r, value) in zip(labels, rows, strict=True)]
        plots.append(f'<div class="framed">{scatter(points, "ms", figure, f"speed against {figure}")}</div>')
    if not plots:
        return ""
    return section("Speed against accuracy", "Up and to the left is better; hollow points are peers.", "".join(plots))
