"""What was wrong with the labels of a dataset, entry by entry, and what was done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

ISSUE_KINDS: dict[str, str] = {
    "missing picture": "labelled, but the file is not there",
    "broken picture": "the file is no picture that can be read",
    "size differs": "the labels are for a picture of another size",
    "missing labels": "the picture's labels are not there",
    "broken labels": "labels that cannot be read",
    "unknown class": "a class that is not in the list",
    "zero area": "a box without width or height, or a corner on the wrong side",
    "out of frame": "a box that leaves the picture",
    "duplicate": "the same box and class twice in a picture",
    "bad mask": "a mask that is not one",
    "bad keypoints": "keypoints that are not numbers, or not as many as there must be",
}


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong.

    Attributes:
        kind: A key of `ISSUE_KINDS`.
        where: File and row, or file and entry.
        message: What came.
        action: "dropped", "clipped", "kept" or "picture left out".
    """

    kind: str
    where: str
    message: str
    action: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.message}; {self.action}"


@dataclass(frozen=True)
class DatasetReport:
    """What was found when a dataset was opened.

    Attributes:
        source: The path that was opened.
        format: "coco", "voc", "yolo", "mot" or "instance_png".
        split: The part of it.
        found: How it was recognised, in words.
        num_images: Pictures that can be loaded.
        num_background: Of these, pictures without an object.
        class_counts: Objects of each class (ignored regions not counted).
        num_ignored: Crowds and "difficult" ones.
        num_masks: Objects with a mask.
        num_posed: Objects with a labelled keypoint.
        issues: What is wrong, in the files' order; at most `MAX_ISSUES` of a kind.
        issue_counts: How many there are of each kind, all of them.
    """

    source: str
    format: str
    split: str
    found: str
    num_images: int
    num_background: int
    class_counts: Mapping[str, int]
    num_ignored: int = 0
    num_masks: int = 0
    num_posed: int = 0
    issues: tuple[Issue, ...] = ()
    issue_counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_objects(self) -> int:
        """Objects that are trained on."""
        return sum(self.class_counts.values())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.issue_counts

    def text(self, limit: int = 20) -> str:
        """Return the report as lines; at most `limit` issues of each kind are listed."""
        classes = ", ".join(f"{name} {count}" for name, count in self.class_counts.items() if count)
        extras = [
            f"{count:,} {word}"
            for count, word in (
                (self.num_masks, "masks"),
                (self.num_posed, "with keypoints"),
                (self.num_ignored, "ignored regions"),
            )
            if count
        ]
        lines = [
            f"{self.source}: {self.format}, split {self.split or 'all'} ({self.found})",
            f"{self.num_images:,} pictures ({self.num_background:,} without objects), {self.num_objects:,} objects"
            + (f"; {', '.join(extras)}" if extras else ""),
            f"classes: {classes or 'none'}",
        ]
        if self.ok:
            return "\n".join([*lines, "nothing wrong"])
        for kind, count in self.issue_counts.items():
            lines.append(f"{kind}: {count:,} ({ISSUE_KINDS.get(kind, '')})")
            shown = [issue for issue in self.issues if issue.kind == kind][:limit]
            lines += [f"  {issue.where}: {issue.message}; {issue.action}" for issue in shown]
            if count > len(shown):
                lines.append(f"  ... and {count - len(shown):,} more")
        return "\n".join(lines)


class IssueList:
    """Collects issues; keeps the first `MAX_ISSUES` of each kind and counts all."""

    MAX_ISSUES = 200

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._kept: list[Issue] = []

    def add(self, kind: str, where: str, message: str, action: str) -> None:
        """Note an issue."""
        self.counts[kind] += 1
        if self.counts[kind] <= self.MAX_ISSUES:
            self._kept.append(Issue(kind, where, message, action))

    @property
    def kept(self) -> tuple[Issue, ...]:
        """The issues that are listed."""
        return tuple(self._kept)
