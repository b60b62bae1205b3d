"""The measurement in training against `evaluate coco` on the files themselves; masks of parts and holes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yolokkn.data.datasets import open_dataset
from yolokkn.data.sample import Sample
from yolokkn.evaluation.coco import CocoDataset, evaluate_coco
from yolokkn.evaluation.coco_masks import read_segmentations
from yolokkn.models import build_model, preset
from yolokkn.training.distributed import World
from yolokkn.training.validate import Validator, truth_rows

COUNT = 60
FILES = {"segment": "instances", "pose": "person_keypoints"}
KINDS = {"segment": ("bbox", "segm"), "pose": ("bbox", "keypoints")}


def almost_right(dataset: CocoDataset, image_ids):
    """Results that are off by a little, by more for some: figures between 0 and 1."""
    rng = np.random.default_rng(3)
    rows = []
    for a in dataset.annotations:
        if a.image_id not in image_ids or a.is_crowd or rng.random() < 0.15:
            continue
        x, y, w, h = a.box_xywh
        move = rng.normal(0, 0.08, 2) * (w, h)
        row = {"image_id": a.image_id, "category_id": a.category_id, "score": float(rng.random())}
        row["bbox"] = [x + move[0], y + move[1], w, h]
        if isinstance(a.segmentation, list):
            row["segmentation"] = [(np.reshape(p, (-1, 2)) + move).ravel().tolist() for p in a.segmentation]
        if a.keypoints is not None:
            points = np.reshape(a.keypoints, (-1, 3)) + np.pad(
                rng.normal(0, 0.06 * np.sqrt(a.area), (17, 2)), ((0, 0), (0, 1))
            )
            row["keypoints"] = points.ravel().tolist()
        rows.append(row)
    return rows


@pytest.mark.parametrize("task", FILES)
def test_the_figures_are_those_of_evaluate_coco(shared_data, task):
    file = CocoDataset.load(shared_data / "coco" / "annotations" / f"{FILES[task]}_val2017.json")
    dataset = open_dataset(shared_data / "coco", "val", task=task)
    network = build_model(preset("yolovkkn2-p", dataset.class_names, task, width=0.25, imgsz=(32, 32))).eval()
    for parameter in network.parameters():
        parameter.data.zero_()  # nothing is found: it is the ground truth that is compared
    world = World(0, 1, torch.device("cpu"))
    validator = Validator(dataset, task, world, class_names=dataset.class_names, num_images=COUNT, score_threshold=0.9)
    measured = validator.measure(network)
    image_ids = [int(dataset.image_ids[i]) for i in validator.indices]
    results = almost_right(file, set(image_ids))
    number = {own: place + 1 for own, place in zip(image_ids, validator.indices, strict=True)}
    class_of = {category.id: i + 1 for i, category in enumerate(file.categories)}
    renamed = [r | {"image_id": number[r["image_id"]], "category_id": class_of[r["category_id"]]} for r in results]
    for kind in KINDS[task]:
        theirs = evaluate_coco(file, results, iou_type=kind, image_ids=image_ids).figures
        mine = evaluate_coco(measured.dataset, renamed, iou_type=kind).figures
        assert 0.2 < theirs["AP"] < 0.9
        assert mine == pytest.approx(theirs, abs=1e-6), kind


def square(x1, y1, x2, y2, *, turned=False):
    ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    return ring[::-1] if turned else ring


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("other", "area"), [((30, 10, 40, 20), 500.0), ((15, 15, 25, 25), 300.0)], ids=["part", "hole"]
)
def test_masks_of_several_rings(other, area, turned):
    rings = (square(10, 10, 30, 30), square(*other, turned=turned))
    sample = Sample(
        np.zeros((50, 60, 3), np.uint8), np.array([[10, 10, 40, 30]], np.float32), np.zeros(1, int), (rings,)
    )
    row = truth_rows(sample, 1)[1][0]
    assert row["area"] == area
    (mask,) = read_segmentations([row["segmentation"]], [(50, 60)]).areas().tolist()
    assert mask == area
    assert truth_rows(sample, 1, np.array([123.0]))[1][0]["area"] == 123.0
    assert truth_rows(sample, 1, np.array([np.nan]))[1][0]["area"] == area
