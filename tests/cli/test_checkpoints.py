"""Checkpoints on the command line: export, info, predict, track, evaluate."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.deploy.networks import fitted, save
from yolokkn.cli import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    save(fitted("yolovkkn2-p", "segment-pose"), path)
    return path


def run(*argv):
    return main([str(a) for a in argv])


def voc_folder(folder, count=4, names=("person",)):
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        cv2.imwrite(str(folder / "JPEGImages" / f"{i}.jpg"), rng.integers(0, 255, (60, 80, 3), np.uint8))
        box = "<xmin>11</xmin><ymin>21</ymin><xmax>40</xmax><ymax>50</ymax>"
        thing = "".join(
            f"<object><name>{n}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>" for n in names
        )
        size = "<size><width>80</width><height>60</height><depth>3</depth></size>"
        (folder / "Annotations" / f"{i}.xml").write_text(f"<annotation>{size}{thing}</annotation>")
    (folder / "ImageSets/Main/test.txt").write_text("".join(f"{i}\n" for i in range(count)))
    return folder


def test_export_then_everything_runs_on_both(checkpoint, tmp_path, capsys):
    onnx = tmp_path / "best.onnx"
    assert run("export", checkpoint, "save=" + str(onnx)) == 0
    out = capsys.readouterr().out
    assert "largest difference to the network: detections" in out and "layout v8-seg-pose" in out
    assert run("export", "--model", checkpoint, "--save", onnx) == 1
    assert "exists already" in capsys.readouterr().err
    assert run("export", checkpoint, "--save", onnx, "--overwrite", "--half", "batch=free", "imgsz=64") == 0
    assert "stored as float16" in capsys.readouterr().out
    assert run("export", checkpoint, "--save", onnx, "--overwrite") == 0
    pictures = voc_folder(tmp_path / "voc") / "JPEGImages"
    rows = []
    for model in (checkpoint, onnx):
        lines = tmp_path / f"{model.suffix[1:]}.jsonl"
        assert run("predict", "--model", model, pictures, "--save", lines, "conf=0.02", "max_det=5", "quiet=true") == 0
        rows.append([json.loads(line) for line in lines.read_text().splitlines()])
    assert [row["class_ids"] for row in rows[0]] == [row["class_ids"] for row in rows[1]]
    assert all(len(row["keypoints"]) == len(row["masks"]) == len(row["boxes"]) for row in rows[0])
    for ours, theirs in zip(*rows, strict=True):
        np.testing.assert_allclose(ours["boxes"], theirs["boxes"], atol=0.05)


def test_info_of_a_checkpoint(checkpoint, capsys):
    assert run("info", checkpoint, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["layout"], facts["backend"], facts["num_keypoints"]) == ("v8-seg-pose", "torch", 17)
    assert facts["parameters"] > 500_000 and facts["gflops"] > 0


def test_evaluate_voc(checkpoint, tmp_path, capsys):
    data, figures = voc_folder(tmp_path / "voc"), tmp_path / "f.json"
    assert run("evaluate", "voc", "--model", checkpoint, "--data", data, "--json", figures, "quiet=true") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("mean")
    found = json.loads(figures.read_text())
    assert found["per_class"]["person"]["num_truths"] == 4
    assert found["confusion_matrix"]["class_names"][-1] == "background"
    assert run("evaluate", "voc", "--model", checkpoint, "--data", data, "--split", "no") == 1
    assert "split must be one of test, got 'no'" in capsys.readouterr().err
    assert run("evaluate", "voc", "--model", checkpoint) == 2
    assert "give --data DIR" in capsys.readouterr().err
    assert run("evaluate", "voc", "--model", checkpoint, "--data", data, "iou_type=segm") == 2
    assert "--iou-type is for evaluate coco" in capsys.readouterr().err


def test_evaluate_voc_measures_the_classes_that_the_model_has(checkpoint, tmp_path, capsys):
    data, figures = voc_folder(tmp_path / "voc", names=("person", "sheep")), tmp_path / "f.json"
    assert run("evaluate", "voc", "--model", checkpoint, "--data", data, "--json", figures) == 0
    assert "2 of 20 categories, those that the model gives" in capsys.readouterr().err
    found = json.loads(figures.read_text())["per_class"]
    assert found["person"]["ap_area"] is not None and found["person"]["num_truths"] == 4
    assert found["sheep"]["ap_area"] is None and found["sheep"]["num_truths"] == 0


@pytest.mark.parametrize(("iou_type", "num_figures"), [("bbox", 12), ("segm", 12), ("keypoints", 10)])
def test_evaluate_coco_of_every_kind(checkpoint, tmp_path, capsys, iou_type, num_figures):
    images = tmp_path / "val"
    images.mkdir()
    cv2.imwrite(str(images / "1.jpg"), np.full((60, 80, 3), 90, np.uint8))
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 30], "area": 900, "iscrowd": 0}
    person |= {"segmentation": [[10, 20, 40, 20, 40, 50, 10, 50]], "keypoints": [20, 30, 2] * 17, "num_keypoints": 17}
    categories = [{"id": 1, "name": "person"}]
    categories += [{"id": 3, "name": "car"}, {"id": 9, "name": "boat"}] if iou_type != "keypoints" else []
    content = {"images": [{"id": 1, "file_name": "1.jpg", "height": 60, "width": 80}], "annotations": [person]}
    (tmp_path / "val.json").write_text(json.dumps({**content, "categories": categories}))
    figures = tmp_path / "f.json"
    arguments = ("--annotations", tmp_path / "val.json", "--images", images, "--iou-type", iou_type, "--json", figures)
    assert run("evaluate", "coco", "--model", checkpoint, *arguments) == 0
    out = capsys.readouterr()
    assert len(json.loads(figures.read_text())["figures"]) == num_figures
    assert ("2 of 3 categories" in out.err) == (iou_type != "keypoints")


def test_evaluate_coco_shows_boxes_and_what_more_there_is(checkpoint, tmp_path, capsys):
    images = tmp_path / "val"
    images.mkdir()
    cv2.imwrite(str(images / "1.jpg"), np.full((60, 80, 3), 90, np.uint8))
    person = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 30], "area": 900, "iscrowd": 0}
    person |= {"segmentation": [[10, 20, 40, 20, 40, 50, 10, 50]]}
    content = {"images": [{"id": 1, "file_name": "1.jpg", "height": 60, "width": 80}], "annotations": [person]}
    categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
    (tmp_path / "val.json").write_text(json.dumps({**content, "categories": categories}))
    arguments = ("--annotations", tmp_path / "val.json", "--images", images, "--json", tmp_path / "f.json")
    assert run("evaluate", "coco", "--model", checkpoint, *arguments) == 0
    tables = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if ": " in line]
    assert tables == ["bbox", "segm"]
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["iou_type"] == "segm" and figures["bbox"]["iou_type"] == "bbox"


def test_options_that_a_checkpoint_has_no_use_for(checkpoint, capsys):
    assert run("info", checkpoint, "layout=v8") == 2
    assert "--layout is for model files" in capsys.readouterr().err
    assert run("export", checkpoint.with_name("no.safetensors")) == 1
    assert "No such file" in capsys.readouterr().err


def test_export_in_another_layout(checkpoint, tmp_path, capsys):
    path = tmp_path / "finished.onnx"
    assert run("export", checkpoint, "--layout", "end2end", "--conf", "0.3", "max_det=20", f"save={path}") == 0
    assert "layout end2end-seg-pose: detections (1, 20, 89)" in capsys.readouterr().out
    assert run("info", path) == 0
    assert "end2end" in capsys.readouterr().out
    assert run("export", checkpoint, "--conf", "0.3", f"save={tmp_path / 'a.onnx'}") == 2
    assert "--max-det are of --layout end2end and efficientnms" in capsys.readouterr().err
    assert run("export", checkpoint, "--layout", "v8", f"save={tmp_path / 'a.onnx'}") == 2
    assert not (tmp_path / "a.onnx").exists()
