"""Saved runs as one page: no network, no scripts, tables and plots, on desktop and phone, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from yolokkn.benchmark.report_plots import escape, ranges
from yolokkn.benchmark.report_sections import (
    Named,
    accuracy,
    backends,
    details,
    ledger,
    objects,
    peers,
    section,
    table,
    told_apart,
)
from yolokkn.benchmark.report_style import STYLE
from yolokkn.benchmark.results import CaseResult, shown_ms
from yolokkn.benchmark.yardsticks import SUITE as YARDSTICK

_MOST_ROWS = 60
_HEAD = ("p50", "p95", "p99", "spread", "calls")


def report_page(runs: Named, title: str = "yolokkn: measured", sections: Sequence[str] | None = None) -> str:
    """Return the page of some runs.

    Args:
        runs: Name of the file and run.
        title: Of the page.
        sections: Of `SECTIONS`, in this order; None: all, those that have nothing to show left out.

    Raises:
        ValueError: There are no runs, no such section, or nothing for the sections to show.
    """
    if not runs:
        raise ValueError("report_page: runs must hold one at least, got none")
    wrong = next((name for name in sections or () if name not in SECTIONS), None)
    if wrong is not None:
        raise ValueError(f"report_page: sections must be of {', '.join(SECTIONS)}, got {wrong!r}")
    body = "".join(SECTIONS[name](runs) for name in sections or SECTIONS)
    if not body:
        raise ValueError(f"report_page: these runs have nothing for {', '.join(sections or SECTIONS)}")
    head = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<style>{STYLE}</style>\n</head>\n"
    )
    intro = (
        "<p>Single calls are timed, cases take turns in random order in many short rounds, and what gives another output than "
        "the slow reference is refused. Times are quantiles in milliseconds: half of the calls took no longer than p50, 99 of "
        "100 no longer than p99. Only cases of one run compare directly.</p>"
    )
    return f"{head}<body>\n<main>\n<h1>{escape(title)}</h1>\n{'' if sections else intro}\n{body}</main>\n</body>\n</html>\n"


def _machines(runs: Named) -> str:
    rows = []
    for name, run in runs:
        machine, load = run.machine, run.load
        others = load.get("others")
        rows.append([
            name, run.created.replace("T", " ").removesuffix("+00:00"), str(machine.get("commit") or machine.get("yolokkn", "")),
            f"{machine.get('cpu', '')}, {machine.get('cores', '')} cores" + (", virtual" if machine.get("is_virtual") else ""),
            str(machine.get("instruction_set", "")), str(run.settings.get("threads", 1)),
            "not told" if others is None else f"{others:.0%}", "quick" if run.settings.get("quick") else "thorough",
        ])  # fmt: skip
    head = ["run", "begun (UTC)", "commit", "machine", "kernels", "threads", "cores used by others", "kind"]
    text = "What was measured where. Where others used much of the cores, believe the ratios within a run rather than its times."
    return section("Runs", text, f'<div class="first">{table(head, rows, numbers_from=9)}</div>')


def _tables(runs: Named) -> str:
    found = [(name, run, suite) for name, run in runs for suite in run.suites]
    parts = []
    for label, (_, run, suite) in zip(told_apart([(name, suite) for name, _, suite in found]), found, strict=True):
        results = run.of(suite)[:_MOST_ROWS]
        marks = [(r.name, r.p50, r.p99) for r in results if r.is_measured]
        plot = ranges(marks, "ms", f"{suite}, from p50 to p99") if marks else ""
        parts.append(details(label, plot + table(["case", *_HEAD], [_row(r) for r in results])))
    yards = [(name, run) for name, run in runs if run.of(YARDSTICK)]
    for label, (_, run) in zip(
        told_apart([(name, "yardsticks: how fast the machine was") for name, _ in yards]), yards, strict=True
    ):
        parts.append(details(label, table(["yardstick", *_HEAD], [_row(r) for r in run.of(YARDSTICK)])))
    text = (
        "Every case, in milliseconds: the mark is p50, the stroke reaches to p99. Spread is the distance of the quartiles, of "
        "the median."
    )
    return section("All figures", text, "".join(parts))


SECTIONS: dict[str, Callable[[Named], str]] = {
    "runs": _machines,
    "ledger": ledger,
    "peers": peers,
    "objects": objects,
    "backends": backends,
    "accuracy": accuracy,
    "tables": _tables,
}


def _row(result: CaseResult) -> list[str]:
    if not result.is_measured:
        why = f"refused: {result.refused}" if result.refused else f"not measured: {result.missing}"
        return [f"{result.name}: {why}", "", "", "", "", ""]
    quantiles = [shown_ms(v) for v in (result.p50, result.p95, result.p99)]
    return [result.name, *quantiles, f"{result.spread:.1%}", str(len(result.samples_ms))]
