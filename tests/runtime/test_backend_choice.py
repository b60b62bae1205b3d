"""`backend="auto"`: the fastest with the same outputs, measured once."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from tests.recorded import cell_heads, recorded_model
from yolokkn.cli import main
from yolokkn.runtime import backend_choice
from yolokkn.runtime.backend_choice import choose_backend, forget_choices
from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yolokkn.runtime.load import load

pytest.importorskip("openvino")

from yolokkn.runtime.backends.openvino import OpenVinoBackend

KEY = {"model": "0" * 64, "threads": 1}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    rows = cell_heads(6)
    rows[20, 2:4], rows[20, 5] = (10, 8), 0.9
    path = tmp_path / "small.onnx"
    path.write_bytes(recorded_model({"output0": rows.T[None].copy()}, metadata={"task": "detect"}))
    return path


def slowed(monkeypatch, kind, seconds=0.01, add=0.0):
    """Make a backend slow, or wrong."""
    right = kind.run

    def run(self, feeds):
        time.sleep(seconds)
        return {name: value + add for name, value in right(self, feeds).items()}

    monkeypatch.setattr(kind, "run", run)


def test_the_faster_one_is_chosen_said_and_remembered(model, cache, monkeypatch):
    slowed(monkeypatch, OnnxRuntimeBackend)
    first = load(model, backend="auto", threads=1)
    assert first.backend.name == "openvino"
    assert "times as fast as onnxruntime with the same outputs" in first.backend.choice
    (row,) = json.loads((cache / "backends.json").read_text()).values()
    assert row["backend"] == "openvino"
    monkeypatch.setattr(backend_choice, "measure", None)  # whoever measures again fails
    again = load(model, backend="auto", threads=1, score_threshold=0.5)
    assert again.backend.name == "openvino" and "remembered of 20" in again.backend.choice
    assert again.options.score_threshold == 0.5
    with pytest.raises(TypeError):
        load(model, backend="auto", threads=2)
    assert forget_choices() == 1 and forget_choices() == 0
    with pytest.raises(TypeError):
        load(model, backend="auto", threads=1)


def test_the_default_stays_where_others_are_slower_or_wrong(model, monkeypatch):
    slowed(monkeypatch, OpenVinoBackend)
    found = load(model, backend="auto", threads=2)
    assert found.backend.name == "onnxruntime" and "less than 1.1 keeps the default" in found.backend.choice
    forget_choices()
    slowed(monkeypatch, OnnxRuntimeBackend, 0.03)
    slowed(monkeypatch, OpenVinoBackend, 0.0, add=1.0)
    found = load(model, backend="auto", threads=1)
    assert found.backend.name == "onnxruntime"
    assert "openvino gives other outputs (output output0 differs by 1)" in found.backend.choice


def test_what_would_take_too_long_is_not_measured_nor_remembered(model, cache):
    choice, loaded = choose_backend(lambda name: load(model, backend=name, threads=1), KEY, time_limit_s=1e-6)
    assert choice.backend == loaded.backend.name == "onnxruntime" and "would take more than 1e-06 s" in choice.reason
    assert not cache.exists()


def test_one_backend_alone_needs_no_measurement(model, monkeypatch, cache):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    found = load(model, backend="auto", threads=1)
    assert found.backend.name == "onnxruntime" and "must be installed" in found.backend.choice and not cache.exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "[" * 99999, '{"a": 1}', '{"%s": {"backend": "evil", "reason": "", "when": "", "model": ""}}']
)
def test_a_damaged_memory_counts_as_none(model, cache, content):
    cache.mkdir()
    key = backend_choice._digest(KEY)
    (cache / "backends.json").write_text(content.replace("%s", key))
    choice, _ = choose_backend(lambda name: load(model, backend=name, threads=1), KEY)
    assert not choice.is_remembered
    again, _ = choose_backend(lambda name: load(model, backend=name, threads=1), KEY)
    assert again.is_remembered and again.backend == choice.backend


def test_a_backend_that_is_gone_is_measured_around(model, cache, monkeypatch):
    slowed(monkeypatch, OnnxRuntimeBackend)
    assert load(model, backend="auto", threads=1).backend.name == "openvino"
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    assert load(model, backend="auto", threads=1).backend.name == "onnxruntime"


def test_a_folder_that_cannot_be_written_is_no_error(model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "file"))
    assert load(model, backend="auto", threads=1)(np.zeros((48, 64, 3), np.uint8)) is not None


def test_wrong_requests_are_named(model, tmp_path):
    with pytest.raises(ValueError, match="auto chooses among those that run on the CPU, got device 'cuda'"):
        load(model, backend="auto", device="cuda")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "none.onnx", backend="auto")
    with pytest.raises(ValueError, match="must be tensorrt for an engine, got 'auto'"):
        load(tmp_path / "a.engine", backend="auto")


def test_the_command_line_says_what_was_chosen_and_forgets(model, tmp_path, capsys):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    ask = ["predict", "--model", str(model), "--source", str(tmp_path / "a.png"), "--backend", "auto", "--threads", "1"]
    assert main([*ask, "--save", str(tmp_path / "a.jsonl")]) == 0
    assert capsys.readouterr().err.startswith("backend o")
    assert main(["benchmark", "--forget"]) == 0
    assert capsys.readouterr().out == "forgot 1 choices of --backend auto\n"
