"""What a command reads is never replaced, whatever --overwrite says; and where results go when nothing is said."""

from __future__ import annotations

import os
import shutil

import cv2
import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import fitted, label_pictures, save
from yolokkn.cli import main
from yolokkn.deploy import build_onnx
from yolokkn.files import what_is_read

pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read")
    network = fitted("yolovkkn2-p", "detect")
    (folder / "net.onnx").write_bytes(build_onnx(network, verify=False)[0])
    save(network, folder / "net.safetensors")
    (folder / "photos").mkdir()
    picture = np.random.default_rng(5).integers(0, 255, (90, 120, 3), np.uint8)
    cv2.imwrite(str(folder / "photos" / "0.png"), picture)
    label_pictures(folder / "data", yolokkn.load(folder / "net.onnx", score_threshold=0.02, max_detections=5))
    (folder / "classes.txt").write_text("person\ncar\n")
    (folder / "gt.txt").write_text("1,1,10,10,20,20,1,1,1\n")
    (folder / "kkn.yaml").write_text("tracker_type: kkn\n")
    return folder


@pytest.fixture
def place(original, tmp_path, monkeypatch):
    """A fresh copy in a folder of one's own, which is the current one; with another name for the model."""
    shutil.copytree(original, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    os.symlink("net.onnx", "link.onnx")
    os.link("net.onnx", "hard.onnx")
    return tmp_path / "here"


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        "quantize net.onnx --images photos --save net.onnx",
        "quantize net.onnx --precision fp16 --save net.onnx",
        "quantize net.onnx --precision fp16 --save link.onnx",
        "quantize net.onnx --precision fp16 --save hard.onnx",
        "quantize link.onnx --precision fp16 --save photos/../net.onnx",
        "quantize net.safetensors --precision fp16 --save net.safetensors",
        "export net.safetensors --save net.safetensors",
        "export net.onnx --save net.onnx",
        "export net.onnx --format engine --save net.onnx",
        "doctor net.onnx photos/0.png --json net.onnx",
        "doctor net.onnx photos/0.png --json photos/0.png",
        "doctor net.onnx photos/0.png --reference hard.onnx --json hard.onnx",
        "doctor net.onnx photos/0.png --names classes.txt --json classes.txt",
        "predict --model net.onnx --source photos --save mot:net.onnx",
        "predict --model net.onnx --source photos --stats net.onnx",
        "predict --model net.onnx --source photos --stats photos/0.png",
        "predict --model net.onnx --names classes.txt --source photos/*.png --save mot:classes.txt",
        "track --model net.onnx --source photos --tracker kkn.yaml --stats kkn.yaml",
        "evaluate coco --model net.onnx --data data --json net.onnx",
        "evaluate coco --model net.onnx --data data --json data/annotations/instances_val2017.json",
        "evaluate coco --model net.onnx --data data --save coco:data/annotations/instances_val2017.json",
        "evaluate mot --gt gt.txt --results gt.txt --json gt.txt",
        "data preview photos --save photos/0.png",
        "tune --gt gt.txt --detections gt.txt --tracker kkn.yaml --save kkn.yaml",
    ],
)
def test_what_is_read_is_never_replaced(place, words, capsys):
    before = contents(place)
    assert main([*words.split(), "--overwrite"]) in (1, 2)
    error = capsys.readouterr().err
    assert "what is read" in error or "must end in" in error or "what the source reads" in error or "--format" in error
    assert error.count("\n") == 1 and contents(place) == before


def test_results_of_before_may_lie_beside_the_data(place):
    folder = place / "data"
    (folder / "figures.json").write_text("{}")
    assert what_is_read(folder / "figures.json", [folder]) is None
    assert what_is_read(folder / "annotations" / "instances_val2017.json", [folder]) == folder
    assert what_is_read(next((folder / "val2017").iterdir()), [folder]) == folder
    assert what_is_read(folder / "new.png", [folder]) is None
    assert what_is_read(place / "net.onnx", ["0", "rtsp://host/stream", "no\0thing"]) is None
    words = f"evaluate coco --model net.onnx --data {folder} --json {folder}/figures.json --quiet --overwrite"
    assert main(words.split()) == 0
    assert "AP50" in (folder / "figures.json").read_text()


def test_without_save_results_go_into_the_current_folder(place, monkeypatch, capsys):
    (place / "work").mkdir()
    monkeypatch.chdir(place / "work")
    before = contents(place)
    assert main("quantize ../net.onnx --precision fp16 --speed false".split()) == 0
    assert main("export ../net.safetensors".split()) == 0
    made = {path.relative_to(place) for path in set(contents(place)) - set(before)}
    assert {str(path) for path in made} == {"work/net-fp16.onnx", "work/net.onnx"}
    for verb in ("quantize", "export"):
        assert main([verb, "--help"]) == 0
        assert "in the current folder" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", ["quantize net.onnx --precision fp16", "export net.safetensors"])
def test_another_suffix_is_refused(place, words, capsys):
    assert main([*words.split(), "--save", "weird.txt"]) == 2
    assert "--save must end in .onnx, got weird.txt" in capsys.readouterr().err
    assert not (place / "weird.txt").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_found_before_the_work(place, capsys):
    (place / "closed").mkdir(mode=0o500)
    assert main("quantize net.onnx --images nowhere --save closed/a.onnx".split()) == 1
    assert "cannot be made: Permission denied" in capsys.readouterr().err
