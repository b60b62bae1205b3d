"""Several datasets as one: a YAML file that lists parts, their weights and what is set aside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from yolokkn.configuration import build, read_yaml
from yolokkn.data.datasets.assemble import Options
from yolokkn.data.datasets.base import Dataset, concat, remap, split_by_hash, without_labels
from yolokkn.errors import DataError, YolokknError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Part:
    """One dataset of a mixture.

    Attributes:
        data: Its folder or file, from the mixture's `root`.
        split: The part of it.
        weight: How often its pictures come in an epoch of training.
        fifth: "all", "rest" (a fixed fifth of the pictures, by a hash of their names, is set aside) or "aside" (that fifth).
        classes: The dataset's name of a class to the mixture's, where they differ; null drops the class.
        labelled: False leaves every label out: pictures for a teacher to label.
    """

    data: str
    split: str = "train"
    weight: float = 1.0
    fifth: Literal["all", "rest", "aside"] = "all"
    classes: dict[str, str | None] = field(default_factory=dict)
    labelled: bool = True


@dataclass(frozen=True)
class Mixture:
    """What a mixture's file holds.

    Attributes:
        names: The classes.
        root: Where the parts' paths begin, from the file's folder.
        unique: Leave out pictures whose file is the same, byte for byte, as an earlier one's; train comes before val and
            test, so that nothing is measured on a picture that was trained on.
        train: Its parts, and so for the other splits.
    """

    names: tuple[str, ...]
    root: str = "."
    unique: bool = False
    train: tuple[Part, ...] = ()
    val: tuple[Part, ...] = ()
    test: tuple[Part, ...] = ()


def claims(where: Path) -> str:
    """Say why a path holds a mixture; empty where it does not."""
    if where.suffix.lower() not in (".yaml", ".yml") or not where.is_file():
        return ""
    try:
        content = read_yaml(where)
    except YolokknError:
        return ""
    parts = [content.get(split) for split in SPLITS] if isinstance(content, Mapping) else []
    has_parts = any(isinstance(p, list) and p and isinstance(p[0], Mapping) and "data" in p[0] for p in parts)
    return "a YAML file that lists datasets" if has_parts else ""


def open_mixture(where: Path, options: Options) -> Dataset:
    """Open every part of a split and put them one after the other.

    Args:
        where: The YAML file; its keys are `Mixture`'s.
        options: What is wanted; the split is "train", "val" or "test".

    Raises:
        DataError: The file has no such split, or a part cannot be opened.
        ConfigurationError: A key is unknown or of the wrong kind.
    """
    mixture = build(Mixture, read_yaml(where), str(where))
    parts: tuple[Part, ...] = getattr(mixture, options.split, ()) if options.split in SPLITS else ()
    if not parts:
        has = [s for s in SPLITS if getattr(mixture, s)]
        raise DataError(f"open_dataset: {where} has parts for {', '.join(has)}, and none for {options.split!r}")
    root = (where.parent / Path(mixture.root).expanduser()).resolve()
    opened = [_open_part(root, part, mixture.names, options) for part in parts]
    if mixture.unique:
        earlier = SPLITS[: SPLITS.index(options.split)]
        quick = replace(options, check="files")
        before = [
            _open_part(root, p, mixture.names, replace(quick, split=s)) for s in earlier for p in getattr(mixture, s)
        ]
        opened = leave_out_copies(before, opened)
    return concat(opened, [part.weight for part in parts])


def _open_part(root: Path, part: Part, names: tuple[str, ...], options: Options) -> Dataset:
    from yolokkn.data.datasets import open_dataset  # this module is one of its formats

    task: Any = options.task
    path = root / Path(part.data).expanduser()
    try:
        dataset = open_dataset(path, part.split, task=task, check=options.check)
        dataset = remap(dataset, names, part.classes) if part.labelled else without_labels(dataset, names)
    except ValueError as error:
        raise DataError(f"open_dataset: {path}: {error}") from error
    if part.fifth != "all":
        rest, aside = split_by_hash(dataset)
        dataset = rest if part.fifth == "rest" else aside
    return dataset


def leave_out_copies(before: Sequence[Dataset], datasets: Sequence[Dataset]) -> list[Dataset]:
    """Return the datasets without pictures whose file equals an earlier one's, of `before` or of themselves.

    Cost: reads every file.
    """
    seen = {_digest(path) for dataset in before for path in dataset.paths}
    kept = []
    for dataset in datasets:
        places = []
        for place, path in enumerate(dataset.paths):
            digest = _digest(path)
            if digest not in seen:
                seen.add(digest)
                places.append(place)
        kept.append(dataset.subset(places))
    return kept


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
