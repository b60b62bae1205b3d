"""`yolokkn quantize` as people run it: files, texts, exit codes."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import HW, PICTURE, fitted, save
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
    images, annotations = [], []
    for name in ("photos", "data/val2017", "data/annotations"):
        (folder / name).mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(folder / "photos" / f"{i}.png"), generator.integers(0, 255, (90, 120, 3), np.uint8))
    model = yolokkn.load(folder / "net.onnx", score_threshold=0.02, max_detections=5)
    for i in range(2):
        picture = np.ascontiguousarray(np.roll(PICTURE, 11 * i, 0))
        cv2.imwrite(str(folder / "data/val2017" / f"{i}.png"), picture)
        images.append({"id": i + 1, "file_name": f"{i}.png", "height": 90, "width": 120})
        for box, class_id in zip(model(picture).boxes.tolist(), model(picture).class_ids.tolist(), strict=True):
            x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": i + 1, "category_id": class_id + 1, "iscrowd": 0,
                    "bbox": [x, y, width, height], "area": width * height,
                }
            )  # fmt: skip
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "data/annotations/instances_val2017.json").write_text(json.dumps(content))
    return folder


def run(place, *argv):
    return main(["quantize", *(text.replace("@", f"{place}/") for text in argv)])


def test_int8_is_written_measured_and_explained(place, capsys):
    assert run(place, "model=@net.onnx", "images=@photos", "data=@data", "threads=1", "quiet=true") == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].startswith(f"{place}/net-int8.onnx: int8, ") and "(before: 5.40 MB)" in lines[0]
    assert lines[1] == "46 layers in int8, 3 left in float32"
    assert lines[2].startswith("  3: a last layer before the outputs: ")
    assert re.match(r"AP 0.99\d\d -> [01]\.\d{4} \([+-]", lines[3]) and "bbox on 2 pictures, onnxruntime" in lines[3]
    assert lines[4] == "the network alone, both in turn:" and lines[5].startswith("  onnxruntime: ")
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


def test_measuring_on_the_pictures_of_the_calibration_is_remarked(place, capsys):
    words = ("model=@net.onnx", "images=@data/val2017", "data=@data", "save=@same.onnx", "speed=false")
    assert run(place, *words) == 0
    assert "--images are the pictures that AP is measured on" in capsys.readouterr().err
