"""COCO data sets and results made at random, with every hard case in them, and the reference tool as an oracle."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest

from yolokkn.evaluation.coco import CocoDataset, evaluate_coco

AREA_EDGES = (32.0**2, 96.0**2)


def oracle(content: dict[str, Any], results: list[dict[str, Any]], iou_type: str, **params: Any) -> np.ndarray:
    """The figures of pycocotools, in its order."""
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    coco = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = copy.deepcopy(content)
        truth.dataset.setdefault("info", {})
        truth.createIndex()
        if results:
            found = truth.loadRes(copy.deepcopy(results))
        else:
            found = coco.COCO()
            found.dataset = {"images": [], "annotations": [], "categories": []}
            found.createIndex()
        run = cocoeval.COCOeval(truth, found, iou_type)
        for name, value in params.items():
            setattr(run.params, name, value)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.array(run.stats)


def random_content(rng: np.random.Generator, iou_type: str, num_images: int = 6, num_categories: int = 4):
    """A data set whose last category and last picture have nothing in them; areas sit on the ranges' edges at times."""
    images = [
        {
            "id": int(i),
            "file_name": f"{i}.jpg",
            "height": int(rng.integers(60, 200)),
            "width": int(rng.integers(60, 200)),
        }
        for i in rng.permutation(np.arange(1, 4 * num_images))[:num_images]
    ]
    categories = [{"id": 3 * i + 2, "name": f"thing {i}"} for i in range(num_categories)]
    annotations: list[dict[str, Any]] = []
    for image in images[:-1]:
        for _ in range(rng.integers(0, 9)):
            category = categories[rng.integers(0, max(num_categories - 1, 1))]
            annotations.append(_annotation(rng, len(annotations) + 1, image, category["id"], iou_type))
    rng.shuffle(annotations)  # type: ignore[arg-type]
    return {"images": images, "categories": categories, "annotations": annotations}


def _annotation(rng, number, image, category_id, iou_type):
    x, y, w, h = _box(rng, image)
    area = float(rng.choice([w * h * 0.7, w * h, *AREA_EDGES, 0.0], p=[0.4, 0.4, 0.08, 0.08, 0.04]))
    crowd = int(rng.random() < 0.15)
    row = {"id": number, "image_id": image["id"], "category_id": category_id, "iscrowd": crowd, "area": area}
    row["bbox"] = [x, y, w, h]
    if iou_type == "segm":
        row["segmentation"] = random_rle(rng, image, [x, y, w, h]) if crowd else random_polygons(rng, [x, y, w, h])
    if iou_type == "keypoints":
        v = rng.integers(0, 3, 17) * (rng.random() < 0.85)
        points = np.stack([rng.uniform(x, x + w, 17).round(), rng.uniform(y, y + h, 17).round(), v], axis=1)
        row["keypoints"] = (points * (v > 0)[:, None]).ravel().tolist()
        row["num_keypoints"] = int((v > 0).sum())
    return row


def _box(rng, image):
    w, h = rng.uniform(4, image["width"]), rng.uniform(4, image["height"])
    x, y = rng.uniform(0, image["width"] - w), rng.uniform(0, image["height"] - h)
    return [round(float(v), int(rng.integers(0, 3))) for v in (x, y, w, h)]


def random_polygons(rng: np.random.Generator, box: list[float]) -> list[list[float]]:
    """One to three polygons about a box: convex or tangled, partly outside the picture, some closed by hand."""
    x, y, w, h = box
    polygons = []
    for _ in range(rng.integers(1, 4)):
        count = int(rng.integers(3, 12))
        angle = rng.uniform(0, 2 * np.pi, count)
        if rng.random() < 0.7:
            angle.sort()
        radius = rng.uniform(0.2, 0.75, count)
        points = np.stack([x + w * (0.5 + radius * np.cos(angle)), y + h * (0.5 + radius * np.sin(angle))], axis=1)
        if rng.random() < 0.3:
            points = np.concatenate([points, points[:1]])
        polygons.append(points.round(int(rng.integers(0, 4))).ravel().tolist())
    return polygons


def random_rle(rng: np.random.Generator, image: dict[str, Any], box: list[float], packed: bool | None = None):
    """A noisy blob as a run-length encoding, as a string or as counts."""
    mask_tool = pytest.importorskip("pycocotools.mask")
    bitmap = np.zeros((image["height"], image["width"]), np.uint8, order="F")
    x, y, w, h = (int(v) for v in box)
    bitmap[max(y, 0) : y + h + 1, max(x, 0) : x + w + 1] = 1
    bitmap &= (rng.random(bitmap.shape) < 0.9).astype(np.uint8)
    rle = mask_tool.encode(bitmap)
    if rng.random() < 0.5 if packed is None else packed:
        return {"size": rle["size"], "counts": rle["counts"].decode()}
    flat = bitmap.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=1 - flat[-1]))
    return {"size": rle["size"], "counts": np.diff(edges, prepend=0).tolist()}


def _shifted_mask(rng, image, segmentation, most):
    """The object's own mask, moved by some pixels."""
    mask_tool = pytest.importorskip("pycocotools.mask")
    rle = segmentation
    if isinstance(segmentation, list) or isinstance(segmentation["counts"], list):
        rle = mask_tool.frPyObjects(segmentation, image["height"], image["width"])
    if isinstance(rle, list):
        rle = mask_tool.merge(rle)
    shift = tuple(int(v) for v in rng.integers(-most, most + 1, 2))
    moved = mask_tool.encode(np.asfortranarray(np.roll(mask_tool.decode(rle), shift, axis=(0, 1))))
    return {"size": moved["size"], "counts": moved["counts"].decode()}


def random_results(rng: np.random.Generator, content: dict[str, Any], iou_type: str, with_boxes: bool = False):
    """Jittered objects, exact ones, duplicates, wrong classes and inventions; scores with ties."""
    images = {image["id"]: image for image in content["images"]}
    categories = [category["id"] for category in content["categories"]]
    results = []
    for row in content["annotations"]:
        for _ in range(rng.integers(0, 4)):
            category = row["category_id"] if rng.random() < 0.9 else int(rng.choice(categories))
            results.append(_result(rng, images[row["image_id"]], category, row, iou_type, with_boxes))
    for image in content["images"]:
        for _ in range(rng.integers(0, 6)):
            row = _annotation(rng, 0, image, int(rng.choice(categories)), iou_type)
            results.append(_result(rng, image, row["category_id"], row, iou_type, with_boxes))
    rng.shuffle(results)  # type: ignore[arg-type]
    return results


def _result(rng, image, category_id, row, iou_type, with_boxes):
    jitter = rng.choice([0.0, 0.03, 0.1, 0.2])
    x, y, w, h = row["bbox"]
    box = [x + w * rng.normal(0, jitter), y + h * rng.normal(0, jitter), w * np.exp(rng.normal(0, jitter)), h]
    score = round(float(rng.random()), int(rng.integers(1, 4)))
    out = {"image_id": image["id"], "category_id": category_id, "score": score}
    box = [float(v) for v in box]
    if iou_type == "bbox" or with_boxes:
        out["bbox"] = box
    if iou_type == "segm":
        out["segmentation"] = _shifted_mask(rng, image, row["segmentation"], int(jitter * 20))
    if iou_type == "keypoints":
        points = np.array(row["keypoints"], float).reshape(17, 3)
        points[:, :2] += rng.normal(0, 1, (17, 2)) * jitter * (w + h) / 4
        out["keypoints"] = points.ravel().tolist()
    return out


def figures(content, results, iou_type="bbox", **kwargs):
    metrics = evaluate_coco(CocoDataset.from_dict(content), results, iou_type=iou_type, **kwargs)
    return np.array(list(metrics.figures.values()))


def content_of(boxes, areas=None, crowds=None, num_images=1, num_categories=1):
    """All objects in the first picture, in the first category."""
    images = [{"id": i + 1, "file_name": f"{i}", "height": 400, "width": 400} for i in range(num_images)]
    annotations = [
        {
            **{"id": i + 1, "image_id": 1, "category_id": 1, "bbox": list(box), "iscrowd": crowds[i] if crowds else 0},
            "area": areas[i] if areas else box[2] * box[3],
        }
        for i, box in enumerate(boxes)
    ]
    categories = [{"id": i + 1, "name": f"c{i}"} for i in range(num_categories)]
    return {"images": images, "categories": categories, "annotations": annotations}


def found(box, score, image_id=1, category_id=1):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(box), "score": score}
