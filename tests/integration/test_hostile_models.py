"""Hostile ONNX files through every public door: refused, or failing with one line; no crash, no hang, no large allocation."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import yolokkn
from tests.graph.hostile_models import HEAD, head, hostile_models
from tests.graph.test_hostile import mutate_bytes
from tests.strategies import scaled
from yolokkn.errors import ModelError, YolokknError
from yolokkn.graph import parse_model, read_model
from yolokkn.runtime.assets import embedded_models

ROOT = Path(__file__).parents[2]
DOORS = ("read", "limits", "load", "openvino", "info", "doctor", "to_half", "quantize_int8", "engine")
HARMLESS = {  # odd, but what they say can be run
    "MaxPool of 2**31", "constant twice", "axis far outside", "nodes in the wrong order", "ir version -1", "ir version 0",
    "names of a megabyte", "names with control characters", "output called with control characters",
    "input, classes and author called with control characters", "If within If, 2 deep", "If within If, 7 deep",
}  # fmt: skip

LEFT_OUT = {"Conv of no groups", "Gather far outside", "Loop that doubles"}  # OpenVINO drops what is weighed with 0


def go_through(door: str, folder: Path, seconds: float) -> dict[str, list[str]]:
    """Result by file: ["ran"] or ["refused", message]; fails the test where a file ends or stops the process."""
    if door == "openvino" and importlib.util.find_spec("openvino") is None:
        pytest.skip("the package openvino is not installed")
    if door == "engine" and importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("the package tensorrt-rtx is not installed")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.hostile_worker", door, str(folder)],
            cwd=ROOT, capture_output=True, text=True, timeout=seconds, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{door} hangs at {(error.stdout or b'').decode().splitlines()[-1]}") from None
    lines = done.stdout.split("\n")[:-1]
    if lines == ["absent"]:
        pytest.skip(f"{door} is not part of this version")
    assert done.returncode == 0, f"{door} ended with {done.returncode} at {lines[-1]}: {done.stderr[-500:]}"
    return {name: json.loads(result) for name, result in zip(lines[::2], lines[1::2], strict=True)}


@pytest.fixture(scope="module")
def crafted(tmp_path_factory):
    """A folder of crafted files, and the name of each."""
    folder = tmp_path_factory.mktemp("crafted")
    names = {}
    for number, (name, content) in enumerate(hostile_models(folder).items()):
        (folder / f"{number:03}.onnx").write_bytes(content)
        names[f"{number:03}.onnx"] = name
    (folder / "zzz.onnx").write_bytes(head().SerializeToString())
    return folder, names


@pytest.mark.parametrize("door", DOORS)
def test_crafted_files(crafted, door):
    folder, names = crafted
    results = go_through(door, folder, 120)
    assert results.pop("zzz.onnx") == ["ran"]  # the detector that all are made of is sound
    assert set(results) == set(names)
    for file, result in results.items():
        name = names[file]
        assert result[0] in ("ran", "refused"), f"{name}: {result}"
        if result[0] == "refused":
            assert "\n" not in result[1] and len(result[1]) < 1000, (name, result)
        if name.startswith("external"):
            assert "external data, which is never followed" in result[1], (name, result)
    if door in ("load", "openvino", "doctor"):
        ran = {names[file] for file, result in results.items() if result == ["ran"]}
        known = HARMLESS | (LEFT_OUT if door == "openvino" else set())
        odd = {name for name in ran - known if not name.startswith("output of")}  # a backend infers its own sizes
        assert not odd, f"{sorted(odd)} run"


@pytest.mark.parametrize("door", ["load", "openvino"])
def test_mutated_files(tmp_path, door):
    rng = np.random.default_rng(7)
    whole = head().SerializeToString()
    for number in range(scaled({"load": 1000, "openvino": 150}[door])):
        (tmp_path / f"{number:05}.onnx").write_bytes(mutate_bytes(rng, whole))
    results = go_through(door, tmp_path, 240)
    kinds = [result[0] for result in results.values()]
    assert set(kinds) == {"ran", "refused"}, [r for r in results.items() if r[1][0] == "other"][:5]


def test_10000_mutations_are_read_or_refused(little_memory):
    rng = np.random.default_rng(8)
    whole = head().SerializeToString()
    refused = 0
    for _ in range(scaled(10_000)):
        try:
            parse_model(mutate_bytes(rng, whole))
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > scaled(1000)


def test_wrong_varints_are_refused():
    whole = head().SerializeToString()
    for bad in (b"\xff" * 9 + b"\x7f", b"\x80" * 11 + b"\x01", b"\xff\xff\xff\xff\x0f", b"\x80"):
        for key in (b"\x08", b"\x3a", b"\x42", b"\x72"):  # ir_version, graph, opset_import, metadata_props
            for data in (key + bad, whole + key + bad, key + bad + whole):
                try:
                    model = parse_model(data)
                except ModelError as error:
                    assert "\n" not in str(error)
                else:
                    assert model.outputs[0].shape == tuple(HEAD)


def test_a_model_cut_at_every_kilobyte_is_refused(tmp_path):
    model = next(iter(embedded_models().values()), None)
    if model is None:
        pytest.skip("no model comes with this installation")
    whole = model.path.read_bytes()
    sound = len(parse_model(whole).graph.node)
    for end in range(0, len(whole), 1024):
        with pytest.raises(ModelError):
            parse_model(whole[:end])
    path = tmp_path / "cut.onnx"
    for end in range(0, len(whole), len(whole) // 12):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            yolokkn.load(path)
    assert sound > 10


def test_links_devices_and_pipes(tmp_path):
    good = tmp_path / "good.onnx"
    good.write_bytes(head().SerializeToString())
    (tmp_path / "link.onnx").symlink_to(good)
    assert read_model(tmp_path / "link.onnx").outputs
    for name, target in (
        ("loop.onnx", "loop.onnx"),
        ("zero.onnx", "/dev/zero"),
        ("gone.onnx", "nowhere"),
        ("to.onnx", "."),
    ):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(ModelError):
            read_model(tmp_path / name)
        with pytest.raises((YolokknError, FileNotFoundError)):
            yolokkn.load(tmp_path / name)
