"""COCO's JSON: boxes, polygons, run-length masks, keypoints, crowds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.data.datasets.assemble import Assembly, Options
from yolokkn.data.datasets.base import Dataset, find_flip_pairs
from yolokkn.data.rings import mask_to_rings, merge_overlapping
from yolokkn.data.sample import Rings
from yolokkn.errors import DataError

MAX_JSON_BYTES = 4 << 30


def find_annotations(where: Path, split: str, task: str) -> Path | None:
    """Return the annotation file of a split, or None."""
    if where.suffix.lower() == ".json":
        return where if where.is_file() else None
    kinds = ("person_keypoints", "instances") if "pose" in task else ("instances", "person_keypoints")
    folders = (where / "annotations", where)
    for kind in kinds:
        for folder in folders:
            for year in ("2017", "", "2014"):
                file = folder / f"{kind}_{split}{year}.json"
                if file.is_file():
                    return file
    named = [where / split / "_annotations.coco.json", *(f / f"{split}.json" for f in folders)]
    return next((file for file in named if file.is_file()), None)


def claims(where: Path) -> str:
    """Say why a path holds a COCO dataset; empty where it does not."""
    if where.suffix.lower() == ".json" and where.is_file():
        return "a JSON file"
    if not where.is_dir():
        return ""
    for pattern in ("annotations/*.json", "*/_annotations.coco.json", "instances_*.json"):
        if next(where.glob(pattern), None):
            return f"{pattern} is there"
    return ""


def open_coco(where: Path, options: Options) -> Dataset:
    """Open a COCO dataset.

    Args:
        where: A folder with annotations/instances_SPLIT.json, or such a file.
        options: What is wanted of it.

    Raises:
        DataError: There is no such file, or it is not COCO's JSON.
    """
    file = find_annotations(where, options.split, options.task)
    if file is None:
        there = sorted(p.name for p in where.rglob("*.json"))[:12]
        raise DataError(
            f"open_dataset: {where} must have annotations of split {options.split!r} for task {options.task}, "
            f"got {', '.join(there) or 'no JSON files'}"
        )
    content = _read(file)
    categories = [c for c in content["categories"] if isinstance(c, dict) and isinstance(c.get("name"), str)]
    names = tuple(c["name"] for c in categories)
    class_of = {c.get("id"): i for i, c in enumerate(categories)}
    keypoint_names = _keypoint_names(categories) if "pose" in options.task else ()
    images = [i for i in content["images"] if _is_image(i)]
    folder = options.images or _find_pictures(file, images, options.split)
    assembly = Assembly("coco", where, options, f"{file.name}, pictures in {folder}", names, keypoint_names)
    for i, image in enumerate(content["images"]):
        if not _is_image(image):
            assembly.issues.add("broken labels", f"{file.name}: images[{i}]", f"{str(image)[:80]}", "dropped")
    of_image = _by_image(content["annotations"], {i["id"] for i in images}, file.name, assembly)
    sizes = [(int(i["height"]), int(i["width"])) for i in images]
    assembly.pictures([str(i["id"]) for i in images], [folder / i["file_name"] for i in images], sizes)
    reader = _Reader(file.name, class_of, assembly)
    for place in assembly.kept:
        assembly.labels.start_picture(sizes[place])
        for row, annotation in of_image.get(images[place]["id"], ()):
            reader.add(row, annotation, sizes[place])
    return assembly.finish(flip_pairs=find_flip_pairs(keypoint_names))


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"open_dataset: {file} must have at most {MAX_JSON_BYTES} bytes")
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"open_dataset: {file} must be a readable file, got {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"open_dataset: {file} must be a JSON file, got {error}") from error
    for key in ("images", "categories", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"open_dataset: {file} must hold the lists images, categories and annotations")
    return content


def _is_image(image: Any) -> bool:
    if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or "id" not in image:
        return False
    sides = image.get("height"), image.get("width")
    inside = not Path(image["file_name"]).is_absolute() and ".." not in Path(image["file_name"]).parts
    return inside and isinstance(image["id"], (int, str)) and all(type(s) is int and 0 < s < 1 << 20 for s in sides)


def _keypoint_names(categories: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    for category in categories:
        names = category.get("keypoints")
        if isinstance(names, list) and names:
            return tuple(map(str, names))
    return ()


def _find_pictures(file: Path, images: Sequence[Mapping[str, Any]], split: str) -> Path:
    """Look for the folder that holds the first pictures."""
    name = file.stem.removeprefix("instances_").removeprefix("person_keypoints_")
    roots = (file.parent, file.parent.parent)
    tails = (name, f"images/{name}", split, f"images/{split}", "images", ".")
    folders = [root / tail for root in roots for tail in tails]
    for folder in folders:
        if any((folder / image["file_name"]).is_file() for image in images[:20]):
            return folder
    return next((f for f in folders if f.is_dir()), file.parent)


def _by_image(
    annotations: Sequence[Any], image_ids: set[Any], name: str, assembly: Assembly
) -> dict[Any, list[tuple[int, dict[str, Any]]]]:
    found: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
    for row, annotation in enumerate(annotations):
        where = f"{name}: annotations[{row}]"
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        if not isinstance(image_id, (int, str)):
            assembly.issues.add("broken labels", where, f"{str(annotation)[:80]}", "dropped")
        elif image_id not in image_ids:
            assembly.issues.add("missing picture", where, f"image_id {image_id} is not in images", "dropped")
        else:
            found.setdefault(image_id, []).append((row, annotation))
    return found


class _Reader:
    """Turns annotations into labels."""

    def __init__(self, name: str, class_of: Mapping[Any, int], assembly: Assembly) -> None:
        self._name, self._class_of, self._assembly = name, class_of, assembly
        self._segment = "segment" in assembly.options.task
        self._num_keypoints = len(assembly.keypoint_names)

    def add(self, row: int, annotation: dict[str, Any], hw: tuple[int, int]) -> None:
        issues, where = self._assembly.issues, f"{self._name}: annotations[{row}] (id {annotation.get('id')})"
        category = annotation.get("category_id")
        if not isinstance(category, (int, str)) or category not in self._class_of:
            issues.add("unknown class", where, f"category_id {category!r}", "dropped")
            return
        box = _numbers(annotation.get("bbox"))
        if box is None or len(box) != 4:
            issues.add("broken labels", where, f"bbox {str(annotation.get('bbox'))[:60]}", "dropped")
            return
        x, y, w, h = box
        area = _numbers([annotation.get("area")])
        self._assembly.labels.add(
            where,
            self._class_of[category],
            (x, y, x + w, y + h),
            rings=self._rings(where, annotation.get("segmentation"), hw) if self._segment else (),
            keypoints=self._keypoints(where, annotation) if self._num_keypoints else None,
            ignored=bool(annotation.get("iscrowd", 0)),
            area=area[0] if area and area[0] >= 0 else None,
        )

    def _rings(self, where: str, segmentation: Any, hw: tuple[int, int]) -> Rings:
        if segmentation is None or segmentation == []:
            return ()
        try:
            return read_segmentation(segmentation, hw)
        except (ValueError, TypeError) as error:
            self._assembly.issues.add("bad mask", where, str(error)[:160], "kept without a mask")
            return ()

    def _keypoints(self, where: str, annotation: Mapping[str, Any]) -> np.ndarray | None:
        if "keypoints" not in annotation:
            return None
        values = _numbers(annotation["keypoints"])
        if values is None or len(values) != 3 * self._num_keypoints:
            self._assembly.issues.add(
                "bad keypoints", where, f"{str(annotation['keypoints'])[:60]}", "kept without keypoints"
            )
            return None
        return np.array(values, np.float32).reshape(-1, 3)


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list) or not all(type(v) in (int, float) for v in value):
        return None
    return [float(v) for v in value] if all(math.isfinite(v) and abs(v) < 1e9 for v in value) else None


def read_segmentation(segmentation: Any, hw: tuple[int, int]) -> Rings:
    """Turn a COCO segmentation into rings.

    Args:
        segmentation: Polygons [x1, y1, x2, y2, ...] whose union is the mask, or {"size": [h, w], "counts": ...}.
        hw: Height and width of the picture.

    Raises:
        ValueError: It is neither, or damaged.
    """
    if isinstance(segmentation, dict):
        masks = ops.decode_rle([segmentation])
        if masks.frame_hw != hw:
            raise ValueError(f"size must be the picture's {list(hw)}, got {list(masks.frame_hw)}")
        x, y = masks.crops[0, :2].tolist()
        return mask_to_rings(masks.crop(0), (x, y))
    if not isinstance(segmentation, list):
        raise ValueError(f"must be polygons or run lengths, got {type(segmentation).__name__}")
    rings = []
    for polygon in segmentation:
        values = _numbers(polygon)
        if values is None or len(values) < 6 or len(values) % 2:
            raise ValueError(f"polygons must be 3 or more x, y pairs, got {str(polygon)[:60]}")
        rings.append(np.array(values, np.float32).reshape(-1, 2))
    return merge_overlapping(tuple(rings))
