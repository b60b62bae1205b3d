"""Models that come with the package: found by name, absent ones said plainly."""

import json

import numpy as np
import pytest

import yolokkn
from tests.recorded import cell_heads, recorded_model
from yolokkn.cli import main
from yolokkn.errors import ModelError
from yolokkn.runtime import assets

PICTURE = np.zeros((64, 64, 3), np.uint8)
CARD = "# Cats and dogs\n\nFinds cats\nand dogs.\n\n## Data\n\nNone.\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of embedded models with a default and one more; neither is trained."""
    table = cell_heads(6)
    table[5] = 30, 30, 20, 12, 0, 0.9
    names = {"task": "detect", "names": "{0: 'cat', 1: 'dog'}", "imgsz": "[64, 64]"}
    there = tmp_path / "assets"
    there.mkdir()
    for name in ("aardvarks", "person-vehicle"):
        (there / f"{name}.onnx").write_bytes(recorded_model({"output0": table.T[None].copy()}, metadata=names))
    (there / "aardvarks.md").write_text(CARD)
    monkeypatch.setattr(assets, "FOLDER", there)
    return there


def test_load_by_name_and_by_default(folder, tmp_path, monkeypatch):
    assert list(assets.embedded_models()) == ["person-vehicle", "aardvarks"]
    assert yolokkn.load("aardvarks").name == "aardvarks.onnx"
    model = yolokkn.load()
    assert model.name == "person-vehicle.onnx" and model(PICTURE).class_ids.tolist() == [1]
    assert [len(tracks) for _, tracks in yolokkn.track(PICTURE)] == [1]
    assert [len(found) for _, found in yolokkn.predict(PICTURE, model="aardvarks", score_threshold=0.95)] == [0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aardvarks").write_bytes(b"a file of this name is that file")
    with pytest.raises(ModelError, match="aardvarks"):
        yolokkn.load("aardvarks")


def test_the_command_line_takes_names_and_the_default(folder, tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert main(["predict", "--source", str(_picture(tmp_path)), "--save", str(out)]) == 0
    assert json.loads(out.read_text())["class_names"] == ["dog"]
    assert main(["track", "--model", "aardvarks", "--source", str(_picture(tmp_path)), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["info", "aardvarks"]) == 0
    assert "aardvarks.onnx" in capsys.readouterr().out


def _picture(tmp_path):
    import cv2

    path = tmp_path / "p.png"
    cv2.imwrite(str(path), PICTURE)
    return path


def test_info_lists_them(folder, capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "person-vehicle (the default of track and predict)\n    detect, 64 x 64, 0.0 MB: cat, dog" in text
    assert "aardvarks\n    detect, 64 x 64, 0.0 MB: cat, dog\n    Finds cats and dogs.\n" in text
    assert main(["info", "json=true"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [f["is_default"] for f in facts] == [True, False] and facts[1]["summary"] == "Finds cats and dogs."


def test_absent_ones_are_said_plainly(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(assets, "FOLDER", tmp_path / "none")
    with pytest.raises(
        ModelError, match=r"carries no default model 'person-vehicle' \(models that come with it: none\)"
    ):
        yolokkn.load()
    with pytest.raises(FileNotFoundError, match="no such file: people-seg; models that come with yolokkn: none"):
        yolokkn.load("people-seg")
    with pytest.raises(FileNotFoundError, match=r"no such file: people\.onnx$"):
        yolokkn.load("people.onnx")
    assert main(["track", "--source", str(_picture(tmp_path))]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "name an .onnx file: --model FILE" in error
    assert main(["info"]) == 0
    assert "no model comes with this installation" in capsys.readouterr().out


def test_the_nearest_name_is_named(folder):
    with pytest.raises(FileNotFoundError, match="no such file: ardvark; did you mean aardvarks"):
        yolokkn.load("ardvark")
