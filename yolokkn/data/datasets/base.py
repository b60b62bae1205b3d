"""Dataset: pictures and their labels, whatever the format was; concatenation, class mapping, subsets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from yolokkn.data.datasets.labels import LabelTable, join_tables, select_objects, select_pictures
from yolokkn.data.datasets.pictures import decode_picture
from yolokkn.data.datasets.report import DatasetReport, IssueList
from yolokkn.data.sample import Rings, Sample
from yolokkn.errors import did_you_mean

COCO_KEYPOINTS = tuple(
    "nose,left_eye,right_eye,left_ear,right_ear,left_shoulder,right_shoulder,left_elbow,right_elbow,left_wrist,"
    "right_wrist,left_hip,right_hip,left_knee,right_knee,left_ankle,right_ankle".split(",")
)
# Names of the same thing in sets that are mixed often; applied only where the wanted name is not there itself.
SYNONYMS = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "tvmonitor": "tv",
    "pedestrian": "person",
    "people": "person",
}


def find_flip_pairs(names: Sequence[str]) -> tuple[tuple[int, int], ...] | None:
    """Return which keypoints change places in a mirror, by "left" and "right" in their names; None: they do not tell.

    Example:
        >>> find_flip_pairs(("nose", "left_eye", "right_eye"))
        ((1, 2),)
    """
    places = {name: i for i, name in enumerate(names)}
    pairs = []
    for name, i in places.items():
        other = name.replace("left", "right", 1)
        if other != name and other in places:
            pairs.append((i, places[other]))
    return tuple(pairs) if pairs or len(names) < 2 else None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled pictures, checked.

    Attributes:
        class_names: Name of each class id.
        image_ids: What the dataset calls each picture; unique in it.
        paths: Their files.
        sizes_hw: (N, 2) int64 height and width; 0, 0 where unknown until the picture is loaded.
        labels: The labels of all.
        report: What was found on opening.
        task: "detect", "segment", "pose" or "segment-pose": what `load` gives.
        keypoint_names: Name of each keypoint; empty without keypoints.
        flip_pairs: Keypoints that change places in a mirror; None where that is not known.
        weights: (N,) float64: how often each picture comes in an epoch of training; 1 by default.
        split_keys: What `split_by_hash` goes by: a picture's own name (COCO's image id, the file's name without its
            ending, for MOTChallenge with its sequence), whatever else is in the set; the image ids by default.
    """

    class_names: tuple[str, ...]
    image_ids: tuple[str, ...]
    paths: tuple[Path, ...]
    sizes_hw: np.ndarray
    labels: LabelTable
    report: DatasetReport
    task: str = "detect"
    keypoint_names: tuple[str, ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] | None = ()
    weights: np.ndarray | None = None
    split_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.split_keys:
            object.__setattr__(self, "split_keys", self.image_ids)
        if len(self.split_keys) != len(self.image_ids):
            raise ValueError(
                f"Dataset: split_keys must have the length of image_ids ({len(self.image_ids)}), got {len(self.split_keys)}"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def num_keypoints(self) -> int:
        """K of the keypoints that `load` gives; 0 without."""
        return 0 if self.labels.keypoints is None or "pose" not in self.task else self.labels.keypoints.shape[1]

    def load(self, index: int) -> Sample:
        """Decode a picture and return it with its labels.

        Raises:
            DataError: The picture cannot be decoded.
        """
        h, w = self.sizes_hw[index].tolist()
        image = decode_picture(self.paths[index], (h, w) if h and not self.labels.relative[index] else None)
        return self.labelled(index, image)

    def labelled(self, index: int, image: np.ndarray, image_hw: tuple[int, int] | None = None) -> Sample:
        """Return a picture that is decoded already with its labels.

        Args:
            index: Which picture.
            image: (h, w, 3) uint8 BGR, of its own size or reduced.
            image_hw: Its own size, where the image is reduced.
        """
        h, w = image.shape[:2]
        own_h, own_w = image_hw or (h, w)
        relative = bool(self.labels.relative[index])
        scale = np.array((w, h) if relative else (w / own_w, h / own_h), np.float32)
        table, rows = self.labels, self.labels.rows(index)
        keypoints = None
        if self.num_keypoints and table.keypoints is not None:
            keypoints = table.keypoints[rows] * np.append(scale, np.float32(1))
        masks: tuple[Rings, ...] | None = None
        if "segment" in self.task:
            masks = table.masks(rows, scale)
        return Sample(
            image=image,
            boxes=table.boxes[rows] * np.tile(scale, 2),
            class_ids=table.class_ids[rows].copy(),
            masks=masks,
            keypoints=keypoints,
            ignored=table.ignored[rows].copy(),
            image_id=self.image_ids[index],
        )

    def areas(self, index: int) -> np.ndarray | None:
        """Return what the files say of the areas of a picture's objects, in pixels of its own size; NaN where nothing."""
        return None if self.labels.areas is None else self.labels.areas[self.labels.rows(index)]

    def subset(self, chosen: Sequence[int] | np.ndarray) -> Dataset:
        """Return some pictures, in the order given; a boolean array selects as in NumPy."""
        places = np.arange(len(self))[np.asarray(chosen)] if len(chosen) else np.zeros(0, np.int64)
        return self._with(
            select_pictures(self.labels, places),
            image_ids=tuple(self.image_ids[i] for i in places),
            paths=tuple(self.paths[i] for i in places),
            sizes_hw=self.sizes_hw[places],
            weights=None if self.weights is None else self.weights[places],
            split_keys=tuple(self.split_keys[i] for i in places),
        )

    def weighted(self, weight: float) -> Dataset:
        """Return the dataset with each picture coming `weight` times as often in an epoch of training."""
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"Dataset.weighted: weight must be 0 or more, got {weight}")
        base = np.ones(len(self)) if self.weights is None else self.weights
        return replace(self, weights=base * weight)

    def _with(self, labels: LabelTable, **changes: object) -> Dataset:
        """Replace the labels, and count anew what the report counts."""
        names = changes.get("class_names", self.class_names)
        report = replace(self.report, **count_labels(labels, names))  # type: ignore[arg-type]
        return replace(self, labels=labels, report=report, **changes)  # type: ignore[arg-type]


def count_labels(labels: LabelTable, class_names: Sequence[str]) -> dict[str, object]:
    """Count what a `DatasetReport` counts."""
    trained = labels.class_ids[~labels.ignored]
    counts = np.bincount(trained, minlength=len(class_names)).tolist()
    posed = 0 if labels.keypoints is None else int((labels.keypoints[..., 2] > 0).any(1).sum())
    return {
        "num_images": len(labels),
        "num_background": int((np.diff(labels.offsets) == 0).sum()),
        "class_counts": dict(zip(class_names, counts, strict=True)),
        "num_ignored": int(labels.ignored.sum()),
        "num_masks": int((np.diff(labels.ring_offsets) > 0).sum()),
        "num_posed": posed,
    }


def remap(dataset: Dataset, names: Sequence[str], mapping: Mapping[str, str | None] | None = None) -> Dataset:
    """Bring a dataset's classes into another list; objects of classes that are not in it go, pictures stay.

    Args:
        dataset: The dataset; it must know at least one of the names.
        names: The wanted classes, in their order.
        mapping: The dataset's name to a wanted one (None drops it), before equal names and well-known synonyms
            ("motorbike" for "motorcycle", "pedestrian" for "person" ...) are looked for.

    Raises:
        ValueError: A mapping names what is not there, or no class is left.
    """
    wanted = {name: i for i, name in enumerate(names)}
    given = dict(mapping or {})
    for old, new in given.items():
        if old not in dataset.class_names:
            hint = did_you_mean(old, dataset.class_names)
            raise ValueError(f"remap: mapping must name classes of the dataset, got {old!r}{hint}")
        if new is not None and new not in wanted:
            raise ValueError(f"remap: mapping must lead to one of {', '.join(names)}, got {new!r}")
    table: np.ndarray = np.full(len(dataset.class_names), -1, np.int64)
    for i, name in enumerate(dataset.class_names):
        target = given[name] if name in given else name if name in wanted else _synonym(name, wanted)
        if target is not None:
            table[i] = wanted[target]
    if not (table >= 0).any():
        raise ValueError(
            f"remap: no class of {', '.join(dataset.class_names)} is in {', '.join(names)}; give a mapping"
        )
    labels = dataset.labels
    class_ids = table[labels.class_ids]
    rows = np.flatnonzero(class_ids >= 0)
    kept = np.concatenate([[0], np.cumsum(class_ids >= 0)]).astype(np.int64)
    chosen = select_objects(labels, rows, kept[labels.offsets], labels.relative, class_ids[rows])
    return dataset._with(chosen, class_names=tuple(names))


def without_labels(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return the pictures alone, under another list of classes: for a teacher to label."""
    labels = dataset.labels
    none: np.ndarray = np.zeros(0, np.int64)
    chosen = select_objects(labels, none, np.zeros(len(labels.offsets), np.int64), labels.relative, none)
    return dataset._with(chosen, class_names=tuple(names))


def _synonym(name: str, wanted: Mapping[str, int]) -> str | None:
    lowered = name.lower()
    same = {k.lower(): k for k in wanted}
    if lowered in same:
        return same[lowered]
    for old, new in SYNONYMS.items():
        if lowered == old and new in wanted:
            return new
        if lowered == new and old in wanted:
            return old
    return None


def concat(datasets: Sequence[Dataset], weights: Sequence[float] | None = None) -> Dataset:
    """Put datasets with the same classes one after the other.

    Args:
        datasets: At least one; bring their classes into one list by `remap` first.
        weights: How often the pictures of each come in an epoch of training.

    Raises:
        ValueError: There is none, or classes or keypoints differ.
    """
    if not datasets:
        raise ValueError("concat: datasets must be one or more, got none")
    first = datasets[0]
    for other in datasets[1:]:
        if other.class_names != first.class_names:
            raise ValueError(
                f"concat: datasets must have the same classes, got {', '.join(first.class_names)} and "
                f"{', '.join(other.class_names)}; bring them into one list by remap"
            )
    if weights is not None:
        datasets = [d.weighted(w) for d, w in zip(datasets, weights, strict=True)]
    if len(datasets) == 1:
        return datasets[0]
    ids = [i for d in datasets for i in d.image_ids]
    if len(set(ids)) < len(ids):
        ids = [f"{n}:{i}" for n, d in enumerate(datasets) for i in d.image_ids]
    labels = join_tables([d.labels for d in datasets])
    posed = next((d for d in datasets if d.keypoint_names), first)
    tasks = {d.task for d in datasets}
    wants = ["segment"] * any("segment" in t for t in tasks) + ["pose"] * any("pose" in t for t in tasks)
    issues, counts = [i for d in datasets for i in d.report.issues], IssueList().counts
    for d in datasets:
        counts.update(d.report.issue_counts)
    report = DatasetReport(
        source=" + ".join(d.report.source for d in datasets),
        format=" + ".join(dict.fromkeys(d.report.format for d in datasets)),
        split=" + ".join(dict.fromkeys(d.report.split for d in datasets)),
        found=f"{len(datasets)} datasets",
        issues=tuple(issues),
        issue_counts=counts,
        **count_labels(labels, first.class_names),  # type: ignore[arg-type]
    )
    weighted = any(d.weights is not None for d in datasets)
    return Dataset(
        class_names=first.class_names,
        image_ids=tuple(ids),
        paths=tuple(p for d in datasets for p in d.paths),
        sizes_hw=np.concatenate([d.sizes_hw for d in datasets]),
        labels=labels,
        report=report,
        task="-".join(wants) or "detect",
        keypoint_names=posed.keypoint_names,
        flip_pairs=posed.flip_pairs,
        weights=np.concatenate([np.ones(len(d)) if d.weights is None else d.weights for d in datasets])
        if weighted
        else None,
        split_keys=tuple(key for d in datasets for key in d.split_keys),
    )


def split_by_hash(dataset: Dataset, fifth: int = 0, parts: int = 5) -> tuple[Dataset, Dataset]:
    """Set a fixed part aside by a hash of the pictures' names: the same pictures on every machine, whatever is added.

    Pictures of one name (in several folders, or sets put together) fall into the same part.

    Args:
        dataset: What is divided.
        fifth: Which part is set aside, 0 to parts - 1.
        parts: In how many.

    Returns:
        The rest (to train on), and the part that is set aside.

    Example:
        >>> 0 <= hash_part("000000000139", 5) < 5
        True
    """
    if not 0 <= fifth < parts:
        raise ValueError(f"split_by_hash: fifth must be within 0 and {parts - 1}, got {fifth}")
    aside = np.array([hash_part(key, parts) == fifth for key in dataset.split_keys], bool)
    return dataset.subset(np.flatnonzero(~aside)), dataset.subset(np.flatnonzero(aside))


def hash_part(key: str, parts: int) -> int:
    """Return the part that a picture falls into, by the SHA-256 of its key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % parts
