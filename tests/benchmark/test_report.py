"""The page: what it shows, and that nothing from a file becomes markup."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from tests.benchmark.runs import drawn, run_of, yardstick
from yolokkn.benchmark.report import report_page
from yolokkn.benchmark.report_plots import Axis, Series, lines, ranges, ratios, scatter, stacked_bars
from yolokkn.benchmark.results import CaseResult


def everything():
    stages = {"decode": (1.0, 2.0, 3.0), "inference": (20.0, 30.0, 40.0), "track": (0.03, 0.1, 0.2)}
    frames = replace(drawn("one frame after the other", 22.0, suite="pipeline"), stages_ms=stages)
    peers = [
        drawn("decode, yolokkn", 1.0, suite="peers", case="v8 dense", by="yolokkn"),
        drawn("decode, numpy", 4.0, suite="peers", case="v8 dense", by="numpy+powerboxes"),
        drawn("decode, cv2", 9.0, suite="peers", case="v8 dense", by="numpy+cv2"),
        CaseResult("decode, broken", "peers", 1, {"case": "v8 dense", "by": "broken"}, refused="0.3 of the scores"),
    ]
    crowds = [
        drawn(
            f"kkn, {n}",
            0.001 * n,
            suite="trackers",
            tracker="kkn",
            objects=n,
            accuracy={"name": "HOTA", "value": n / 1e3},
        )
        for n in (10, 100, 1000)
    ]
    backends = [
        drawn("onnxruntime, single runs", 20.0, suite="backends", backend="onnxruntime", mode="single runs"),
        drawn("openvino, single runs", 10.0, suite="backends", backend="openvino", mode="single runs"),
    ]
    absent = CaseResult("tensorrt", "backends", 1, missing="no GPU")
    results = [frames, *peers, *crowds, *backends, absent, yardstick()]
    return run_of(*results, model={"name": "small.onnx", "sha256": "0"}, source="street.mp4")


def parsed(page):
    """The page's elements: it is well-formed but for the doctype and the void tags."""
    body = page[page.index("<body>") : page.index("</body>") + 7]
    return ElementTree.fromstring(body)


def test_every_section_is_there_where_there_is_something_to_show():
    page = report_page([("today", everything())])
    root = parsed(page)
    headings = [h.text for h in root.iter("h2")]
    assert headings == [
        "Runs", "Latency ledger", "Beside the best peer", "Time against objects", "Backends", "Speed against accuracy",
        "All figures",
    ]  # fmt: skip
    said = "".join(root.itertext())
    assert "4x numpy+powerboxes" in said.replace("4.01x", "4x").replace("3.99x", "4x")
    assert "broken: refused: 0.3 of the scores" in said and "tensorrt: not measured: no GPU" in said
    assert "2x" in said and "small.onnx" in said and "23.0" not in said.split("Latency ledger")[0]
    assert len(list(root.iter("svg"))) > 10


def test_few_results_give_a_short_page():
    root = parsed(report_page([("today", run_of(drawn()))]))
    assert [h.text for h in root.iter("h2")] == ["Runs", "All figures"]
    with pytest.raises(ValueError, match="runs must hold one at least"):
        report_page([])


def test_names_from_files_stay_text():
    evil = '"><script>alert(1)</script>\x1b[31m'
    run = run_of(
        drawn(evil, suite=evil, objects=10, tracker=evil),
        drawn(evil + "2", suite=evil, objects=20, tracker=evil),
        replace(drawn(evil + "3", by="yolokkn", case=evil), stages_ms={evil: (1.0, 1.0, 1.0)}),
        drawn(evil + "4", by=evil, case=evil, backend=evil),
        CaseResult(evil, "backends", 1, refused=evil),
        model={"name": evil},
    )
    run = replace(run, machine={"cpu": evil, "cores": evil}, created=evil)
    page = report_page([(evil, run)], evil)
    assert "<script" not in page and "\x1b" not in page
    assert parsed(page) is not None


def test_several_runs_are_told_apart():
    page = report_page([("before", everything()), ("after", everything())])
    said = "".join(parsed(page).itertext())
    assert "openvino, single runs (before)" in said and "openvino, single runs (after)" in said


def test_an_axis_places_round_values():
    axis = Axis.around([1.0, 100.0], room=1.0)
    assert [round(axis.place(v)) for v in (0.5, 1.0, 10.0, 100.0, 1e9)] == [0, 0, 50, 100, 100]
    assert axis.ticks() == [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    assert Axis.around([3.0]).high / Axis.around([3.0]).low == pytest.approx(2.0)
    assert Axis.around([1e-5, 1e5]).ticks(8)[:2] == [1e-5, 1e-4] or len(Axis.around([1e-5, 1e5]).ticks(8)) <= 12


def test_plots_place_what_they_are_given():
    bars = ElementTree.fromstring(f"<b>{stacked_bars([('x', [1.0, 3.0]), ('y', [2.0, 0.0])], 'ms', 't')}</b>")
    widths = [float(r.get("width")[:-1]) for r in bars.iter("rect")]
    assert widths == pytest.approx([25, 75, 50, 0])
    found = ElementTree.fromstring(f"<b>{ratios([('a', 2.0, 1.5, 3.0, 'two'), ('b', 0.5, 0.4, 0.6, 'half')], 't')}</b>")
    kinds = [c.get("class") for c in found.iter("circle")]
    assert kinds == ["better", "worse"]
    places = [float(c.get("cx")[:-1]) for c in found.iter("circle")]
    one = next(float(line.get("x1")[:-1]) for line in found.iter("line") if line.get("class") == "one")
    assert places[0] > one > places[1]
    drawn_lines = lines(
        [Series("a", [(1, 1, 1, 1), (10, 10, 9, 11)], 0), Series("b", [(1, 5, 5, 5)], 1, False)], "x", "y", "t"
    )
    assert len(list(ElementTree.fromstring(drawn_lines).iter("circle"))) == 3
    assert ElementTree.fromstring(scatter([("a", 1.0, 0.5, True), ("b", 2.0, 0.5, False)], "x", "y", "t")) is not None
    assert "1 to 2 ms" in ranges([("a", 1.0, 2.0)], "ms", "t")


def test_sections_can_be_chosen():
    page = report_page([("a", everything())], "chosen", ["objects", "peers"])
    assert page.index("Time against objects") < page.index("Beside the best peer")
    assert "All figures" not in page and "Latency ledger" not in page and "<h2>Runs</h2>" not in page
    with pytest.raises(ValueError, match="sections must be of runs, ledger, peers"):
        report_page([("a", everything())], "chosen", ["no such"])
    with pytest.raises(ValueError, match="nothing for objects"):
        report_page([("a", run_of(yardstick()))], "chosen", ["objects"])
