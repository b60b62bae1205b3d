"""A data set to try things on: drawn scenes with exact boxes, masks and keypoints, written as COCO or YOLO files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.configuration import dump_yaml
from yolokkn.data.datasets.base import COCO_KEYPOINTS
from yolokkn.data.rings import fill_rings
from yolokkn.data.sample import Rings, Sample
from yolokkn.data.toy_scene import PERSON, ToyScene, draw_scene
from yolokkn.errors import did_you_mean
from yolokkn.files import write_atomically
from yolokkn.types import Masks

__all__ = ["TOY_FORMATS", "TOY_TASKS", "ToySet", "ToyScene", "draw_scene", "write_toy"]

TOY_FORMATS = ("coco", "yolo")
TOY_TASKS = ("detect", "segment", "pose")
COCO_LIMBS = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11), (2, 3),
    (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
_QUALITY = 92


@dataclass(frozen=True)
class ToySet:
    """A drawn data set.

    Attributes:
        num_train: Pictures to train on.
        num_val: Pictures to evaluate on.
        seed: The same seed draws the same pictures.
        format: "coco" (instances_SPLIT.json with boxes, polygons and keypoints) or "yolo" (one .txt a picture).
        task: What the rows of YOLO files hold: "detect" boxes, "segment" polygons, "pose" keypoints.
        scene: What is drawn; task "pose" needs persons.
    """

    num_train: int = 200
    num_val: int = 50
    seed: int = 0
    format: str = "coco"
    task: str = "detect"
    scene: ToyScene = field(default_factory=ToyScene)

    def __post_init__(self) -> None:
        for name, value, choices in (("format", self.format, TOY_FORMATS), ("task", self.task, TOY_TASKS)):
            if value not in choices:
                raise ValueError(
                    f"ToySet: {name} must be one of {', '.join(choices)}, got {value!r}{did_you_mean(value, choices)}"
                )
        for name, count in (("num_train", self.num_train), ("num_val", self.num_val)):
            if not 1 <= count <= 100_000:
                raise ValueError(f"ToySet: {name} must be within 1 and 100000, got {count}")
        if not 0 <= self.seed < 1 << 63:
            raise ValueError(f"ToySet: seed must be 0 or more, got {self.seed}")
        if self.task == "pose" and not self.scene.persons:
            raise ValueError("ToySet: scene must have persons for the task pose; add --persons (persons=True)")


def write_toy(folder: str | Path, toy: ToySet | None = None, advance: Callable[[], None] = lambda: None) -> Path:
    """Draw a data set and write it.

    Args:
        folder: A new or empty folder.
        toy: What is drawn and how it is written.
        advance: Called after each picture.

    Returns:
        What `--data` takes: the folder (COCO) or its data.yaml (YOLO).

    Raises:
        FileExistsError: The folder holds something.
        OSError: It cannot be written.

    Cost:
        About 30 ms a picture of 320x320.
    """
    folder, toy = Path(folder), toy or ToySet()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"write_toy: {folder} must be a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    splits = {"train": range(toy.num_train), "val": range(toy.num_train, toy.num_train + toy.num_val)}
    write = _write_coco if toy.format == "coco" else _write_yolo
    for split, indices in splits.items():
        write(folder, split, indices, toy, advance)
    return folder if toy.format == "coco" else _write_data_yaml(folder, toy)


def _write_picture(path: Path, image: np.ndarray) -> None:
    import cv2

    good, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not good:
        raise OSError(f"{path}: the picture cannot be encoded")
    path.write_bytes(content.tobytes())


def _write_coco(folder: Path, split: str, indices: range, toy: ToySet, advance: Callable[[], None]) -> None:
    pictures, annotations = folder / split, folder / "annotations"
    pictures.mkdir()
    annotations.mkdir(exist_ok=True)
    h, w = toy.scene.hw
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for index in indices:
        sample = draw_scene(toy.seed, index, toy.scene)
        name = f"{sample.image_id}.jpg"
        _write_picture(pictures / name, sample.image)
        images.append({"id": index + 1, "file_name": name, "height": h, "width": w})
        rows += [
            {"id": len(rows) + i + 1, "image_id": index + 1, **row} for i, row in enumerate(_coco_rows(sample, toy))
        ]
        advance()
    categories = [_category(i, name) for i, name in enumerate(toy.scene.class_names)]
    _write_instances(annotations / f"instances_{split}.json", images, rows, categories)
    if toy.scene.persons:
        people = [c for c in categories if c["name"] == PERSON]
        rows = [row for row in rows if row["category_id"] == people[0]["id"]]
        _write_instances(annotations / f"person_keypoints_{split}.json", images, rows, people)


def _write_instances(path: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> None:
    about = {"description": "scenes drawn by yolokkn data toy"}
    content = {"info": about, "images": images, "annotations": annotations, "categories": categories}
    write_atomically(path, json.dumps(content))


def _category(class_id: int, name: str) -> dict[str, Any]:
    figure = (
        {"keypoints": list(COCO_KEYPOINTS), "skeleton": [list(limb) for limb in COCO_LIMBS]} if name == PERSON else {}
    )
    return {"id": class_id + 1, "name": name, "supercategory": "toy", **figure}


def _coco_rows(sample: Sample, toy: ToySet) -> list[dict[str, Any]]:
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(sample.boxes.tolist()):
        rings = sample.masks[i] if sample.masks is not None else ()
        row: dict[str, Any] = {
            "category_id": int(sample.class_ids[i]) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": round(abs(sum(_area(ring) for ring in rings)), 1),
            "iscrowd": 0,
            "segmentation": _segmentation(rings, sample.image.shape[:2]),
        }
        if sample.keypoints is not None and toy.scene.class_names[int(sample.class_ids[i])] == PERSON:
            points = sample.keypoints[i]
            row["keypoints"] = np.column_stack([np.round(points[:, :2], 1), points[:, 2]]).ravel().tolist()
            row["num_keypoints"] = int((points[:, 2] > 0).sum())
        rows.append(row)
    return rows


def _segmentation(rings: Rings, hw: tuple[int, ...]) -> Any:
    """COCO's polygons, whose union is the mask; run lengths for a mask with holes, which polygons cannot say."""
    if len({_area(ring) > 0 for ring in rings}) < 2:
        return [np.round(ring, 2).ravel().tolist() for ring in rings]
    h, w = hw
    crop = np.array([[0, 0, w, h]], np.int32)
    runs = ops.encode_rle(Masks(np.ascontiguousarray(fill_rings(rings, (h, w))).ravel(), crop, (h, w)))[0]
    return {"size": runs["size"], "counts": runs["counts"].decode("ascii")}


def _area(ring: np.ndarray) -> float:
    x, y = ring.astype(np.float64).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _write_yolo(folder: Path, split: str, indices: range, toy: ToySet, advance: Callable[[], None]) -> None:
    for part in ("images", "labels"):
        (folder / part / split).mkdir(parents=True)
    for index in indices:
        sample = draw_scene(toy.seed, index, toy.scene)
        _write_picture(folder / "images" / split / f"{sample.image_id}.jpg", sample.image)
        text = "".join(f"{row}\n" for row in _yolo_rows(sample, toy))
        (folder / "labels" / split / f"{sample.image_id}.txt").write_text(text, "utf-8")
        advance()


def _yolo_rows(sample: Sample, toy: ToySet) -> list[str]:
    h, w = toy.scene.hw
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(sample.boxes.tolist()):
        values = [(x1 + x2) / 2 / w, (y1 + y2) / 2 / h, (x2 - x1) / w, (y2 - y1) / h]
        if toy.task == "segment" and sample.masks is not None:
            ring = max(sample.masks[i], key=lambda r: abs(_area(r)))  # a row holds one outline: the largest part
            values = (ring / [w, h]).ravel().tolist()
        if toy.task == "pose" and sample.keypoints is not None:
            values += (sample.keypoints[i] / [w, h, 1]).ravel().tolist()
        rows.append(" ".join([str(int(sample.class_ids[i])), *(f"{v:.6g}" for v in values)]))
    return rows


def _write_data_yaml(folder: Path, toy: ToySet) -> Path:
    content: dict[str, Any] = {
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(toy.scene.class_names)),
    }
    if toy.task == "pose":
        content["kpt_shape"] = [17, 3]
        content["flip_idx"] = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    path = folder / "data.yaml"
    write_atomically(path, dump_yaml(content))
    return path
