"""Labelled pictures in every common format, opened by one function and checked on opening. NumPy and OpenCV only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from yolokkn.data.datasets import coco, instance_png, mixture, mot, voc, yolo
from yolokkn.data.datasets.assemble import Options
from yolokkn.data.datasets.base import (
    COCO_KEYPOINTS,
    Dataset,
    concat,
    find_flip_pairs,
    hash_part,
    remap,
    split_by_hash,
)
from yolokkn.data.datasets.pictures import CHECKS, Check
from yolokkn.data.datasets.report import ISSUE_KINDS, DatasetReport, Issue
from yolokkn.errors import DataError, did_you_mean
from yolokkn.types import TASKS

__all__ = [
    "COCO_KEYPOINTS",
    "FORMATS",
    "ISSUE_KINDS",
    "Dataset",
    "DatasetReport",
    "Issue",
    "concat",
    "find_flip_pairs",
    "hash_part",
    "open_dataset",
    "remap",
    "split_by_hash",
]

Opener = Callable[[Path, Options], Dataset]
FORMATS: Mapping[str, tuple[Callable[[Path], str], Opener, str]] = {
    "coco": (coco.claims, coco.open_coco, "annotations/instances_SPLIT.json, or a .json file"),
    "voc": (voc.claims, voc.open_voc, "Annotations/*.xml, JPEGImages/, ImageSets/Main/SPLIT.txt"),
    "mot": (mot.claims, mot.open_mot, "SEQUENCE/gt/gt.txt and SEQUENCE/img1/"),
    "mixture": (mixture.claims, mixture.open_mixture, "a .yaml with names and lists of datasets"),
    "yolo": (yolo.claims, yolo.open_yolo, "data.yaml, or images/ and labels/"),
    "instance_png": (instance_png.claims, instance_png.open_instance_png, "images/ and masks/*.png"),
}


def open_dataset(
    where: str | os.PathLike[str],
    split: str = "train",
    *,
    task: str = "detect",
    format: str | None = None,
    names: Sequence[str] | None = None,
    images: str | os.PathLike[str] | None = None,
    check: Check = "headers",
    strict: bool = False,
) -> Dataset:
    """Open labelled pictures; the format is recognised from the path, every label is checked.

    Args:
        where: A folder or file; `FORMATS` says what is looked for.
        split: "train", "val", "test", or what the format calls its parts; formats without parts give all.
        task: "detect", "segment", "pose" or "segment-pose": what the samples carry besides boxes.
        format: One of `FORMATS`; None: recognised.
        names: The classes: for formats that do not list them (VOC, instance masks), else the list that the dataset's
            classes are brought into (as by `remap`).
        images: Where the pictures are, where they are not beside the labels.
        check: How closely picture files are looked at: "files" (are they there), "headers" (size and end) or "pixels"
            (each is decoded).
        strict: Raise where anything is wrong with a label or picture.

    Returns:
        The dataset; its `report` says what was found, and what was wrong, clipped or dropped.

    Raises:
        DataError: The path holds no dataset, the split is not there, or `strict` and something is wrong.
        ValueError: An argument is not one of the choices.

    Cost: reads all labels and, with "headers", the first 64 KiB of each picture.
    """
    path = Path(where).expanduser()
    if task not in TASKS:
        raise ValueError(
            f"open_dataset: task must be one of {', '.join(TASKS)}, got {task!r}{did_you_mean(task, TASKS)}"
        )
    if check not in CHECKS:
        raise ValueError(f"open_dataset: check must be one of {', '.join(CHECKS)}, got {check!r}")
    kind = format or recognise(path)
    if kind not in FORMATS:
        hint = did_you_mean(kind, FORMATS)
        raise ValueError(f"open_dataset: format must be one of {', '.join(FORMATS)}, got {kind!r}{hint}")
    own_list = kind in ("coco", "yolo")
    options = Options(
        split=split,
        task=task,
        check=check,
        names=None if own_list or names is None else tuple(names),
        images=None if images is None else Path(images),
    )
    dataset = FORMATS[kind][1](path, options)
    if own_list and names is not None:
        dataset = remap(dataset, names)
    if not len(dataset):
        raise DataError(f"open_dataset: {path}: no picture can be loaded\n{dataset.report.text(5)}")
    if strict and not dataset.report.ok:
        raise DataError(f"open_dataset: {path} must be without faults (strict)\n{dataset.report.text()}")
    return dataset


def recognise(path: Path) -> str:
    """Return the format of what is at a path.

    Raises:
        DataError: There is nothing, or nothing that is known; the message lists what is looked for.
    """
    if not path.exists():
        raise DataError(f"open_dataset: {path} must be a folder or file, got nothing there")
    for name, (claims, _, _) in FORMATS.items():
        if claims(path):
            return name
    choices = "; ".join(f"{name}: {text}" for name, (_, _, text) in FORMATS.items())
    there = ", ".join(sorted(p.name for p in path.iterdir())[:12]) if path.is_dir() else "a file"
    raise DataError(f"open_dataset: {path} must be a dataset ({choices}), got {there or 'an empty folder'}")
