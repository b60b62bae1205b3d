"""Folders of pictures with instance masks beside them: PNG, 0 is background, each other value one object."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yolokkn.data.datasets.assemble import Assembly, Options
from yolokkn.data.datasets.base import Dataset
from yolokkn.data.datasets.pictures import list_pictures
from yolokkn.data.rings import mask_to_rings
from yolokkn.errors import DataError

_PICTURES = ("images", "PNGImages", "imgs")
_MASKS = ("masks", "PedMasks", "instances")
MIN_PIXELS = 4


def _folders(where: Path) -> tuple[Path, Path] | None:
    pictures = next((where / name for name in _PICTURES if (where / name).is_dir()), None)
    masks = next((where / name for name in _MASKS if (where / name).is_dir()), None)
    return (pictures, masks) if pictures and masks else None


def claims(where: Path) -> str:
    """Say why a path holds instance masks; empty where it does not."""
    folders = _folders(where) if where.is_dir() else None
    return f"{folders[0].name}/ and {folders[1].name}/ are there" if folders else ""


def open_instance_png(where: Path, options: Options) -> Dataset:
    """Open a folder of pictures and instance masks of one class, without splits.

    Args:
        where: A folder with images/ and masks/ (or PNGImages/ and PedMasks/); masks are called as their pictures,
            "_mask" may follow.
        options: What is wanted of it; `names` names the one class ("object" by default).

    Raises:
        DataError: There are no pictures, or more than one class name is given.
    """
    folders = _folders(where)
    names = options.names or ("object",)
    if len(names) != 1:
        raise DataError(f"open_dataset: {where}: instance masks have one class, got names {', '.join(names)}")
    paths = list_pictures(folders[0]) if folders else []
    if not folders or not paths:
        raise DataError(f"open_dataset: {where} must have pictures in images/ and masks in masks/")
    assembly = Assembly("instance_png", where, options, f"{folders[1].name}/, no splits: all pictures", names)
    assembly.pictures([path.stem for path in paths], paths, [None] * len(paths))
    for place, hw in zip(assembly.kept, assembly.sizes_hw, strict=True):
        assembly.labels.start_picture(hw if hw[0] else None)
        _add(assembly, folders[1], paths[place].stem, hw)
    return assembly.finish()


def _add(assembly: Assembly, folder: Path, stem: str, hw: tuple[int, int]) -> None:
    import cv2

    file = next((p for p in (folder / f"{stem}.png", folder / f"{stem}_mask.png") if p.is_file()), None)
    if file is None:
        assembly.issues.add("missing labels", f"{folder.name}/{stem}.png", "no such file", "kept without objects")
        return
    where = f"{folder.name}/{file.name}"
    mask = cv2.imdecode(
        np.frombuffer(file.read_bytes(), np.uint8) if file.stat().st_size else np.zeros(1, np.uint8), -1
    )
    if mask is None or mask.ndim != 2:
        assembly.issues.add("bad mask", where, "must be a picture of one channel", "kept without objects")
        return
    if hw[0] and mask.shape != hw:
        assembly.issues.add(
            "size differs", where, f"{mask.shape[1]} x {mask.shape[0]} of a picture {hw[1]} x {hw[0]}", "dropped"
        )
        return
    for value in (np.flatnonzero(np.bincount(mask.reshape(-1))[1:]) + 1).tolist():
        one = (mask == value).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(one)
        if cv2.countNonZero(one) < MIN_PIXELS:
            assembly.issues.add("zero area", f"{where}, value {value}", f"{cv2.countNonZero(one)} pixels", "dropped")
            continue
        rings = mask_to_rings(one[y : y + h, x : x + w], (x, y)) if "segment" in assembly.options.task else ()
        assembly.labels.add(f"{where}, value {value}", 0, (x, y, x + w, y + h), rings=rings)
