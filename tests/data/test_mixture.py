"""Mixtures: several datasets by one YAML file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from yolokkn.data import open_dataset
from yolokkn.errors import DataError, YolokknError


def yolo_folder(root, names, count, start=0):
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    for i in range(count):
        picture = np.full((40, 60, 3), (start + i) % 250, np.uint8)
        cv2.imwrite(str(root / f"images/{root.name}{i}.png"), picture)
        (root / f"labels/{root.name}{i}.txt").write_text(f"{i % len(names)} 0.5 0.5 0.4 0.4\n")
    listed = ", ".join(names)
    (root / "data.yaml").write_text(f"train: images\nval: images\nnames: [{listed}]\n")


@pytest.fixture
def mixture(tmp_path):
    yolo_folder(tmp_path / "streets", ("motorbike", "person", "tree"), 10)
    yolo_folder(tmp_path / "crowd", ("human",), 20, start=100)
    file = tmp_path / "mix.yaml"
    file.write_text(
        "names: [person, motorcycle]\n"
        "train:\n"
        "  - {data: streets, weight: 2}\n"
        "  - {data: crowd, classes: {human: person}, fifth: rest}\n"
        "val:\n"
        "  - {data: crowd, classes: {human: person}, fifth: aside, split: val}\n"
    )
    return file


def test_parts_share_classes_weights_and_what_is_set_aside(mixture):
    train, val = open_dataset(mixture, "train"), open_dataset(mixture, "val")
    assert train.class_names == ("person", "motorcycle")
    assert len(train) - 10 + len(val) == 20 and len(val) > 0
    assert not set(train.image_ids) & set(val.image_ids)
    assert train.weights is not None and train.weights[:10].tolist() == [2.0] * 10
    classes = [train.load(i).class_ids.tolist() for i in range(3)]
    assert classes == [[1], [0], []], "motorbike is motorcycle, trees are no class"


def test_copies_count_once_and_are_never_measured_on(mixture):
    folder = mixture.parent / "streets"
    for name in ("copy", "again"):
        (folder / f"images/{name}.png").write_bytes((folder / "images/streets3.png").read_bytes())
        (folder / f"labels/{name}.txt").write_text("")
    parts = "- {data: streets}\n  - {data: crowd, classes: {human: person}, fifth: rest}\n"
    tests = "- {data: streets}\n  - {data: crowd, classes: {human: person}}\n"
    text = f"names: [person]\nunique: true\ntrain:\n  {parts}test:\n  {tests}"
    mixture.write_text(text)
    train, test = open_dataset(mixture, "train"), open_dataset(mixture, "test")
    assert sum("streets" in path.parts for path in train.paths) == 10, "twelve files, ten pictures"
    assert len(train) + len(test) == 30 and not set(train.paths) & set(test.paths)
    mixture.write_text(text.replace("unique: true\n", ""))
    assert len(open_dataset(mixture, "test")) == 32


def test_pictures_without_their_labels(mixture):
    mixture.write_text("names: [boat]\ntrain:\n  - {data: crowd, labelled: false}\n")
    pictures = open_dataset(mixture, "train")
    assert len(pictures) == 20 and pictures.class_names == ("boat",)
    assert not any(len(pictures.load(i)) for i in range(20)) and pictures.report.num_objects == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [person]\ntrain:\n  - {data: streets, wight: 2}\n", "did you mean weight"),
        ("names: [person]\ntrain:\n  - {data: nowhere}\n", "nothing there"),
        ("names: [boat]\ntrain:\n  - {data: streets}\n", "give a mapping"),
        ("names: [person]\nval:\n  - {data: streets}\n", "none for 'train'"),
    ],
)
def test_what_is_wrong_is_said(mixture, text, message):
    mixture.write_text(text)
    with pytest.raises((DataError, YolokknError), match=message):
        open_dataset(mixture, "train")
