"""Picture files: found, checked by their headers, decoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from yolokkn.errors import DataError, SourceError
from yolokkn.runtime.sources.content import describe_bytes, image_hw, is_cut_off
from yolokkn.runtime.sources.images import IMAGE_SUFFIXES, read_image

Check = Literal["files", "headers", "pixels"]
CHECKS: tuple[str, ...] = get_args(Check)
_HEAD_BYTES = 1 << 16


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files under a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def inspect_pictures(paths: Sequence[Path], check: Check) -> list[tuple[tuple[int, int] | None, str]]:
    """Look at picture files without decoding them, unless asked to.

    Args:
        paths: The files.
        check: "files": whether they are there; "headers": their sizes and ends; "pixels": every one is decoded.

    Returns:
        For each: height and width as stored (None where unknown), and what is wrong ("" when nothing; "missing" when
        the file is not there).
    """
    if check not in CHECKS:
        raise ValueError(f"open_dataset: check must be one of {', '.join(CHECKS)}, got {check!r}")
    if check == "files":
        return [(None, "") if found else (None, "missing") for found in _present(paths)]
    look = _decode if check == "pixels" else _inspect
    with ThreadPoolExecutor(max_workers=min(8, (os.cpu_count() or 1) * 2)) as pool:
        return list(pool.map(look, paths))


def _present(paths: Sequence[Path]) -> Iterable[bool]:
    """Say which files are there: one listing of each folder instead of a question for each file."""
    listed: dict[Path, set[str]] = {}
    for path in paths:
        if path.parent not in listed:
            try:
                listed[path.parent] = set(os.listdir(path.parent))
            except OSError:
                listed[path.parent] = set()
        yield path.name in listed[path.parent]


def _inspect(path: Path) -> tuple[tuple[int, int] | None, str]:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = os.fstat(file.fileno()).st_size
            if image_hw(head) is None and size > len(head):
                head += file.read()
            tail = head
            if size > len(head):
                file.seek(max(size - 4096, 0))
                tail = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None, "missing"
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    hw = image_hw(head)
    if hw is None:
        return None, f"must be an image, got {describe_bytes(head[:512])}"
    if head[:3] == b"\xff\xd8\xff" and b"\xff\xd9" not in tail and is_cut_off(path.read_bytes()):
        return hw, "a JPEG image without its end"
    if head[:4] == b"\x89PNG" and b"IEND" not in tail:
        return hw, "a PNG image without its end"
    return hw, ""


def _decode(path: Path) -> tuple[tuple[int, int] | None, str]:
    seen = _inspect(path)
    if seen[1]:
        return seen
    try:
        read_image(path)
    except SourceError as error:
        return seen[0], str(error).removeprefix(f"read_image: {path} ")
    return seen


def decode_picture(path: Path, labelled_hw: tuple[int, int] | None) -> np.ndarray:
    """Decode a picture as it is displayed, unless its labels are for it as it is stored.

    Args:
        path: The file.
        labelled_hw: The size that the labels are for; where it is the stored size but not the displayed one, EXIF
            orientation is not applied.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        DataError: The file cannot be decoded.
    """
    try:
        image = read_image(path)
    except SourceError as error:
        raise DataError(str(error).replace("read_image", "Dataset.load", 1)) from None
    if labelled_hw is not None and image.shape[:2] == labelled_hw[::-1] != labelled_hw:
        import cv2

        data = np.frombuffer(path.read_bytes(), np.uint8)
        stored = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if stored is not None and stored.shape[:2] == labelled_hw:
            return np.asarray(stored)
    return image
