"""COCO results files: written whole or not at all, read with checks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import DataError, SinkError
from yolokkn.files import write_atomically

Result = Mapping[str, Any]
"""One detection: image_id, category_id, score and bbox [x, y, w, h], segmentation or keypoints [x, y, v, ...]."""


def write_results(path: str | os.PathLike[str], results: Iterable[Result], *, num_decimals: int = 5) -> None:
    """Write detections as a COCO results file; the old file stays until the new one is complete on the disk.

    Args:
        path: The JSON file to write; it is replaced when it exists.
        results: Dictionaries with image_id, category_id, score and bbox, segmentation or keypoints. NumPy numbers and
            arrays are written as numbers and lists.
        num_decimals: Floats are rounded to so many decimals.

    Raises:
        TypeError: A value has no form in JSON.
        ValueError: A number is NaN or infinite.
        SinkError: The file cannot be written.
    """
    rows = [_plain(row, num_decimals) for row in results]
    try:
        text = json.dumps(rows, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ValueError(f"write_results: results must hold finite numbers, got {error}") from error
    target = Path(path)
    try:
        write_atomically(target, text)
    except OSError as error:
        raise SinkError(f"write_results: {target} must be writable, got {error}") from error


def _plain(value: Any, num_decimals: int) -> Any:
    if isinstance(value, (float, np.floating)):
        return round(float(value), num_decimals)
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, bytes):
        return value.decode("ascii")
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), num_decimals)
    if isinstance(value, Mapping):
        return {key: _plain(item, num_decimals) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, num_decimals) for item in value]
    raise TypeError(f"write_results: results must hold numbers, strings, lists and dicts, got {type(value).__name__}")


def read_results(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a COCO results file.

    Args:
        path: A JSON file with a list of objects.

    Raises:
        DataError: The file cannot be read, is not JSON, or an entry lacks image_id, category_id or score, or all of
            bbox, segmentation and keypoints. The values are checked when they are evaluated.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"read_results: {path} must be a readable file, got {error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"read_results: {path} must be a JSON file, got {error}") from error
    if not isinstance(content, list):
        raise DataError(f"read_results: {path} must hold a list, got {type(content).__name__}")
    for i, row in enumerate(content):
        if not isinstance(row, dict):
            raise DataError(f"read_results: {path}: entry {i} must be an object, got {type(row).__name__}")
        missing = [key for key in ("image_id", "category_id", "score") if key not in row]
        if not missing and not row.keys() & {"bbox", "segmentation", "keypoints"}:
            missing = ["bbox, segmentation or keypoints"]
        if missing:
            raise DataError(f"read_results: {path}: entry {i} must have {missing[0]}, got {sorted(row)}")
    return content
