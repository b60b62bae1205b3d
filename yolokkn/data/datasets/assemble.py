"""What every format does on opening: look at the pictures, collect labels, count, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolokkn.data.datasets.base import Dataset, count_labels
from yolokkn.data.datasets.labels import LabelBuilder
from yolokkn.data.datasets.pictures import Check, inspect_pictures
from yolokkn.data.datasets.report import DatasetReport, IssueList


@dataclass(frozen=True)
class Options:
    """What is wanted of a dataset.

    Attributes:
        split: Which part; formats without parts give all.
        task: One of `TASKS`.
        check: How closely the picture files are looked at.
        names: Classes, for formats that do not list them.
        images: Where the pictures are, where they are not found.
    """

    split: str = "train"
    task: str = "detect"
    check: Check = "headers"
    names: tuple[str, ...] | None = None
    images: Path | None = None


class Assembly:
    """A dataset in the making.

    Attributes:
        issues: What is wrong so far.
        labels: Takes the labels of the pictures in `kept`, in their order.
        kept: Places of the pictures that can be loaded, after `pictures`.
        sizes_hw: Sizes as the headers say, for the pictures in `kept`.
    """

    def __init__(
        self,
        kind: str,
        where: Path,
        options: Options,
        found: str,
        class_names: Sequence[str],
        keypoint_names: Sequence[str] = (),
    ) -> None:
        self.options = options
        self.issues = IssueList()
        self.class_names = tuple(class_names)
        self.keypoint_names = tuple(keypoint_names)
        self.labels = LabelBuilder(self.class_names, len(self.keypoint_names), self.issues)
        self.kept: list[int] = []
        self.sizes_hw: list[tuple[int, int]] = []
        self.found = found
        self._kind, self._where = kind, where
        self._ids: list[str] = []
        self._split_keys: list[str] = []
        self._paths: list[Path] = []

    def pictures(
        self,
        image_ids: Sequence[str],
        paths: Sequence[Path],
        labelled_hw: Sequence[tuple[int, int] | None],
        split_keys: Sequence[str] | None = None,
    ) -> None:
        """Look at the picture files; those that are missing or broken are left out.

        Args:
            image_ids: What the dataset calls them.
            paths: Their files.
            labelled_hw: The sizes that the labels are for; None: relative, or unknown.
            split_keys: Their own names, where the ids depend on what else is in the set.
        """
        looked = inspect_pictures(paths, self.options.check)
        for place, (path, (hw, wrong)) in enumerate(zip(paths, looked, strict=True)):
            if wrong:
                kind = "missing picture" if wrong == "missing" else "broken picture"
                self.issues.add(kind, str(path), "no such file" if wrong == "missing" else wrong, "picture left out")
                continue
            want = labelled_hw[place]
            if hw is not None and want is not None and hw not in (want, want[::-1]):
                self.issues.add(
                    "size differs",
                    str(path),
                    f"labels are for {want[1]} x {want[0]}, the picture has {hw[1]} x {hw[0]}",
                    "labels kept as they are",
                )
                want = hw
            self.kept.append(place)
            self._ids.append(image_ids[place])
            self._split_keys.append((split_keys or image_ids)[place])
            self._paths.append(path)
            self.sizes_hw.append(want or hw or (0, 0))

    def finish(self, flip_pairs: tuple[tuple[int, int], ...] | None = ()) -> Dataset:
        """Return the dataset with its report."""
        labels = self.labels.finish()
        report = DatasetReport(
            source=str(self._where),
            format=self._kind,
            split=self.options.split,
            found=self.found,
            issues=self.issues.kept,
            issue_counts=dict(self.issues.counts),
            **count_labels(labels, self.class_names),  # type: ignore[arg-type]
        )
        return Dataset(
            class_names=self.class_names,
            image_ids=tuple(self._ids),
            paths=tuple(self._paths),
            sizes_hw=np.array(self.sizes_hw, np.int64).reshape(-1, 2),
            labels=labels,
            report=report,
            task=self.options.task,
            keypoint_names=self.keypoint_names,
            flip_pairs=flip_pairs,
            split_keys=tuple(self._split_keys),
        )
