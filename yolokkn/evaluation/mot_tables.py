"""MOTChallenge's ground truths and results as arrays, and which of their boxes a benchmark counts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yolokkn.errors import DataError, did_you_mean
from yolokkn.evaluation.mot_pairs import overlapping_pairs, reaches
from yolokkn.tracking import assign_pairs, read_columns, read_seqinfo
from yolokkn.tracking.mot_files import find_sequence_files

PEDESTRIAN = 1
MATCH_IOU = 0.5

RULES: dict[str, tuple[int, ...]] = {
    "mot15": (),
    "mot16": (2, 7, 8, 12),
    "mot17": (2, 7, 8, 12),
    "mot20": (2, 6, 7, 8, 12),
    "dancetrack": (),
}
"""Classes that are neither to be found nor false when found: on vehicles, static, distractors, reflections; MOT20 adds
non-motorized vehicles. MOT15 has no classes: every box that its flag counts is a person."""


@dataclass(frozen=True, eq=False)
class MotTable:
    """Boxes of a sequence with identities, frames ascending.

    Attributes:
        frames: (N,) int64, from 1.
        ids: (N,) int64.
        boxes: (N, 4) float64 x1, y1, x2, y2, as the file's x, y, w, h say.
        counted: (N,) bool; a ground truth's flag (column 7) is not 0. True throughout for results.
        class_ids: (N,) int64; MOTChallenge's, 1 for pedestrians.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    counted: np.ndarray
    class_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: np.ndarray) -> MotTable:
        """Return some rows, by a mask or by places."""
        return MotTable(self.frames[rows], self.ids[rows], self.boxes[rows], self.counted[rows], self.class_ids[rows])


def read_table(path: str | os.PathLike[str], *, is_truth: bool = False) -> MotTable:
    """Read a ground truth or a result file of MOTChallenge: `frame,id,x,y,w,h,flag or confidence,class,...`.

    Raises:
        DataError: A line is malformed, or an identity is twice in one frame; the message names the file.
        OSError: The file cannot be read.
    """
    try:
        columns = read_columns(path).T
    except ValueError as error:
        raise DataError(str(error).partition(": ")[2]) from None
    order = np.argsort(columns[0], kind="stable")
    frames, ids = (columns[i][order].astype(np.int64) for i in (0, 1))
    left, top, width, height, flag = (columns[i][order] for i in range(2, 7))
    has_class = is_truth and len(columns) > 7
    if has_class and (broken := columns[7][columns[7] != np.floor(columns[7])]).size:
        raise DataError(f"{os.fspath(path)}: classes must be whole numbers, got {broken[0]:g}")
    class_ids = columns[7][order].astype(np.int64) if has_class else np.full(len(order), PEDESTRIAN, np.int64)
    _refuse_twins(Path(path), frames, ids)
    boxes = np.stack((left, top, left + width, top + height), 1)
    return MotTable(frames, ids, boxes, flag != 0 if is_truth else np.ones(len(order), bool), class_ids)


def apply_rules(truth: MotTable, results: MotTable, rules: str) -> tuple[MotTable, MotTable]:
    """Leave out what a benchmark does not count: other classes, and results that lie on distractors.

    A result is on a distractor when the best matching of all boxes of its frame, by IoU of 0.5 or more, gives it one
    (Dendorfer et al., MOTChallenge, 2021, section 4.1, as TrackEval does it).

    Raises:
        ValueError: There are no such rules.
    """
    if rules not in RULES:
        raise ValueError(
            f"apply_rules: rules must be one of {', '.join(RULES)}, got {rules!r}{did_you_mean(rules, RULES)}"
        )
    distractors = np.isin(truth.class_ids, RULES[rules])
    if distractors.any():
        rows, columns, ious = overlapping_pairs(truth.frames, truth.boxes, results.frames, results.boxes)
        near = reaches(ious, MATCH_IOU)
        rows, columns, ious = rows[near], columns[near], ious[near]
        pairs = assign_pairs(rows, columns, -ious, 0.0)
        keep: np.ndarray = np.ones(len(results), bool)
        keep[columns[pairs][distractors[rows[pairs]]]] = False
        results = results.select(keep)
    wanted = truth.counted if rules == "mot15" else truth.counted & (truth.class_ids == PEDESTRIAN)
    return truth.select(wanted), results


def find_sequences(truth: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the ground truth of each sequence: a file; SEQ/gt/gt.txt; a folder of those, or of SEQ.txt.

    Raises:
        FileNotFoundError: There is none.
    """
    return find_sequence_files(truth, "gt/gt.txt")


def find_results(results: str | os.PathLike[str], names: list[str]) -> dict[str, Path]:
    """Return the result file of each sequence: SEQ.txt in a folder or in its folder `data`; a file for one sequence.

    Raises:
        FileNotFoundError: A sequence has none.
    """
    root = Path(results)
    if root.is_file() and len(names) == 1:
        return {names[0]: root}
    folder = root / "data" if (root / "data").is_dir() else root
    missing = [name for name in names if not (folder / f"{name}.txt").is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"find_results: {folder} must hold the results of each sequence, and has no {missing[0]}.txt{more}"
        )
    return {name: folder / f"{name}.txt" for name in names}


def sequence_length(truth: Path) -> int:
    """Return the number of frames that the sequence's seqinfo.ini gives; 0 where there is none."""
    info = truth.parent.parent / "seqinfo.ini"
    return read_seqinfo(info).num_frames if truth.name == "gt.txt" and info.is_file() else 0


def refuse_frames_beyond(table: MotTable, num_frames: int, path: Path) -> None:
    """Raise DataError where a table has frames that its sequence has not."""
    if num_frames and len(table) and table.frames[-1] > num_frames:
        raise DataError(f"{path}: frames must be within 1 and {num_frames}, got {table.frames[-1]}")


def _refuse_twins(path: Path, frames: np.ndarray, ids: np.ndarray) -> None:
    order = np.lexsort((ids, frames))
    same = (np.diff(frames[order]) == 0) & (np.diff(ids[order]) == 0)
    if same.any():
        place = order[int(np.argmax(same))]
        raise DataError(
            f"{path}: an identity must come once in a frame, got {ids[place]} twice in frame {frames[place]}"
        )
