"""The labels of all pictures of a dataset as flat arrays, and their builder, which checks every label once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from yolokkn.data.datasets.report import IssueList
from yolokkn.data.sample import Rings

TOLERANCE_PX = 1.0  # files round: boxes that leave the picture by no more are clipped without a word


@dataclass(frozen=True, eq=False)
class LabelTable:
    """Labels of N pictures with M objects in all; flat, so that a million objects cost no million Python objects.

    Attributes:
        offsets: (N + 1,) int64: the objects of picture i are offsets[i] to offsets[i + 1].
        boxes: (M, 4) float32 xyxy; pixels, or parts of the picture's sides where `relative`.
        class_ids: (M,) int64.
        ignored: (M,) bool.
        ring_offsets: (M + 1,) int64 into the rings.
        point_offsets: (R + 1,) int64 into the points.
        points: (P, 2) float32.
        keypoints: (M, K, 3) float32, or None.
        relative: (N,) bool: coordinates are within 0 and 1 of the picture's sides.
        areas: (M,) float64: what the file says each object's area is, in pixels, NaN where it does not; None where the
            format has no areas.
    """

    offsets: np.ndarray
    boxes: np.ndarray
    class_ids: np.ndarray
    ignored: np.ndarray
    ring_offsets: np.ndarray
    point_offsets: np.ndarray
    points: np.ndarray
    keypoints: np.ndarray | None
    relative: np.ndarray
    areas: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def has_masks(self) -> bool:
        """Whether any object has a mask."""
        return len(self.points) > 0

    def rows(self, index: int) -> slice:
        """Return where the objects of a picture are."""
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))

    def masks(self, rows: slice, scale: np.ndarray) -> tuple[Rings, ...]:
        """Return the rings of some objects, times a scale of x and y."""
        rings = self.ring_offsets[rows.start : rows.stop + 1].tolist()
        ends = self.point_offsets[rings[0] : rings[-1] + 1]
        points = self.points[ends[0] : ends[-1]] * scale
        parts = [points[a:b] for a, b in pairwise((ends - ends[0]).tolist())]
        return tuple(tuple(parts[a - rings[0] : b - rings[0]]) for a, b in pairwise(rings))


class LabelBuilder:
    """Takes labels picture by picture, checks, clips or drops them, and notes what it did.

    Args:
        class_names: The classes that are there.
        num_keypoints: K; 0 without keypoints.
        issues: Where what is wrong is noted.
    """

    def __init__(self, class_names: Sequence[str], num_keypoints: int, issues: IssueList) -> None:
        self._num_classes = len(class_names)
        self._num_keypoints = num_keypoints
        self._issues = issues
        self._counts: list[int] = []
        self._relative: list[bool] = []
        self._boxes: list[tuple[float, float, float, float]] = []
        self._class_ids: list[int] = []
        self._ignored: list[bool] = []
        self._rings: list[Rings] = []
        self._keypoints: list[np.ndarray] = []
        self._areas: list[float] = []
        self._limit = (np.inf, np.inf)
        self._seen: set[tuple[int, ...]] = set()

    def start_picture(self, hw: tuple[int, int] | None, *, relative: bool = False) -> None:
        """Begin the next picture.

        Args:
            hw: Its height and width; None where unknown (boxes are then not clipped).
            relative: Coordinates are parts of its sides.
        """
        self._counts.append(0)
        self._relative.append(relative)
        self._limit = (1.0, 1.0) if relative else (np.inf, np.inf) if hw is None else (float(hw[1]), float(hw[0]))
        self._seen = set()

    def add(
        self,
        where: str,
        class_id: int,
        box: Sequence[float] | None,
        *,
        rings: Rings = (),
        keypoints: np.ndarray | None = None,
        ignored: bool = False,
        area: float | None = None,
    ) -> bool:
        """Add an object to the current picture.

        Args:
            where: File and row, for the report.
            class_id: Its class.
            box: x1, y1, x2, y2; None: the bounds of its rings.
            rings: Its mask.
            keypoints: (K, 3).
            ignored: A crowd or "difficult".
            area: In pixels, where the file says it.

        Returns:
            Whether it was taken.
        """
        if not 0 <= class_id < self._num_classes:
            self._issues.add("unknown class", where, f"class {class_id} of {self._num_classes}", "dropped")
            return False
        if box is None:
            points = np.concatenate(rings)
            box = (*points.min(0).tolist(), *points.max(0).tolist())
        kept = self._checked_box(where, tuple(float(v) for v in box))
        if kept is None or self._is_repeated(where, class_id, kept):
            return False
        self._boxes.append(kept)
        self._class_ids.append(class_id)
        self._ignored.append(ignored)
        self._areas.append(np.nan if area is None else area)
        self._rings.append(self._clipped_rings(rings))
        if self._num_keypoints:
            self._keypoints.append(self._checked_keypoints(where, keypoints))
        self._counts[-1] += 1
        return True

    def _checked_box(self, where: str, box: tuple[float, ...]) -> tuple[float, float, float, float] | None:
        x1, y1, x2, y2 = box
        shown = ", ".join(f"{v:g}" for v in box)
        if not all(np.isfinite(box)):
            self._issues.add("broken labels", where, f"box {shown}", "dropped")
            return None
        if x2 <= x1 or y2 <= y1:
            self._issues.add("zero area", where, f"box {shown}", "dropped")
            return None
        w, h = self._limit
        cx1, cy1, cx2, cy2 = max(x1, 0.0), max(y1, 0.0), min(x2, w), min(y2, h)
        if cx2 <= cx1 or cy2 <= cy1:
            self._issues.add("out of frame", where, f"box {shown} of a picture {w:g} x {h:g}", "dropped")
            return None
        slack = TOLERANCE_PX if w > 1 or h > 1 else 2e-3
        if max(cx1 - x1, cy1 - y1, x2 - cx2, y2 - cy2) > slack + 1e-6:
            self._issues.add("out of frame", where, f"box {shown} of a picture {w:g} x {h:g}", "clipped")
        return cx1, cy1, cx2, cy2

    def _is_repeated(self, where: str, class_id: int, box: tuple[float, float, float, float]) -> bool:
        steps = 10 if self._limit != (1.0, 1.0) else 1e5
        key = (class_id, *(round(v * steps) for v in box))
        if key in self._seen:
            self._issues.add("duplicate", where, f"box {', '.join(f'{v:g}' for v in box)}", "dropped")
            return True
        self._seen.add(key)
        return False

    def _clipped_rings(self, rings: Rings) -> Rings:
        w, h = self._limit
        good = [np.asarray(ring, np.float32).reshape(-1, 2) for ring in rings if len(ring) >= 3]
        high = np.array((w, h), np.float32)
        return tuple(np.minimum(np.maximum(ring, 0), high) for ring in good if np.isfinite(ring).all())

    def _checked_keypoints(self, where: str, keypoints: np.ndarray | None) -> np.ndarray:
        blank: np.ndarray = np.zeros((self._num_keypoints, 3), np.float32)
        if keypoints is None:
            return blank
        values = np.array(keypoints, np.float32)
        if values.shape != blank.shape or not np.isfinite(values).all():
            self._issues.add("bad keypoints", where, f"shape {values.shape} or not finite", "without keypoints")
            return blank
        w, h = self._limit
        visible, slack = values[:, 2] > 0, (TOLERANCE_PX if w > 1 or h > 1 else 2e-3)
        outside = visible & ((values[:, :2] < -slack) | (values[:, :2] > np.array((w, h)) + slack)).any(1)
        if outside.any():
            names = ", ".join(map(str, np.flatnonzero(outside)))
            self._issues.add("bad keypoints", where, f"keypoints {names} outside the picture", "those dropped")
        values[outside | ~visible] = 0
        values[:, 2] = np.minimum(np.rint(values[:, 2]), 2)
        return values

    def finish(self) -> LabelTable:
        """Return the labels as flat arrays."""
        rings = [ring for rings in self._rings for ring in rings]
        return LabelTable(
            offsets=_offsets(self._counts),
            boxes=np.array(self._boxes, np.float32).reshape(-1, 4),
            class_ids=np.array(self._class_ids, np.int64),
            ignored=np.array(self._ignored, bool),
            ring_offsets=_offsets([len(r) for r in self._rings]),
            point_offsets=_offsets([len(r) for r in rings]),
            points=np.concatenate(rings) if rings else np.zeros((0, 2), np.float32),
            keypoints=np.array(self._keypoints, np.float32).reshape(-1, self._num_keypoints, 3)
            if self._num_keypoints
            else None,
            relative=np.array(self._relative, bool),
            areas=None if np.isnan(self._areas).all() else np.array(self._areas, np.float64),
        )


def _offsets(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.array(counts, np.int64))]).astype(np.int64)


def select_pictures(table: LabelTable, chosen: np.ndarray) -> LabelTable:
    """Return the labels of some pictures, in the order given."""
    chosen = np.asarray(chosen, np.int64)
    rows, counts = _gather(table.offsets, chosen)
    return select_objects(table, rows, _offsets(counts.tolist()), table.relative[chosen])


def select_objects(
    table: LabelTable, rows: np.ndarray, offsets: np.ndarray, relative: np.ndarray, class_ids: np.ndarray | None = None
) -> LabelTable:
    """Return some objects, with new offsets of the pictures, and new classes where given."""
    rings, ring_counts = _gather(table.ring_offsets, rows)
    points, point_counts = _gather(table.point_offsets, rings)
    return LabelTable(
        offsets=offsets,
        boxes=table.boxes[rows],
        class_ids=table.class_ids[rows] if class_ids is None else class_ids,
        ignored=table.ignored[rows],
        ring_offsets=_offsets(ring_counts.tolist()),
        point_offsets=_offsets(point_counts.tolist()),
        points=table.points[points],
        keypoints=None if table.keypoints is None else table.keypoints[rows],
        relative=relative,
        areas=None if table.areas is None else table.areas[rows],
    )


def _gather(offsets: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the members of the chosen groups one after the other, and how many each has."""
    counts = offsets[chosen + 1] - offsets[chosen]
    begins: np.ndarray = np.repeat(offsets[chosen] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return begins + np.arange(int(counts.sum())), counts


def join_tables(tables: Sequence[LabelTable]) -> LabelTable:
    """Put the pictures of several tables one after the other; keypoints must agree or be absent."""

    def chain(name: str) -> np.ndarray:
        parts: list[np.ndarray] = [np.zeros(1, np.int64)]
        total = 0
        for table in tables:
            values = getattr(table, name)
            parts.append(values[1:] + total)
            total += int(values[-1])
        return np.concatenate(parts)

    counts = {t.keypoints.shape[1] for t in tables if t.keypoints is not None}
    if len(counts) > 1:
        raise ValueError(f"concat: datasets must have the same number of keypoints, got {sorted(counts)}")
    keypoints = None
    if counts:
        k = counts.pop()
        blanks = (
            t.keypoints if t.keypoints is not None else np.zeros((len(t.boxes), k, 3), np.float32) for t in tables
        )
        keypoints = np.concatenate(list(blanks))
    areas = None
    if any(t.areas is not None for t in tables):
        areas = np.concatenate([np.full(len(t.boxes), np.nan) if t.areas is None else t.areas for t in tables])
    return LabelTable(
        offsets=chain("offsets"),
        boxes=np.concatenate([t.boxes for t in tables]),
        class_ids=np.concatenate([t.class_ids for t in tables]),
        ignored=np.concatenate([t.ignored for t in tables]),
        ring_offsets=chain("ring_offsets"),
        point_offsets=chain("point_offsets"),
        points=np.concatenate([t.points for t in tables]),
        keypoints=keypoints,
        relative=np.concatenate([t.relative for t in tables]),
        areas=areas,
    )
