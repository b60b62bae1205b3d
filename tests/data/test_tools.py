"""Anchors, previews, and the command line of datasets."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.data.files import many_shapes, thing, write_coco
from yolokkn.cli import main
from yolokkn.data.anchors import box_sizes, kmeans_anchors
from yolokkn.data.augment import AugmentConfig
from yolokkn.data.datasets import open_dataset
from yolokkn.data.preview_grid import preview


def test_anchors_find_the_clusters():
    rng = np.random.default_rng(0)
    true = np.array([[12, 16], [30, 60], [120, 90]], float)
    sizes = np.concatenate([t * rng.normal(1, 0.03, (200, 2)) for t in true])
    fit = kmeans_anchors(sizes, 3, seed=1)
    np.testing.assert_allclose(fit.anchors, true, rtol=0.03)
    assert fit.best_possible_recall == 1 and fit.mean_iou > 0.93
    assert fit.levels(3)[1][0] == (pytest.approx(30, rel=0.03), pytest.approx(60, rel=0.03))
    assert np.array_equal(kmeans_anchors(sizes, 3, seed=1).anchors, fit.anchors)
    evolved = kmeans_anchors(rng.lognormal(3.5, 0.8, (400, 2)), 4, generations=100)
    assert evolved.mean_iou >= kmeans_anchors(rng.lognormal(3.5, 0.8, (400, 2)), 4).mean_iou - 0.05
    with pytest.raises(ValueError, match="at least as many boxes"):
        kmeans_anchors(sizes[:2], 3)
    with pytest.raises(ValueError, match="must divide 3"):
        fit.levels(2)


def test_anchors_are_of_letterboxed_pictures(tmp_path):
    dataset = open_dataset(write_coco(tmp_path, [thing(1, bbox=(0, 0, 40, 30)), thing(2, 1, iscrowd=1)]))
    assert box_sizes(dataset, 160).tolist() == [[80, 60]]


def test_preview_shows_and_keeps(tmp_path):
    dataset = open_dataset(many_shapes(tmp_path), task="segment-pose")
    grid = preview(dataset, count=4, imgsz=96)
    assert grid.shape == (196, 196, 3) and grid.dtype == np.uint8
    assert preview(dataset, count=3, imgsz=96, columns=3, augment_config=AugmentConfig()).shape == (96, 296, 3)
    assert np.array_equal(grid, preview(dataset, count=4, imgsz=96))


def test_command_line(tmp_path, capsys):
    root = many_shapes(tmp_path / "set")
    assert main(["data", "check", str(root), "--task", "pose"]) == 0
    out = capsys.readouterr().out
    assert "coco, split train" in out and "nothing wrong" in out and "36 with keypoints" in out
    file = tmp_path / "x.png"
    assert main(["data", "preview", str(root), "--save", str(file), "--count", "4", "--augment"]) == 0
    assert cv2.imread(str(file)).shape == (836, 836, 3)
    assert main(["data", "preview", str(root), "--save", str(file)]) == 1
    assert "exists already" in capsys.readouterr().err
    assert main(["data", "anchors", f"data={root}", "count=3", "imgsz=160"]) == 0
    assert "best possible recall" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (["chek"], 2, "did you mean check"),
        (["check"], 2, "--data PATH must be given"),
        (["check", "none/"], 1, "got nothing there"),
        (["check", ".", "--taks", "pose"], 2, "did you mean --task"),
        (["preview", ".", "--save", "x.jpg"], 2, "must be a .png file"),
        ([], 2, ""),
    ],
)
def test_command_lines_that_are_wrong(line, code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *line]) == code
    assert words in capsys.readouterr().err


def test_strict_fails_and_says_why(tmp_path, capsys):
    root = write_coco(tmp_path, [thing(1, bbox=(5, 5, 0, 0))])
    assert main(["data", "check", str(root)]) == 0 and "zero area: 1" in capsys.readouterr().out
    assert main(["data", "check", str(root), "--strict"]) == 1 and "zero area" in capsys.readouterr().err
