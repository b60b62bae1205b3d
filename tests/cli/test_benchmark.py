"""`yolokkn benchmark` as people and their CI meet it."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tests.benchmark.runs import drawn, run_of, yardstick
from yolokkn import ops
from yolokkn.benchmark import Plan, suites
from yolokkn.benchmark.results import read_run
from yolokkn.cli import main
from yolokkn.cli.arguments import milliseconds


@pytest.fixture(autouse=True)
def briefly(monkeypatch):
    """Suites take a moment instead of seconds."""
    plan = Plan(0.2, min_rounds=3, max_rounds=8)
    monkeypatch.setattr(suites, "_PLANS", dict.fromkeys(suites.SUITES, (plan, plan)))


def run(*argv):
    return main(["benchmark", *(str(a) for a in argv)])


def test_a_suite_is_measured_printed_and_kept(tmp_path, capsys):
    saved = tmp_path / "a.json"
    assert run("trackers", "--quick", "--case", "kkn, 10 objects", "--save", saved) == 0
    said = capsys.readouterr()
    assert re.search(r"^kkn, 10 objects +0\.0\d+ +0\.0\d+ +\d\.\d+ +\d+\.\d% +\d+$", said.out, re.MULTILINE)
    for word in ("machine   ", "yolokkn   ", "cores     trackers on core ", "load      ", "p50", "p99", "spread"):
        assert word in said.out, word
    assert "mean" not in said.out and "yardstick" not in said.out
    found = read_run(saved)
    assert [r.name for r in found.of("trackers")] == ["kkn, 10 objects"] and found.machine["cpu"]
    assert run("trackers", "--quick", "--case", "kkn, 10 objects", "--save", saved) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_budget_fails_the_run_and_says_by_how_much(capsys):
    ask = ("trackers", "quick=true", "case=sort, 10 objects", "--quiet")
    assert run(*ask, "--budget", "1s") == 0
    assert run(*ask, "--budget", "0.1us") == 1
    said = capsys.readouterr().err
    assert re.search(r"sort, 10 objects: p99 \d\.\d+ ms is above the budget of 0\.0001 ms", said)


def test_a_wrong_kernel_has_no_figure_and_fails_the_run(capsys, monkeypatch):
    right = ops.pairwise_iou
    monkeypatch.setattr(ops, "pairwise_iou", lambda a, b: right(a, b) * np.float32(1.001))
    assert run("kernels", "--quick", "--case", "pairwise_iou") == 1
    said = capsys.readouterr()
    assert (
        "pairwise_iou, 100 x 100" in said.out
        and "REFUSED, its output differs from the reference: input 0: " in said.out
    )
    assert "kernels: pairwise_iou, 100 x 100: refused" in said.err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["kernel"], "no suite 'kernel'; did you mean kernels?; there are kernels, trackers"),
        (["pipeline", "--budget", "soon"], "must be a time above 0, as 33ms, 0.5s or 200us, got 'soon'"),
        (["pipeline", "--model", "nothing.onnx"], "model: no such file: nothing.onnx"),
        (["pipeline", "--model", "a.safetensors"], "is a checkpoint; measure what runs: yolokkn export"),
        (["kernels", "--case", "no such case"], "only must be part of a case's name, got 'no such case'"),
        (["trackers", "--savee", "a"], "unknown option '--savee'; did you mean --save?"),
        (["pipeline", "--threads", "9999"], "the cores there are, got 9999"),
        (["backends", "--device", "cuda"], "the suites run model files on the CPU"),
    ],
)
def test_wrong_requests_are_one_line(argv, said, capsys):
    assert run(*argv, "--quick") in (1, 2)
    err = capsys.readouterr().err
    assert said in err and "Traceback" not in err


def test_times_are_read_as_people_write_them():
    assert [milliseconds(t) for t in ("33", "33ms", "1.5 s", "200us", ".5")] == [33, 33, 1500, 0.2, 0.5]


@pytest.fixture
def files(tmp_path):
    for name, median, seed in (("a", 1.0, 1), ("same", 1.0, 2), ("slow", 1.5, 3)):
        run = run_of(drawn(median=median, seed=seed), yardstick(seed=seed + 10))
        (tmp_path / f"{name}.json").write_text(run.to_json())
    return tmp_path


def test_compare_says_slower_faster_or_no_difference(files, capsys):
    assert run("compare", files / "a.json", files / "same.json") == 0
    out = capsys.readouterr().out
    assert re.search(
        r"^nms +(0\.9|1\.0)\d +0\.\d+ to 1\.\d+ +no difference \(the interval holds 1\)$", out, re.MULTILINE
    )
    assert out.endswith("0 slower, 1 no difference\n")
    assert run("compare", files / "a.json", files / "slow.json", "--json", files / "c.json") == 1
    assert re.search(r"^nms +1\.[45]\d +1\.\d\d to 1\.\d\d +slower$", capsys.readouterr().out, re.MULTILINE)
    (change,) = json.loads((files / "c.json").read_text())["changes"]
    assert change["verdict"] == "slower" and 1.3 < change["low"] < change["ratio"] < change["high"] < 1.7
    assert run("compare", files / "a.json", files / "slow.json", "--fail-on", "nothing") == 0
    assert run("compare", files / "slow.json", files / "a.json") == 0
    assert "1 faster" in capsys.readouterr().out


def test_compare_refuses_what_it_cannot_compare(files, capsys):
    (files / "other.json").write_text(run_of(drawn("another")).to_json())
    assert run("compare", files / "a.json", files / "other.json") == 1
    assert "no case in common that was measured in both" in capsys.readouterr().err
    (files / "text.json").write_text("{}")
    assert run("compare", files / "a.json", files / "text.json") == 1
    assert "must be a file of `yolokkn benchmark --save`" in capsys.readouterr().err
    assert run("compare", files / "a.json", files / "none.json") == 1
    assert run("compare", files / "a.json") == 2
    before = (files / "a.json").read_bytes()
    assert run("compare", files / "a.json", files / "same.json", "--json", files / "a.json", "--overwrite") == 1
    assert "is what is read, which is never replaced" in capsys.readouterr().err
    assert (files / "a.json").read_bytes() == before
    assert run("trackers", "--save", files / "model.onnx", "--overwrite") == 2


def test_a_report_is_one_page_without_network_or_scripts(files, capsys):
    page = files / "r.html"
    assert run("report", files / "a.json", files / "slow.json", "--save", page, "--title", "ours & <theirs>") == 0
    text = page.read_text()
    assert "<h1>ours &amp; &lt;theirs&gt;</h1>" in text
    assert not re.search(r"<script|<link|<img|src=|url\(|https?:", text)
    assert run("report", files / "a.json", "--save", page) == 1
    assert run("report", files / "a.json", "--save", files / "r.txt") == 2
    assert "--save must be an .html file" in capsys.readouterr().err
    assert run("report", "--save", files / "b.html") == 2
