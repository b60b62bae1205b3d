"""Ground truth in COCO's JSON: read once, checked once, then plain frozen values."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolokkn.errors import DataError

MAX_SIDE_PX = 100_000  # COCO's largest area range ends at 1e5 squared
_MAX_ID = 2**63


@dataclass(frozen=True)
class CocoImage:
    """One picture of a data set; sizes in pixels."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True)
class CocoCategory:
    """One class of a data set."""

    id: int
    name: str


@dataclass(frozen=True, eq=False)
class CocoAnnotation:
    """One object that is known to be there.

    Attributes:
        id: The annotation's number, unique in the data set.
        image_id: The picture that shows it.
        category_id: Its class.
        box_xywh: Left, top, width, height in pixels.
        area: Its area in square pixels, as the file says (of the mask, not of the box).
        is_crowd: It stands for a group: it may be found many times and counts as neither right nor wrong.
        segmentation: Polygons or a run-length encoding as the file has them, or None; read when masks are evaluated.
        keypoints: x, y, visibility of each keypoint one after the other, or None.
        num_keypoints: Labelled keypoints; 0 without keypoints.
    """

    id: int
    image_id: int
    category_id: int
    box_xywh: tuple[float, float, float, float]
    area: float
    is_crowd: bool = False
    segmentation: Any = None
    keypoints: tuple[float, ...] | None = None
    num_keypoints: int = 0


@dataclass(frozen=True, eq=False)
class CocoDataset:
    """The pictures, classes and objects of one annotation file.

    Attributes:
        images: In the file's order.
        categories: In the file's order.
        annotations: In the file's order, which decides between equal matches.
        source: Where it was read from, for messages.
    """

    images: tuple[CocoImage, ...]
    categories: tuple[CocoCategory, ...]
    annotations: tuple[CocoAnnotation, ...]
    source: str = ""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CocoDataset:
        """Read an annotation file such as instances_val2017.json.

        Args:
            path: A JSON file with the lists images, categories and annotations.

        Raises:
            DataError: The file cannot be read, is not JSON, or an entry lacks a key or has a wrong type; the message
                names the entry.
        """
        try:
            content = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise DataError(f"CocoDataset.load: {path} must be a readable file, got {error}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"CocoDataset.load: {path} must be a JSON file, got {error}") from error
        return cls.from_dict(content, source=os.fspath(path))

    @classmethod
    def from_dict(cls, content: Any, source: str = "") -> CocoDataset:
        """Check the content of an annotation file that is already in memory.

        Args:
            content: A dictionary with the lists images, categories and annotations.
            source: Where it came from, for messages.

        Raises:
            DataError: As for `load`.

        Example:
            >>> image = {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6}
            >>> thing = {"id": 7, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}
            >>> content = {"images": [image], "categories": [{"id": 3, "name": "cup"}], "annotations": [thing]}
            >>> CocoDataset.from_dict(content).annotations[0].box_xywh
            (0.0, 0.0, 2.0, 2.0)
        """
        if not isinstance(content, dict):
            raise DataError(f"CocoDataset.load: {source} must hold an object, got {type(content).__name__}")
        rows: dict[str, list[_Entry]] = {}
        for name in ("images", "categories", "annotations"):
            if not isinstance(content.get(name), list):
                got = type(content[name]).__name__ if name in content else "no such key"
                raise DataError(f"CocoDataset.load: {source}: {name} must be a list, got {got}")
            rows[name] = [_Entry(row, name, i, source) for i, row in enumerate(content[name])]
        images = tuple(_image(row) for row in rows["images"])
        categories = tuple(CocoCategory(row.integer("id"), row.text("name")) for row in rows["categories"])
        image_ids = _unique_ids("images", [image.id for image in images], source)
        category_ids = _unique_ids("categories", [category.id for category in categories], source)
        annotations = tuple(_annotation(row, image_ids, category_ids) for row in rows["annotations"])
        _unique_ids("annotations", [annotation.id for annotation in annotations], source)
        return cls(images, categories, annotations, source)


class _Entry:
    """One object of a list, with the checks that name it."""

    def __init__(self, row: Any, owner: str, index: int, source: str) -> None:
        self.where = f"CocoDataset.load: {source}: {owner}[{index}]"
        if not isinstance(row, dict):
            raise DataError(f"{self.where} must be an object, got {type(row).__name__}")
        self.row = row

    def fail(self, key: str, rule: str) -> DataError:
        got = repr(self.row[key])[:80] if key in self.row else "no such key"
        return DataError(f"{self.where}.{key} must be {rule}, got {got}")

    def integer(self, key: str, low: int = -_MAX_ID, high: int = _MAX_ID - 1) -> int:
        value = self.row.get(key)
        if type(value) is not int or not low <= value <= high:
            rule = "an integer" if low == -_MAX_ID else f"an integer from {low} to {high}"
            raise self.fail(key, rule)
        return value

    def text(self, key: str) -> str:
        value = self.row.get(key)
        if not isinstance(value, str):
            raise self.fail(key, "a string")
        return value

    def number(self, key: str) -> float:
        value = self.row.get(key)
        if not _is_number(value):
            raise self.fail(key, "a finite number")
        return float(value)  # type: ignore[arg-type]

    def numbers(self, key: str, multiple: int, count: int | None = None) -> tuple[float, ...]:
        value = self.row.get(key)
        fits = isinstance(value, list) and all(map(_is_number, value)) and len(value) % multiple == 0
        if not isinstance(value, list) or not fits or len(value) != (len(value) if count is None else count):
            rule = f"{count} finite numbers" if count else f"finite numbers in groups of {multiple}"
            raise self.fail(key, rule)
        return tuple(map(float, value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e18 < value < 1e18 and math.isfinite(value)


def _image(row: _Entry) -> CocoImage:
    height, width = (row.integer(key, 1, MAX_SIDE_PX) for key in ("height", "width"))
    return CocoImage(row.integer("id"), row.text("file_name"), height, width)


def _annotation(row: _Entry, image_ids: set[int], category_ids: set[int]) -> CocoAnnotation:
    image_id, category_id = row.integer("image_id"), row.integer("category_id")
    if image_id not in image_ids:
        raise row.fail("image_id", "the id of one of images")
    if category_id not in category_ids:
        raise row.fail("category_id", "the id of one of categories")
    crowd = row.row.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise row.fail("iscrowd", "0 or 1")
    keypoints = row.numbers("keypoints", 3) if "keypoints" in row.row else None
    labelled = sum(v > 0 for v in keypoints[2::3]) if keypoints else 0
    x, y, w, h = row.numbers("bbox", 4, 4)
    return CocoAnnotation(
        id=row.integer("id"),
        image_id=image_id,
        category_id=category_id,
        box_xywh=(x, y, w, h),
        area=row.number("area"),
        is_crowd=bool(crowd),
        segmentation=row.row.get("segmentation"),
        keypoints=keypoints,
        num_keypoints=row.integer("num_keypoints", 0) if "num_keypoints" in row.row else labelled,
    )


def _unique_ids(owner: str, ids: Sequence[int], source: str) -> set[int]:
    seen: set[int] = set()
    for i, number in enumerate(ids):
        if number in seen:
            raise DataError(f"CocoDataset.load: {source}: {owner}[{i}].id must be unique, got {number} again")
        seen.add(number)
    return seen
