"""`yolokkn quantize` as people run it: files, texts, exit codes."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import HW, fitted, label_pictures, save
from yolokkn.cli import main
from yolokkn.deploy import export_onnx
from yolokkn.graph import read_model

pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, a checkpoint, pictures, and labels that the model itself gives to two of them."""
    folder = tmp_path_factory.mktemp("quantize")
    network = fitted("yolovkkn2-p", "detect")
    export_onnx(network, folder / "net.onnx")
    save(network, folder / "net.safetensors")
    generator = np.random.default_rng(5)
    (folder / "photos").mkdir()
    for i in range(4):
        cv2.imwrite(str(folder / "photos" / f"{i}.png"), generator.integers(0, 255, (90, 120, 3), np.uint8))
    label_pictures(folder / "data", yolokkn.load(folder / "net.onnx", score_threshold=0.02, max_detections=5))
    return folder


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    """Results go where the command is run."""
    monkeypatch.chdir(place)


def run(place, *argv):
    return main(["quantize", *(text.replace("@", f"{place}/") for text in argv)])


def test_int8_is_written_measured_and_explained(place, capsys):
    assert (
        run(place, "model=@net.onnx", "images=@photos", "data=@data", "threads=1", "quiet=true", "json=@it.json") == 0
    )
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith("net-int8.onnx: int8, ") and "(before: 5.40 MB)" in lines[0]
    assert lines[1] == "calibrated on 4 pictures"
    assert lines[2] == "46 layers in int8, 3 left in float32"
    assert lines[3].startswith("  3: a last layer before the outputs: ")
    told = re.match(r"AP (\d\.\d{4}) -> (\d\.\d{4}) \(([+-]\d\.\d{4})\)", lines[4])
    assert told and "bbox on 2 pictures, onnxruntime" in lines[4]
    before, after, change = map(float, told.groups())
    assert before >= 0.5  # of the model's own finds: one of equal scores may take another's place on another CPU
    assert after - before == pytest.approx(change, abs=2e-4)
    assert re.match(r"the difference of AP lies within [+-]0\.\d{4} and [+-]0\.\d{4} with 95%", lines[5])
    assert lines[6] == "the network alone, both in turn:" and lines[7].startswith("  onnxruntime: ")
    figures = json.loads((place / "it.json").read_text())
    assert (figures["file"], figures["precision"], figures["target"]) == ("net-int8.onnx", "int8", "cpu")
    assert figures["bytes_after"] == (place / "net-int8.onnx").stat().st_size < figures["bytes_before"]
    assert f"AP {figures['accuracy']['ap_before']:.4f} -> {figures['accuracy']['ap_after']:.4f}" in lines[4]
    assert figures["speed"][0]["backend"] == "onnxruntime" and figures["speed"][0]["times_as_fast"] > 0
    kinds = {node.op_type for node in read_model(place / "net-int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert main(["predict", f"model={place}/net-int8.onnx", f"source={place}/photos", "conf=0.02", "quiet=true"]) == 0


def test_what_is_there_is_never_replaced_without_being_asked(place, capsys):
    path = place / "kept.onnx"
    path.write_text("old")
    words = ("model=@net.onnx", "precision=fp16", "save=@kept.onnx", "speed=false")
    assert run(place, *words) == 1
    assert "exists already" in capsys.readouterr().err and path.read_text() == "old"
    assert run(place, *words, "overwrite=true") == 0
    assert capsys.readouterr().out.startswith(f"{path}: fp16, 2.75 MB (before: 5.40 MB)")
    assert yolokkn.load(path).input_hw == HW


def test_a_checkpoint_goes_by_way_of_export(place, capsys):
    words = (
        "@net.safetensors",
        "--images",
        "@photos",
        "--save",
        "@from.onnx",
        "--target",
        "tensorrt",
        "--speed",
        "false",
    )
    assert run(place, *words) == 0
    assert json.loads(read_model(place / "from.onnx").metadata["names"]) == ["person", "car"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--model FILE must be given"),
        (("model=@net.onnx",), 2, "--images SOURCE must be given: int8 is calibrated on real pictures"),
        (("model=@net.onnx", "images=@none"), 1, "none does not exist"),
        (("model=@net.onnx", "images=@data"), 1, "must hold images"),
        (("model=@none.onnx", "images=@photos"), 1, "none.onnx"),
        (("model=@net.onnx", "images=@photos", "protect=conv"), 2, "protect must name layers of"),
        (("model=@net.onnx", "images=@photos", "data=@photos"), 1, "no annotations at"),
        (("model=@net.onnx", "images=@photos", "save=@no/a.onnx"), 1, "the folder"),
        (("model=@net.onnx", "images=@photos", "methd=mse"), 2, "did you mean --method"),
    ],
)
def test_wrong_use_is_one_line(place, capsys, words, code, said):
    before = sorted(place.iterdir())
    fresh = () if not words or any(word.startswith("save") for word in words) else ("save=@fresh.onnx",)
    assert run(place, *words, *fresh) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert sorted(place.iterdir()) == before


def test_an_int8_model_is_not_quantised_again(place, capsys):
    assert run(place, "model=@net.onnx", "images=@photos", "save=@once.onnx", "speed=false") == 0
    assert run(place, "model=@once.onnx", "images=@photos", "save=@twice.onnx") == 1
    assert "must be a float32 model, got an int8 one" in capsys.readouterr().err
    assert run(place, "model=@once.onnx", "precision=fp16", "save=@twice.onnx") == 1


def test_few_and_empty_pictures_are_warned_of(place, capsys):
    (place / "black").mkdir()
    cv2.imwrite(str(place / "black" / "0.png"), np.zeros((90, 120, 3), np.uint8))
    cv2.imwrite(str(place / "black" / "1.png"), np.full((90, 120, 3), (200, 30, 90), np.uint8))
    for folder, num_images, flat in (("black", 2, 2), ("photos", 3, 0)):
        words = ("model=@net.onnx", f"images=@{folder}", f"save=@{folder}.onnx", "speed=false", "num_images=3")
        assert run(place, *words) == 0
        out, error = capsys.readouterr()
        assert ("calibrated on 3 of 4 pictures" if folder == "photos" else "calibrated on 2 pictures") in out
        assert f"warning: {num_images} pictures are few to calibrate on: 32 or more" in error
        assert (f"{flat} of the {num_images} pictures hardly vary" in error) == bool(flat)


def test_measuring_on_the_pictures_of_the_calibration_is_remarked(place, capsys):
    words = ("model=@net.onnx", "images=@data/val2017", "data=@data", "save=@same.onnx", "speed=false")
    assert run(place, *words) == 0
    assert "--images are the pictures that AP is measured on" in capsys.readouterr().err
