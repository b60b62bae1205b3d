"""The drawn data set: the same by seed, exact labels, files that the readers take without a complaint."""

import json

import numpy as np
import pytest

from yolokkn.cli.data_toy import main
from yolokkn.data.datasets import open_dataset
from yolokkn.data.rings import fill_rings
from yolokkn.data.toy import ToyScene, ToySet, draw_scene, write_toy

PEOPLE = ToyScene((160, 192), persons=True, max_objects=5)
SMALL = ToySet(num_train=6, num_val=3, seed=3, scene=PEOPLE)


def test_the_same_seed_draws_the_same():
    one, again, other, next_one = (draw_scene(s, i, PEOPLE) for s, i in ((1, 2), (1, 2), (2, 2), (1, 3)))
    assert (one.image == again.image).all() and (one.boxes == again.boxes).all()
    assert one.image.shape == other.image.shape == (160, 192, 3)
    assert (one.image != other.image).any() and (one.image != next_one.image).any()


def test_labels_are_what_is_seen():
    classes = set()
    occluded = hidden = 0
    for index in range(40):
        sample = draw_scene(0, index, PEOPLE)
        assert 1 <= len(sample) <= 5
        h, w = sample.image.shape[:2]
        claimed = np.zeros((h, w), int)
        for box, rings, class_id, points in zip(
            sample.boxes, sample.masks, sample.class_ids, sample.keypoints, strict=True
        ):
            classes.add(int(class_id))
            mask = fill_rings(rings, (h, w)) > 0
            ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            np.testing.assert_allclose(box, [xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], atol=1.01)
            claimed += mask
            occluded += len(rings) > 1
            labelled = points[:, 2] > 0
            assert labelled.any() == (PEOPLE.class_names[class_id] == "person")
            hidden += int((points[:, 2] == 1).sum())
            for x, y, visibility in points[labelled]:
                assert 0 <= x <= w and 0 <= y <= h
                if visibility == 2:
                    assert mask[max(int(y) - 2, 0) : int(y) + 3, max(int(x) - 2, 0) : int(x) + 3].any()
        assert (claimed > 1).mean() < 0.01  # outlines touch, objects do not share pixels
    assert classes == {0, 1, 2, 3} and occluded and hidden


def same_labels(dataset, indices, toy, *, atol):
    for place, index in enumerate(indices):
        sample, drawn = dataset.load(place), draw_scene(toy.seed, index, toy.scene)
        np.testing.assert_allclose(sample.boxes, drawn.boxes, atol=atol)
        np.testing.assert_array_equal(sample.class_ids, drawn.class_ids)
        assert np.abs(sample.image.astype(int) - drawn.image).mean() < 6  # JPEG
        yield sample, drawn


@pytest.mark.parametrize("task", ["detect", "segment", "pose", "segment-pose"])
def test_coco_files_are_read_back(task, tmp_path):
    where = write_toy(tmp_path / "toy", SMALL)
    for split, indices in (("train", range(6)), ("val", range(6, 9))):
        dataset = open_dataset(where, split, task=task, names=PEOPLE.class_names if "pose" in task else None)
        assert dataset.report.ok, dataset.report.text()
        if "pose" in task:
            people = [draw_scene(3, i, PEOPLE) for i in indices]
            wanted = [s.keypoints[s.class_ids == 3] for s in people]
            for place, points in enumerate(wanted):
                found = dataset.load(place).keypoints
                np.testing.assert_allclose(found, points, atol=0.06)
            continue
        assert dataset.class_names == PEOPLE.class_names
        for sample, drawn in same_labels(dataset, indices, SMALL, atol=1e-3):
            if task == "segment":
                for mine, rings in zip(sample.masks, drawn.masks, strict=True):
                    hw = drawn.image.shape[:2]
                    assert (fill_rings(mine, hw) != fill_rings(rings, hw)).mean() < 2e-3


@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
def test_yolo_files_are_read_back(task, tmp_path):
    toy = ToySet(num_train=6, num_val=3, format="yolo", task=task, scene=PEOPLE)
    where = write_toy(tmp_path / "toy", toy)
    assert where.name == "data.yaml"
    dataset = open_dataset(where, "val", task=task)
    assert dataset.report.ok, dataset.report.text()
    assert dataset.class_names == PEOPLE.class_names and len(dataset) == 3
    if task == "segment":
        return  # one outline a row: parts behind something are left out
    for sample, drawn in same_labels(dataset, range(6, 9), toy, atol=0.02):
        if task == "pose":
            np.testing.assert_allclose(sample.keypoints, drawn.keypoints, atol=0.02)


def test_the_command_line(tmp_path, capsys):
    folder = tmp_path / "toy"
    argv = ["--save", str(folder), "train=2", "--val", "1", "imgsz=96x128", "persons", "seed=5"]
    assert main([a if a != "persons" else "--persons" for a in argv]) == 0
    out = capsys.readouterr().out
    assert "2 pictures to train on and 1 to evaluate on, 96 x 128: ball, box, star, person" in out
    content = json.loads((folder / "annotations/instances_train.json").read_text())
    assert [(i["height"], i["width"]) for i in content["images"]] == [(96, 128)] * 2
    assert len(list(folder.glob("*/*.jpg"))) == 3
    first = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    again = tmp_path / "again"
    assert main(["--save", str(again), "train=2", "val=1", "imgsz=96x128", "persons=true", "seed=5"]) == 0
    assert {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()} == first
    assert main(["--save", str(folder)]) == 1
    assert "must be a new or an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["format=voc"], "format must be one of coco, yolo, got 'voc'"),
        (["task=segmet"], "did you mean segment"),
        (["task=pose"], "must have persons for the task pose"),
        (["imgsz=20"], "hw must be two sides within 64 and 2048"),
        (["seed=-1"], "seed must be 0 or more"),
        (["objects=99"], "max_objects must be within 1 and 50"),
    ],
)
def test_what_does_not_fit(argv, text, tmp_path, capsys):
    assert main(["--save", str(tmp_path / "toy"), *argv]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1 and not (tmp_path / "toy").exists()
