"""`yolokkn export --format engine`: what it measures on, and which options it takes and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import HW, fitted, label_pictures, save
from yolokkn.cli import main
from yolokkn.deploy import build_onnx, to_half
from yolokkn.deploy.engine_export import EngineCache, export_engine
from yolokkn.graph import GraphBuilder
from yolokkn.layouts import read_facts
from yolokkn.runtime.engine_manifest import open_engine

ROOT = Path(__file__).parents[2]
pytest_plugins = ["tests.runtime.simulated_gpu"]
pytestmark = pytest.mark.filterwarnings("ignore:Use del obj instead:DeprecationWarning")  # of a Runtime with a subclass


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where the command is run; with the cache of engines."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *words):
    code = main(["export", *map(str, words), "--format", "engine", "--quiet"])
    out = capsys.readouterr()
    return code, out.out, out.err


def net(place, **options):
    content, _ = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False, **options)
    (place / "net.onnx").write_bytes(content)
    return content


def test_what_the_precision_costs_is_measured_with_the_engine_where_it_runs(place, engines, capsys):
    label_pictures(place / "data", yolokkn.load(net(place), score_threshold=0.02, max_detections=5))
    words = ("net.onnx", "--data", "data", "--device", "cuda:0", "--overwrite")
    for origin in ("built in", "found in the cache"):
        code, out, err = run(capsys, *words)
        assert (code, err) == (0, "") and origin in out
        assert "bbox on 2 pictures, onnxruntime, then tensorrt" in out
    assert engines and all(engine.content != net(place) for engine in engines)  # the float16 graph
    assert sum(engine.runs for engine in engines) >= 4  # both pictures, twice


def test_an_engine_of_one_size_is_measured_against_the_model_at_that_size(place, engines, capsys):
    """The model alone would follow the pictures' shape, and the difference would not be the precision's."""
    content = net(place, dynamic_hw=True)
    label_pictures(place / "data", yolokkn.load(content, imgsz=(128, 128), score_threshold=0.02, max_detections=5))
    words = ("net.onnx", "--data", "data", "--imgsz", "128", "--precision", "fp32")
    code, out, _ = run(capsys, *words)
    assert code == 0 and "(+0.0000), AP50" in out and "onnxruntime, then tensorrt" in out


def test_without_its_gpu_the_graph_is_measured_and_that_is_said(place, capsys):
    label_pictures(place / "data", yolokkn.load(net(place), score_threshold=0.02, max_detections=5))
    code, out, err = run(capsys, "net.onnx", "--data", "data", "--compute-capability", "SM86")
    assert code == 0 and "bbox on 2 pictures, onnxruntime\n" in out
    assert err.startswith(
        "yolokkn export: the AP is that of the graph, run on the CPU; the engine itself was not run: device 'cuda': "
    )


def test_an_engine_for_another_gpu_is_not_measured(place, engines, capsys):
    label_pictures(place / "data", yolokkn.load(net(place), score_threshold=0.02, max_detections=5))
    code, out, err = run(capsys, "net.onnx", "--data", "data", "--compute-capability", "SM89")
    assert code == 0 and "bbox on 2 pictures, onnxruntime\n" in out and not engines
    assert "net.engine: was built for SM89, here is Simulated (SM86)" in err


def two_meanings() -> bytes:
    """Rows that a YOLOv8 of two classes and a table of finished boxes could both mean: (1, 6, 84)."""
    builder = GraphBuilder("two", opset=17)
    x = builder.input("images", "float32", (1, 3, 64, 64))
    weights = np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32) * 0.01
    for layer in range(2):
        kernel = builder.initializer(f"k{layer}", np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1))
        x = builder.node("Conv", [x, kernel], output=f"x{layer}")
    y = builder.node("Conv", [x, builder.initializer("w", weights)], output="c", strides=[8, 8])
    y = builder.node("Sigmoid", [y], output="s")
    flat = builder.node("Reshape", [y, builder.initializer("to", np.array([1, 6, 64]))], output="flat")
    pads = builder.initializer("pads", np.array([0, 0, 0, 0, 0, 20]))
    builder.output(builder.node("Pad", [flat, pads], output="y"), "float32", (1, 6, 84))
    return builder.to_bytes()


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_layout_of_a_file_that_does_not_say_it_is_taken_and_stated(place, engines, precision, capsys):
    (place / "two.onnx").write_bytes(two_meanings())
    images = []
    if precision == "int8":
        label_pictures(place / "photos", yolokkn.load(net(place)))
        images = ["--images", "photos/val2017"]
    with pytest.raises(yolokkn.errors.LayoutError):
        yolokkn.load("two.onnx", layout="v5")
    code, out, err = run(capsys, "two.onnx", "--precision", precision, "--layout", "v5", *images)
    assert code == 1 and "v5" in err and not (place / "two.engine").exists()
    code, out, err = run(capsys, "two.onnx", "--precision", precision, "--layout", "v8", *images)
    assert code == 0 and precision in out
    assert ("2 pictures are few to calibrate on" in err) if images else (err == "")
    assert read_facts(open_engine(place / "two.engine").manifest.metadata).layout == "v8"
    assert yolokkn.load("two.engine").layout.name == "v8"
    code, _, err = run(capsys, "two.onnx", "--layout", "v88", "--overwrite")
    assert code == 2 and "did you mean v8" in err


def test_a_free_size_goes_up_to_the_one_that_is_given(place, capsys):
    save(fitted("yolovkkn2-p", "detect"), place / "best.safetensors")
    for words, sizes in (
        (("--dynamic", "--imgsz", "160"), "images 1x3x32x32:1x3x160x160:1x3x160x160"),
        (("--dynamic",), f"images 1x3x32x32:1x3x{HW[0]}x{HW[1]}:1x3x{HW[0]}x{HW[1]}"),
        (("--imgsz", "160"), "fixed"),
    ):
        code, out, _ = run(capsys, "best.safetensors", *words, "--overwrite", "--compute-capability", "SM86")
        assert code == 0 and f"sizes: {sizes}\n" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "photos"], "--images is for --precision int8, got fp16"),
        (["--images", "photos", "--precision", "fp32"], "--images is for --precision int8, got fp32"),
        (["--opset", "13"], "--opset is for checkpoints; an .onnx file has its own"),
        (["--split", "train"], "--split is of --data, which is not given"),
        (["--device", "cpu"], "device: must be cuda or cuda:N for engines, got 'cpu'"),
        (["--dynamic"], "--dynamic is for checkpoints"),
        (["--layout", "end2end", "--conf", "0.3"], "--conf, --iou and --max-det are for checkpoints"),
    ],
)
def test_what_would_change_nothing_is_refused(place, words, said, capsys):
    net(place)
    code, _, err = run(capsys, "net.onnx", *words)
    assert code == 2 and said in err and err.count("\n") == 1
    assert not (place / "net.engine").exists() and not (place / "cache").exists()


def test_an_onnx_file_becomes_an_engine_without_torch(place):
    net(place)
    script = "import sys; sys.modules['torch'] = None; from yolokkn.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["export", "net.onnx", "--format", "engine", "--compute-capability", "SM86"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert open_engine(place / "net.engine").manifest.request.precision == "fp16"


def test_layouts_of_checkpoints_and_devices_of_onnx_files(place, capsys):
    save(fitted("yolovkkn2-p", "detect"), place / "best.safetensors")
    code, _, err = run(capsys, "best.safetensors", "--layout", "v8")
    assert code == 2 and "--layout must be one of raw, decoded, end2end, efficientnms, deepstream, got 'v8'" in err
    assert main(["export", "best.safetensors", "--device", "cuda"]) == 2
    assert "--device is for --format engine" in capsys.readouterr().err


def test_tensorrt_is_given_the_gpu_that_is_named(place, simulated_tensorrt):
    """Several GPUs: the one that is asked for is described in the request, made current while it builds, and given back."""
    cuda, seen = simulated_tensorrt
    content = to_half(net(place))
    report = export_engine(
        content, place / "a.engine", name="a.onnx", library="tensorrt", device="cuda:2", cache=EngineCache(place / "c")
    )
    assert seen == [2] and report.manifest.request.gpu == "Simulated 2 (SM86)" and cuda.current == 1
    with pytest.raises(ValueError, match="device: must be cuda or cuda:N for engines, got 'gpu'"):
        export_engine(content, place / "b.engine", name="a.onnx", device="gpu")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net.onnx"], "for an engine say --format engine, for another precision: yolokkn quantize"),
        (["person-segment"], "for an engine say --format engine"),
        (["some.cfg"], "for an engine say --format engine"),
        (["best.safetensors", "--save", "y.engine"], "--save y.engine is an engine's name; say --format engine"),
    ],
)
def test_a_forgotten_format_is_said_before_anything_else(place, words, said, capsys):
    net(place)
    assert main(["export", *words]) == 2
    err = capsys.readouterr().err
    assert said in err and "exists already" not in err and err.count("\n") == 1


def test_what_cannot_be_is_said_before_anything_is_built(place, capsys):
    label_pictures(place / "data", yolokkn.load(net(place)))
    labels = place / "data/annotations/instances_val2017.json"
    labels.write_text(labels.read_text().replace('"person"', '"zebra"').replace('"car"', '"sofa"'))
    code, _, err = run(capsys, "net.onnx", "--data", "data")
    assert code == 1 and "class" in err
    code, _, err = run(capsys, "net.onnx", "--save", "/proc/x.engine")
    assert code == 1 and "/proc/x.engine" in err and ".part" not in err
    assert not list(place.rglob("*.engine"))
