"""`yolokkn doctor` as a support person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.recorded import cell_heads, recorded_model
from yolokkn.cli import main
from yolokkn.runtime.backends import openvino
from yolokkn.runtime.tolerances import tolerance_table

ROOT = Path(__file__).parents[2]


def table(move=0.0):
    rows = cell_heads(6)
    for row, score in ((20, 0.9), (28, 0.8), (33, 0.7), (43, 0.6)):
        rows[row, 2:4], rows[row, 5] = (10, 8), score
    rows[28, 0] += move
    return rows.T[None].copy()


@pytest.fixture
def files(tmp_path):
    """Two model files, the second with one box elsewhere, and a picture."""
    metadata = {"task": "detect", "names": "{0: 'cat', 1: 'dog'}", "author": "somebody"}
    for name, move in (("good.onnx", 0.0), ("moved.onnx", 3.0)):
        (tmp_path / name).write_bytes(recorded_model({"output0": table(move)}, metadata=metadata))
    cv2.imwrite(str(tmp_path / "street.png"), np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8))
    return tmp_path


def run(*argv):
    return main(["doctor", *(str(a) for a in argv)])


def test_it_says_what_is_there_and_that_all_agree(files, capsys):
    assert run(files / "good.onnx", files / "street.png", "backend=onnxruntime", "threads=1") == 0
    out = capsys.readouterr().out
    for said in (
        "yolokkn   ", "kernels for ", "python    ", "machine   ", "packages  numpy ", "onnxruntime ",
        "model     good.onnx (somebody), fp32: no float16 weights, nothing quantized",
        "layout    v8: the metadata says task detect", "picture   64 x 64; letterbox, padded with 114, RGB, 0 to 1",
        "backends  onnxruntime, 1 thread\n", "street.png, 96 x 48: 4 detections with scores above 0.25",
        "onnxruntime agrees with NumPy around ONNX Runtime without optimisations, within the tolerances of fp32",
    ):  # fmt: skip
        assert said in out, said
    stages = [line.split()[0] for line in out.splitlines()[-6:-1]]
    assert stages == ["preprocess", "network", "decode", "nms", "detections"]


def test_another_file_is_held_against_its_original(files, capsys):
    report = files / "report.json"
    code = run(files / "moved.onnx", files / "street.png", "--reference", files / "good.onnx", "--backend", "onnxruntime",
               "--json", report)  # fmt: skip
    assert code == 1
    out = capsys.readouterr().out
    assert "onnxruntime DIFFERS, first at network: output output0: 1 of 504 values beyond the tolerance" in out
    assert "furthest at [0, 0, 28]: 39 against 36" in out
    found = json.loads(report.read_text())
    assert found["agrees"] is False and found["model"]["precision"] == "fp32"
    (picture,) = found["pictures"]
    assert picture["reference"] == "good.onnx" and picture["backends"][0]["first_difference"] == "network"
    states = {s["stage"]: s["agrees"] for s in picture["backends"][0]["stages"]}
    assert states == {
        "preprocess": True, "network": False, "decode": True, "nms": True, "masks": None, "keypoints": None,
        "detections": False,
    }  # fmt: skip
    assert found["installation"]["packages"]["onnxruntime"]
    assert run(files / "good.onnx", files / "street.png", "--backend", "onnxruntime", "--json", report) == 1
    assert "exists already" in capsys.readouterr().err
    assert (
        run(files / "good.onnx", files / "street.png", "--backend", "onnxruntime", "--json", report, "--overwrite") == 0
    )


def test_pictures_may_stand_anywhere_and_be_several(files, capsys):
    second = files / "second.png"
    second.write_bytes((files / "street.png").read_bytes())
    argv = [files / "good.onnx", "--backend", "onnxruntime", files / "street.png", second]
    assert run(*argv) == 0
    assert capsys.readouterr().out.count(", 96 x 48: ") == 2
    assert run("--model", files / "good.onnx", files / "street.png", "--backend", "onnxruntime") == 0
    assert capsys.readouterr().out.count(", 96 x 48: ") == 1


def test_without_a_model_the_installation_is_checked(capsys):
    assert run() == 0
    out = capsys.readouterr().out
    assert "person-vehicle.onnx" in out and "computed in fp32" in out
    assert "a drawn scene, 640 x 480" in out or "the demo clip's first frame" in out
    assert int(out.split(" detections with")[0].split()[-1]) >= 3


def test_a_backend_that_is_not_there_is_said(files, capsys, monkeypatch):
    from yolokkn.errors import MissingDependencyError

    class Gone:
        def __init__(self, *args, **kwargs):
            raise MissingDependencyError("backend 'openvino': the package openvino must be installed")

    monkeypatch.setattr(openvino, "OpenVinoBackend", Gone)
    assert run(files / "good.onnx", files / "street.png") == 0
    assert "not openvino: backend 'openvino': the package openvino must be installed" in capsys.readouterr().out
    assert run(files / "good.onnx", files / "street.png", "--backend", "openvino") == 1
    assert "the package openvino must be installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv, code, said",
    [
        (("nothing.onnx",), 1, "no such file: nothing.onnx"),
        (("good.onnx", "nothing.jpg"), 1, "nothing.jpg cannot be read: No such file or directory"),
        (("good.onnx", "good.onnx"), 1, "good.onnx must be an image, got unknown bytes"),
        (("good.onnx", "street.png", "--backend", "tflite"), 2, "backend: must be one of onnxruntime, openvino"),
        (("good.onnx", "street.png", "--reference", "none.onnx"), 1, "no such file: none.onnx"),
        (("good.onnx", "street.png", "--conf", "2"), 2, "must be a number within 0 and 1"),
        (("good.onnx", "street.png", "--referense", "a"), 2, "did you mean --reference?"),
        (("best.engine",), 1, "no such file"),
        (("best.safetensors",), 1, "best.safetensors"),
    ],
)
def test_what_cannot_be_is_one_line(files, monkeypatch, capsys, argv, code, said):
    monkeypatch.chdir(files)
    assert run(*argv) == code
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1, err


def test_a_checkpoint_is_held_against_its_export(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from tests.deploy.networks import fitted, save

    path = tmp_path / "best.safetensors"
    save(fitted("yolovkkn2-p", "segment"), path)
    assert run(path, "--conf", "0.02", "--threads", "1") == 0
    out = capsys.readouterr().out
    assert "agree with NumPy around torch" in out or "agrees with NumPy around torch" in out
    assert "masks" in out


def test_the_readme_and_the_help_show_the_table_of_tolerances(capsys):
    assert tolerance_table() in (ROOT / "README.md").read_text("utf-8")
    assert run("--help") == 0
    out = capsys.readouterr().out
    assert all(line in out for line in tolerance_table().splitlines())


def test_the_script_is_the_verb(files):
    done = subprocess.run(
        [sys.executable, str(ROOT / "export" / "check_parity.py"), str(files / "good.onnx"), str(files / "street.png")],
        capture_output=True, text=True, cwd=ROOT, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "onnxruntime" in done.stdout and "agree" in done.stdout


def test_an_explicit_threshold_is_kept(files, capsys):
    argv = (files / "good.onnx", files / "street.png", "--backend", "onnxruntime", "--conf")
    assert run(*argv, "0.75") == 0
    assert "2 detections with scores above 0.75\n" in capsys.readouterr().out
    assert run(files / "good.onnx", files / "street.png", "--backend", "onnxruntime") == 0
    assert "4 detections with scores above 0.25\n" in capsys.readouterr().out


def test_an_int8_file_that_lost_most_classes_never_agrees(tmp_path, shared_data, capsys):
    """Most of what it lost lies near the lowered threshold, which a wide tolerance would explain."""
    pytest.importorskip("onnx")
    from yolokkn.deploy import calibration_feeds, quantize_int8
    from yolokkn.graph import read_model
    from yolokkn.runtime.load import load

    original, pictures = shared_data / "weights/yolox/yolox_nano.onnx", shared_data / "coco/val2017"
    model = read_model(original)
    for tensor in model.graph.initializer:
        if tensor.dims[:1] == [80] and len(tensor.dims) == 4:
            tensor.raw_data = tensor.raw_data[: 17 * len(tensor.raw_data) // 80].ljust(len(tensor.raw_data), b"\0")
    broken = model.to_bytes()
    feeds = list(calibration_feeds(load(broken, threads=1), str(shared_data / "coco/train2017"), 8))
    (tmp_path / "bad.onnx").write_bytes(quantize_int8(broken, feeds, target="cpu"))
    for name in ("000000229358", "000000051712", "000000336587"):
        code = run(tmp_path / "bad.onnx", pictures / f"{name}.jpg", "--reference", original, "--backend", "onnxruntime",
                   "--json", tmp_path / f"{name}.json")  # fmt: skip
        out = capsys.readouterr().out
        assert code == 1 and " agree" not in out and ("DIFFERS" in out or "was NOT judged: " in out), out
        assert json.loads((tmp_path / f"{name}.json").read_text())["agrees"] is not True
