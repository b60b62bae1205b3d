"""`yolokkn doctor` and `yolokkn info` of engines: built for real, run on a simulated GPU, described without one."""

from __future__ import annotations

import gc
import json

import cv2
import numpy as np
import pytest

from tests.recorded import recorded_model
from tests.runtime.simulated_gpu import Cuda, Engine
from tests.runtime.test_engine_facts import foreign
from tests.runtime.test_parity_broken import detector
from yolokkn.cli import main
from yolokkn.graph import parse_model, read_model
from yolokkn.runtime import cuda_device
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import tensorrt as module
from yolokkn.runtime.engine_build import EngineOptions, build_engine, make_request
from yolokkn.runtime.engine_cache import store
from yolokkn.runtime.engine_library import find_library
from yolokkn.runtime.engine_profiles import engine_profiles

ULTRALYTICS = {
    "author": "Ultralytics", "task": "detect", "stride": 32, "imgsz": [640, 640], "names": {"0": "person"},
    "args": {"batch": 1, "half": True},
}  # fmt: skip


def table(move=0.0):
    rows = detector()
    rows[28, :2] += move
    return rows.T[None].astype(np.float32).copy()


def content_of(move=0.0):
    metadata = {"task": "detect", "names": "['cat', 'dog', 'cow']", "imgsz": "[64, 64]"}
    return recorded_model({"output0": table(move)}, metadata=metadata)


@pytest.fixture
def built(tmp_path, monkeypatch):
    """best.onnx, and best.engine made of it by TensorRT-RTX on this CPU; returns a builder for others."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    cv2.imwrite("street.png", np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8))

    def build(content, precision="fp32", tf32=False):
        (tmp_path / "best.onnx").write_bytes(content)
        library, options = find_library("tensorrt_rtx"), EngineOptions(capabilities=("SM86",), tf32=tf32)
        profiles = engine_profiles(parse_model(content))
        wanted = make_request(content, library, options, profiles=profiles, precision=precision)
        store(build_engine(content, wanted, library, options, name="best.onnx")[0], tmp_path / "best.engine")

    build(content_of())
    return build


@pytest.fixture
def gpu(built, monkeypatch):
    """Let a GPU of host memory run, for every engine, what ONNX Runtime computes of a given file."""
    simulated, library = Cuda(), find_library("tensorrt_rtx")
    monkeypatch.setattr(cuda_device, "_runtime", lambda: simulated)
    kinds = {"float32": np.float32, "float16": np.float16, "int64": np.int64}
    monkeypatch.setattr(library.trt, "nptype", kinds.__getitem__)

    def computes(content):
        def deserialize(self, plan):
            self._engine = Engine(content, engine_profiles(parse_model(content)), simulated, library)
            self._kernels = module.Kernels(library, self._engine, self._cache, self.gpu)

        monkeypatch.setattr(module.TensorRtBackend, "_deserialize", deserialize)

    computes(content_of())
    yield computes
    gc.collect()  # what is left on the simulated GPU is freed there


def doctor(*argv):
    return main(["doctor", *argv])


def test_an_engine_has_its_column(gpu, capsys):
    assert doctor("best.engine", "street.png", "--reference", "best.onnx", "--json", "report.json") == 0
    out = capsys.readouterr().out
    for said in (
        "engine    best.engine, ", "fp32: its manifest says so", "state     whole: every byte is as its manifest says",
        "runs on   SM86, by tensorrt_rtx", "reference best.onnx: what it was made of", "layout    v8",
        "backends  tensorrt", "stage       tensorrt", "tensorrt agrees with best.onnx, within the tolerances of fp32",
    ):  # fmt: skip
        assert said in out, said
    report = json.loads(open("report.json").read())
    assert report["compared"] and report["agrees"] and report["engine"]["is_whole"]
    assert report["model"]["backends"] == ["tensorrt"] and report["together"][0]["num_agree"] == 1


def test_the_tolerance_is_that_of_the_manifest(built, gpu, capsys):
    gpu(content_of(move=0.04))
    assert doctor("best.engine", "street.png", "--reference", "best.onnx") == 1
    assert "tensorrt DIFFERS, first at network: output output0: 2 of 588 values" in capsys.readouterr().out
    for options in ({"precision": "fp16"}, {"tf32": True}):
        built(content_of(), **options)
        assert doctor("best.engine", "street.png", "--reference", "best.onnx") == 0
        out = capsys.readouterr().out
        assert "within the tolerances of fp16" in out and "scores shared" in out


def test_an_engine_that_computes_something_else_is_named(gpu, capsys):
    gpu(content_of(move=5.0))
    assert doctor("best.engine", "street.png", "--reference", "best.onnx") == 1
    assert "tensorrt DIFFERS, first at network" in capsys.readouterr().out
    open("other.onnx", "wb").write(content_of(move=5.0))
    assert doctor("best.engine", "street.png", "--reference", "other.onnx") == 0
    assert "reference other.onnx: NOT the file it was made of" in capsys.readouterr().out


def test_the_packaged_model_as_an_engine(built, gpu, capsys):
    content = read_model(resolve_model("person-vehicle")).to_bytes()
    built(content)
    gpu(content)
    assert doctor("best.engine", "--reference", "person-vehicle", "--conf", "0.1") == 0
    out = capsys.readouterr().out
    assert "tensorrt agrees with person-vehicle.onnx" in out and "person" in out.split("classes")[1].splitlines()[0]


def test_without_a_gpu_it_says_what_the_engine_is_and_that_it_was_not_compared(built, monkeypatch, capsys):
    from yolokkn.errors import DeviceError

    def no_gpu(call, *arguments):
        raise DeviceError("CUDA: cudaGetDeviceCount failed: no CUDA-capable device is detected")

    monkeypatch.setattr(cuda_device, "checked", no_gpu)
    assert doctor("best.engine", "street.png", "--reference", "best.onnx", "--json", "report.json") == 1
    out, err = capsys.readouterr()
    assert "whole: every byte" in out and "SM86" in out and "cat, dog, cow" in out and "64 x 64" in out
    assert "agree" not in out
    assert err == (
        "yolokkn doctor: error: best.engine was NOT compared: device 'cuda': no NVIDIA GPU can be used: CUDA: "
        "cudaGetDeviceCount failed: no CUDA-capable device is detected; best.engine runs on an NVIDIA GPU "
        "alone, the .onnx file it was made of (best.onnx) on a CPU as well\n"
    )
    report = json.loads(open("report.json").read())
    assert report["compared"] is False and report["agrees"] is None and "no NVIDIA GPU" in report["not_compared"]
    assert report["engine"]["precision"] == "fp32" == report["engine"]["tolerances_of"] and report["pictures"] == []


def test_one_for_another_library_is_refused_with_what_it_is_for(built, monkeypatch, capsys):
    from dataclasses import replace

    real = find_library("tensorrt_rtx")
    monkeypatch.setattr(module, "find_library", lambda name, say=None: replace(real, version="1.0"))
    monkeypatch.setattr(module, "find_gpu", lambda index: cuda_device.Gpu(0, "Simulated", "SM86"))
    assert doctor("best.engine", "street.png", "--reference", "best.onnx") == 1
    out, err = capsys.readouterr()
    assert "runs on   SM86, by tensorrt_rtx" in out
    assert "was NOT compared: best.engine: was built by tensorrt_rtx" in err and "here is tensorrt_rtx 1.0" in err


def test_an_altered_engine_is_refused(built, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_library", lambda name, say=None: pytest.fail("the library was reached"))
    data = bytearray(open("best.engine", "rb").read())
    data[-1] ^= 1
    open("best.engine", "wb").write(data)
    assert doctor("best.engine", "street.png", "--reference", "best.onnx") == 1
    out, err = capsys.readouterr()
    assert "state     REFUSED: best.engine: is not the engine of its manifest (SHA-256 differs)" in out
    assert "runs on   SM86" in out  # what its manifest promises
    assert "was NOT compared: best.engine: is not the engine of its manifest" in err
    assert "engines are executable, so it is not loaded: build it from the .onnx" in err and err.count("\n") == 1
    assert main(["info", "best.engine"]) == 1
    out, err = capsys.readouterr()
    assert "REFUSED" in out and "is not the engine of its manifest" in err


def test_ultralytics_engines_are_described(built, tmp_path, capsys):
    path = str(foreign(tmp_path / "yolo11n.engine", **ULTRALYTICS))
    assert main(["info", path]) == 0
    out = capsys.readouterr().out
    for said in (
        "engine    yolo11n.engine (Ultralytics), 0.00 MB, fp16: its header says so", "REFUSED: yolo11n.engine: is an engine of",
        "sizes     640 x 640 (height x width) by the metadata", "task      detect", "classes   person",
    ):  # fmt: skip
        assert said in out, said
    assert doctor(path, "street.png", "--reference", "best.onnx") == 1
    out, err = capsys.readouterr()
    assert "yolo11n.engine (Ultralytics)" in out
    assert "was NOT compared: yolo11n.engine: is an engine of Ultralytics, and has no manifest" in err
    assert "--trust-engine" in err
    assert main(["info", path, "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["is_foreign"] and not known["is_whole"] and known["input_size"] == [640, 640]


def test_a_trusted_foreign_engine_is_compared(gpu, tmp_path, capsys):
    header = {**ULTRALYTICS, "imgsz": [64, 64], "names": {"0": "cat", "1": "dog", "2": "cow"}}
    foreign(tmp_path / "yolo.trt", **header)
    assert doctor("yolo.trt", "street.png", "--reference", "best.onnx", "--trust-engine") == 0
    assert "tensorrt agrees with best.onnx, within the tolerances of fp16" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (
            ("best.engine", "street.png"),
            2,
            "was NOT compared: --reference FILE must be given, an .onnx file, such as best.onnx",
        ),
        (("best.onnx", "street.png", "--reference", "best.engine"), 1, "an engine is held against a model file"),
        (("best.engine", "street.png", "--reference", "none.onnx"), 1, "none.onnx"),
        (
            ("best.engine", "street.png", "--reference", "best.onnx", "--backend", "openvino"),
            2,
            "must be tensorrt for an engine",
        ),
        (("none.plan",), 1, "no such file: none.plan"),
    ],
)
def test_what_cannot_be_is_one_line(built, capsys, argv, code, said):
    assert doctor(*argv) == code
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1, err
