"""Masks of COCO files as runs of pixels: polygons and run-length encodings in, areas and overlaps out.

Pixels are numbered column by column from the top left, as COCO's encodings do: pixel (x, y) is number x * H + y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.evaluation.coco_groups import find_offsets
from yolokkn.evaluation.coco_polygons import fill_polygons
from yolokkn.evaluation.coco_rle import decode_counts, runs_of_counts

_CHUNK = 256  # masks that are read at a time, so that the work stays in the processor's cache


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """Masks as runs of set pixels.

    Attributes:
        begins: (R,) int64, first pixel of each run; all runs of mask 0 first, ascending, then those of mask 1.
        ends: (R,) int64, one past the last pixel of each run.
        offsets: (N + 1,) int64: mask i has the runs offsets[i] to offsets[i + 1].
    """

    begins: np.ndarray
    ends: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def areas(self) -> np.ndarray:
        """Return the number of set pixels of each mask: (N,) int64."""
        return _sum_by_offsets(self.ends - self.begins, self.offsets)

    def intersections(self, index: int, first: int, last: int, others: MaskRuns) -> np.ndarray:
        """Count the pixels that one mask shares with each of a range of other masks of the same picture.

        Args:
            index: The mask.
            first: The first of the others.
            last: One past the last of the others.
            others: Where the others are.

        Returns:
            (last - first,) int64.
        """
        mine = slice(self.offsets[index], self.offsets[index + 1])
        theirs = slice(others.offsets[first], others.offsets[last])
        begins, ends = self.begins[mine], self.ends[mine]
        below = np.concatenate([[0], np.cumsum(ends - begins)])

        def count_below(positions: np.ndarray) -> np.ndarray:
            run = np.searchsorted(begins, positions, side="right")
            beyond = np.maximum(np.concatenate([[0], ends])[run] - positions, 0)
            return below[run] - np.where(run > 0, beyond, 0)

        shared = count_below(others.ends[theirs]) - count_below(others.begins[theirs])
        return _sum_by_offsets(shared, others.offsets[first : last + 1] - others.offsets[first])


def _sum_by_offsets(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0], np.cumsum(values)])
    return total[offsets[1:]] - total[offsets[:-1]]


def read_segmentations(segmentations: Sequence[Any], sizes_hw: Sequence[tuple[int, int]]) -> MaskRuns:
    """Turn the segmentations of a COCO file into runs.

    Args:
        segmentations: Each a list of polygons [x1, y1, x2, y2, ...] in pixels whose union is the mask, or a run-length
            encoding {"size": [H, W], "counts": list, str or bytes}.
        sizes_hw: Height and width of the picture of each.

    Raises:
        ValueError: An entry is neither, does not fit its picture, or is damaged; the message begins with the entry's
            index in brackets.
    """
    parts = [
        _read_chunk(range(i, min(i + _CHUNK, len(segmentations))), segmentations, sizes_hw)
        for i in range(0, len(segmentations), _CHUNK)
    ]
    none: np.ndarray = np.zeros(0, np.int64)
    lengths = np.concatenate([none, *(np.diff(part.offsets) for part in parts)])
    return MaskRuns(
        np.concatenate([none, *(part.begins for part in parts)]),
        np.concatenate([none, *(part.ends for part in parts)]),
        np.concatenate([[0], np.cumsum(lengths)]),
    )


def _read_chunk(indices: range, segmentations: Sequence[Any], sizes_hw: Sequence[tuple[int, int]]) -> MaskRuns:
    polygons: list[np.ndarray] = []
    polygon_masks: list[int] = []
    counts: list[Any] = []
    counts_masks: list[int] = []
    for i in indices:
        entry = segmentations[i]
        if isinstance(entry, dict):
            counts.append(_check_rle(i, entry, sizes_hw[i]))
            counts_masks.append(i)
        elif isinstance(entry, list) and entry:
            polygons.extend(_check_polygon(i, polygon) for polygon in entry)
            polygon_masks.extend([i] * len(entry))
        else:
            raise ValueError(f"[{i}] must be polygons or a run-length encoding, got {_short(entry)}")
    sizes = np.array(sizes_hw[indices.start : indices.stop], np.int64)
    of_polygon = np.array(polygon_masks, np.int64) - indices.start
    of_counts = np.array(counts_masks, np.int64) - indices.start
    parts = [
        fill_polygons(polygons, of_polygon, sizes),
        runs_of_counts(*decode_counts(counts, counts_masks), counts_masks, of_counts, sizes),
    ]
    mask, begins, ends = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    return _join_runs(mask, begins, ends, len(indices), sizes)


def _check_rle(index: int, entry: dict[str, Any], size_hw: tuple[int, int]) -> Any:
    size, counts = entry.get("size"), entry.get("counts")
    if not isinstance(size, (list, tuple)) or tuple(size) != tuple(size_hw):
        raise ValueError(f"[{index}].size must be the picture's height and width {list(size_hw)}, got {_short(size)}")
    if not isinstance(counts, (list, str, bytes)):
        raise ValueError(f"[{index}].counts must be a list or a string, got {_short(counts)}")
    return counts


def _check_polygon(index: int, polygon: Any) -> np.ndarray:
    points = np.array(polygon) if isinstance(polygon, (list, tuple)) else np.zeros(0)
    good = points.ndim == 1 and points.dtype.kind in "iuf" and len(points) >= 6 and len(points) % 2 == 0
    if not good or not (np.abs(points) < 1e6).all():
        raise ValueError(
            f"[{index}] must have polygons of 3 or more x, y pairs within a million pixels, got {_short(polygon)}"
        )
    return points.reshape(-1, 2).astype(np.float64)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _join_runs(mask: np.ndarray, begins: np.ndarray, ends: np.ndarray, count: int, sizes: np.ndarray) -> MaskRuns:
    """Unite the runs of each mask: sort by begin, and start anew where a run lies beyond all earlier ends."""
    filled = ends > begins
    mask, begins, ends = mask[filled], begins[filled], ends[filled]
    if len(mask) == 0:
        return MaskRuns(begins, ends, np.zeros(count + 1, np.int64))
    spacing = int((sizes[:, 0] * sizes[:, 1]).max()) + 1
    key_begins, key_ends = begins + mask * spacing, ends + mask * spacing
    order = np.argsort(key_begins, kind="stable")
    key_begins, key_ends, mask = key_begins[order], np.maximum.accumulate(key_ends[order]), mask[order]
    first = np.concatenate([[True], key_begins[1:] > key_ends[:-1]])
    last = np.concatenate([first[1:], [True]])
    offsets = find_offsets(mask[first], count)
    shift = mask[first] * spacing
    return MaskRuns(key_begins[first] - shift, key_ends[last] - shift, offsets)
