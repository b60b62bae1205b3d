"""YOLO text labels: one row an object, parts of the picture's sides; data.yaml, or folders images/ and labels/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.data.datasets.assemble import Assembly, Options
from yolokkn.data.datasets.base import COCO_KEYPOINTS, Dataset, find_flip_pairs
from yolokkn.data.datasets.pictures import list_pictures
from yolokkn.errors import ConfigurationError, DataError
from yolokkn.safe_yaml import read_yaml

MAX_LABEL_BYTES = 64 << 20
_SYNONYMS = {"val": ("val", "valid", "validation"), "valid": ("val", "valid", "validation"), "train": ("train",)}


def _yaml_of(where: Path) -> Path | None:
    if where.suffix.lower() in (".yaml", ".yml"):
        return where if where.is_file() else None
    named = [where / "data.yaml", where / "data.yml", where / "dataset.yaml"]
    return next((p for p in named if p.is_file()), None)


def claims(where: Path) -> str:
    """Say why a path holds a YOLO dataset; empty where it does not."""
    if where.suffix.lower() in (".yaml", ".yml") and where.is_file():
        return "a YAML file"
    if not where.is_dir():
        return ""
    if _yaml_of(where):
        return "data.yaml is there"
    for labels in (where / "labels", where / "train" / "labels"):
        if labels.is_dir() and (labels.parent / "images").is_dir():
            return f"{labels.relative_to(where)}/ is there"
    return ""


def open_yolo(where: Path, options: Options) -> Dataset:
    """Open a YOLO dataset.

    Args:
        where: A data.yaml (path, train, val, test, names, kpt_shape, flip_idx), its folder, or a folder with images/
            and labels/.
        options: What is wanted of it.

    Raises:
        DataError: The pictures of the split are not found, or the YAML is not what it must be.
    """
    file = _yaml_of(where)
    content = read_data_yaml(file) if file else {}
    root = file.parent if file else where
    paths, found = _pictures(root, content, options)
    labels = [_labels_of(path) for path in paths]
    names = _names(content, root, labels)
    has_keypoints = "pose" in options.task or content.get("kpt_shape") is not None
    shape = _keypoint_shape(content) if has_keypoints else (0, 3)
    keypoint_names = _keypoint_names(content, shape[0]) if "pose" in options.task else ()
    present = sum(label.is_file() for label in labels)
    if paths and not present:
        raise DataError(f"open_dataset: {where}: no labels for {paths[0]}; they must be at {labels[0]}")
    assembly = Assembly("yolo", where, options, f"{found}, {present:,} label files", names, keypoint_names)
    ids = [path.stem for path in paths]
    if len(set(ids)) < len(ids):
        ids = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in paths]
    assembly.pictures(ids, paths, [None] * len(paths), [path.stem for path in paths])
    for place in assembly.kept:
        assembly.labels.start_picture(None, relative=True)
        _read_labels(labels[place], assembly, shape)
    return assembly.finish(flip_pairs=_flip_pairs(content, keypoint_names))


def read_data_yaml(file: Path) -> dict[str, Any]:
    """Read a data.yaml: plain values only, of a bounded size.

    Raises:
        DataError: It cannot be read, or is no mapping.
    """
    try:
        content = read_yaml(file)
    except ConfigurationError as error:
        raise DataError(f"open_dataset: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"open_dataset: {file} must hold a mapping, got {type(content).__name__}")
    return dict(content)


def _pictures(root: Path, content: Mapping[str, Any], options: Options) -> tuple[list[Path], str]:
    """Find the pictures of a split: where the YAML says, else where such folders usually are."""
    split = options.split
    keys = _SYNONYMS.get(split, (split,))
    said = next((content[k] for k in keys if content.get(k)), None)
    entries = [said] if isinstance(said, str) else list(said) if isinstance(said, list) else []
    base = root / str(content.get("path") or ".")
    found = [p for entry in entries for p in _resolve(root, base, str(entry))]
    if options.images is not None:
        return list_pictures(options.images), f"pictures in {options.images}"
    if found:
        paths = [path for place in found for path in _expand(place, base)]
        return sorted(dict.fromkeys(paths)), f"{split}: {', '.join(map(str, found))}"
    for key in keys:
        for folder in (root / "images" / key, root / key / "images"):
            if folder.is_dir():
                note = f"; data.yaml says {said!r}, which is not there" if entries else ""
                return list_pictures(folder), f"{split}: {folder}{note}"
    has_parts = any((root / "images" / k).is_dir() or (root / k).is_dir() for ks in _SYNONYMS.values() for k in ks)
    if (root / "images").is_dir() and not has_parts:
        return list_pictures(root / "images"), "images/ without splits: all pictures"
    told = f", data.yaml says {said!r}" if said else ""
    raise DataError(
        f"open_dataset: {root}: no pictures of split {split!r}: neither images/{split} nor {split}/images{told}"
    )


def _resolve(root: Path, base: Path, entry: str) -> list[Path]:
    shorter = entry
    while shorter.startswith("../"):
        shorter = shorter[3:]
    for place in (base / entry, root / entry, root / shorter):
        if place.exists():
            return [place]
    return []


def _expand(place: Path, base: Path) -> list[Path]:
    if place.is_dir():
        return list_pictures(place)
    lines = [line.strip() for line in place.read_text("utf-8", "replace").split("\n")]
    return [(place.parent if line.startswith("./") else base) / line for line in lines if line]


def _labels_of(picture: Path) -> Path:
    """Return where a picture's labels are: the last "images" of its path becomes "labels"."""
    parts = list(picture.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            return Path(*parts).with_suffix(".txt")
    return picture.with_suffix(".txt")


def _names(content: Mapping[str, Any], root: Path, labels: Sequence[Path]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        return tuple(str(names.get(i, f"class {i}")) for i in range(max(map(int, names), default=-1) + 1))
    if isinstance(names, list):
        return tuple(map(str, names))
    for file in (root / "classes.txt", root / "obj.names", root / "labels" / "classes.txt"):
        if file.is_file():
            return tuple(line.strip() for line in file.read_text("utf-8", "replace").split("\n") if line.strip())
    highest = int(content.get("nc") or 0) - 1
    for label in labels if highest < 0 else ():
        for line in label.read_text("utf-8", "replace").split("\n") if label.is_file() else ():
            first = line.split()[:1]
            highest = max(highest, int(first[0]) if first and first[0].isdecimal() else -1)
    return tuple(f"class {i}" for i in range(min(highest, 9999) + 1))


def _keypoint_shape(content: Mapping[str, Any]) -> tuple[int, int]:
    shape = content.get("kpt_shape")
    good = isinstance(shape, (list, tuple)) and len(shape) == 2 and all(type(v) is int for v in shape)
    if not good or not 1 <= shape[0] <= 1000 or shape[1] not in (2, 3):  # type: ignore[index]
        raise DataError(f"open_dataset: kpt_shape must be [keypoints, 2 or 3] for pose, got {shape!r}")
    return shape[0], shape[1]  # type: ignore[index]


def _keypoint_names(content: Mapping[str, Any], count: int) -> tuple[str, ...]:
    names = content.get("kpt_names")
    if isinstance(names, dict) and names:
        names = next(iter(names.values()))
    if isinstance(names, list) and len(names) == count:
        return tuple(map(str, names))
    return COCO_KEYPOINTS if count == 17 else tuple(f"keypoint {i}" for i in range(count))


def _flip_pairs(content: Mapping[str, Any], names: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
    index = content.get("flip_idx")
    if names and isinstance(index, list) and sorted(index) == list(range(len(names))):
        return tuple((i, j) for i, j in enumerate(index) if i < j)
    return find_flip_pairs(names)


def _read_labels(file: Path, assembly: Assembly, shape: tuple[int, int]) -> None:
    where = f"{file.parent.name}/{file.name}"
    try:
        if file.stat().st_size > MAX_LABEL_BYTES:
            assembly.issues.add("broken labels", where, "the file is too large", "picture kept without objects")
            return
        text = file.read_text("utf-8", "replace")
    except FileNotFoundError:
        return  # by convention a picture without objects
    except OSError as error:
        assembly.issues.add("broken labels", where, f"cannot be read: {error.strerror}", "picture kept without objects")
        return
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.split()
        if cells:
            _add_row(f"{where}:{number}", cells, assembly, shape)


def _add_row(where: str, cells: Sequence[str], assembly: Assembly, shape: tuple[int, int]) -> None:
    try:
        values = [float(cell) for cell in cells]
        class_id = int(values[0])
    except (ValueError, OverflowError):
        assembly.issues.add("broken labels", where, f"{' '.join(cells)[:80]!r} is not numbers", "dropped")
        return
    count = len(values) - 1
    num_keypoints, dims = shape
    keypoints: np.ndarray | None = None
    rings: tuple[np.ndarray, ...] = ()
    box: tuple[float, ...] | None = None
    if num_keypoints and count == 4 + num_keypoints * dims:
        points = np.array(values[5:], np.float32).reshape(num_keypoints, dims)
        if "pose" in assembly.options.task:
            keypoints = points if dims == 3 else np.column_stack([points, 2.0 * (points != 0).any(1)])
    elif count >= 6 and count % 2 == 0 and "pose" not in assembly.options.task:
        rings = (np.array(values[1:], np.float32).reshape(-1, 2),)
        if not np.isfinite(rings[0]).all():
            assembly.issues.add("broken labels", where, f"{' '.join(cells)[:80]!r}", "dropped")
            return
    elif count != 4:
        assembly.issues.add("broken labels", where, f"{len(cells)} numbers in a row", "dropped")
        return
    if not rings:
        x, y, w, h = values[1:5]
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    kept = rings if "segment" in assembly.options.task else ()
    if rings and not kept:
        low, high = rings[0].min(0).tolist(), rings[0].max(0).tolist()
        box = (low[0], low[1], high[0], high[1])
    assembly.labels.add(where, class_id if values[0] == class_id else -1, box, rings=kept, keypoints=keypoints)
