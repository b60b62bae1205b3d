"""Peers in processes of their own: held against the reference, timed, and left out with a reason where they cannot."""

from __future__ import annotations

import ast
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yolokkn.benchmark import Plan, Unsuitable, measure

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks" / "peers").is_dir():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)

from benchmarks import stages  # noqa: E402
from benchmarks.peers import process, setup  # noqa: E402
from benchmarks.peers.process import PeerProcess, Peers, adapters  # noqa: E402

SMALL = Plan(budget_s=0.05, min_rounds=2, max_rounds=3)


@pytest.fixture
def here(monkeypatch):
    """Every environment is this one: OpenCV is in it."""
    monkeypatch.setattr(process, "python_of", lambda name: Path(sys.executable))


def pose():
    return next(case for case in stages.decode_cases() if case.name == "pose 56x8400, 15 people")


def test_a_peer_is_checked_and_timed_beside_ours(here):
    with Peers() as peers:
        ours, peer = measure(peers.cases(pose(), ["opencv"]), SMALL)
        assert ours.facts["by"] == "yolokkn" and peer.facts["by"] == "opencv"
        assert ours.is_measured and peer.is_measured, peer.refused or peer.missing
        assert ours.facts["case"] == peer.facts["case"] == "pose 56x8400, 15 people"
        with_other = replace(pose(), wanted=[{"scores": np.linspace(0.3, 0.4, 20)}])
        found = measure(peers.cases(with_other, ["opencv"]), SMALL)[1]
        assert "0% of the reference's 20 scores" in found.refused and not found.is_measured


def test_a_wrong_kernel_of_ours_is_refused_here_too(here, monkeypatch):
    from yolokkn import ops

    case = pose()
    right = ops.nms
    monkeypatch.setattr(ops, "nms", lambda *args, **options: right(*args, **options)[1:])
    with Peers() as peers:
        assert "against float32" in measure(peers.cases(case, ["no such peer"]), SMALL)[0].refused


def test_what_a_peer_cannot_do_is_said(here):
    with Peers() as peers:
        case = stages.letterbox_cases().__next__()
        found = {r.facts["by"]: r for r in measure(peers.cases(case, ["opencv, split + multiply"]), SMALL)}
    assert found["opencv, split + multiply"].is_measured
    assert "for the cases whose padding is kept" in found["opencv, split + multiply, kept"].missing


def test_without_an_environment_the_command_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "FOLDER", tmp_path)
    with Peers() as peers:
        found = measure(peers.cases(pose(), ["torchvision"]), SMALL)[1]
    assert found.missing == "no environment; run: python benchmarks/peers/setup.py torchvision"


def test_a_peer_that_dies_is_left_out(here):
    peer = PeerProcess("opencv", "decode.opencv", "", 1)
    peer._process.kill()
    with pytest.raises(Unsuitable, match="its process ended with -9"):
        peer.ask(open="x", facts={})
    peer.close()
    peer = PeerProcess("opencv", "decode.nothing", "", 1)
    with pytest.raises(Unsuitable, match="ModuleNotFoundError"):
        peer.ask(open="x", facts={})
    peer.close()
    assert peer._process.poll() == 0


def test_every_adapter_names_an_environment_and_imports_nothing_of_ours():
    stages_there = ("letterbox", "decode", "masks", "rle", "polygons", "track", "network")
    for stage in stages_there:
        found = adapters(stage)
        assert found and all(environment in setup.ENVIRONMENTS for environment, _, _ in found.values())
    for file in (ROOT / "benchmarks" / "peers").rglob("*.py"):
        if file.name == "process.py":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "yolokkn" for name in names), file


def test_cold_turns_time_the_first_call_alone():
    seen = []
    case = process.Case("a", "mine", lambda: seen.append, [0], None)
    (found,) = measure([case], replace(SMALL, cold=True, min_rounds=3, max_rounds=3, warm_calls=1))
    assert len(found.samples_ms) == 3 and len(seen) == 4
