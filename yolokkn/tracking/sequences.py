"""Whole sequences of detections: found in folders, tracked, thinned, their gaps filled."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.tracking.mot_files import (
    MAX_FRAME,
    MotRow,
    SequenceInfo,
    find_sequence_files,
    format_rows,
    read_columns,
    read_detections,
    read_seqinfo,
)


@dataclass(frozen=True, eq=False)
class SequenceDetections:
    """The detections of a sequence.

    Attributes:
        name: Of the sequence.
        frames: (N,) int64, ascending, from 1.
        places: (N, 4) float64 left, top, width, height, in pixels.
        scores: (N,) float64.
        class_ids: (N,) int32.
        num_frames: Length of the sequence.
        frame_rate: Frames a second; 0 where none is known.
        cameras: Of frames, the (2, 3) float64 matrix by which the camera moved the picture since the frame before.
        shown: (F,) int64 frames that there are, ascending; None for all from 1 to num_frames.
    """

    name: str
    frames: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    num_frames: int
    frame_rate: float = 0.0
    cameras: dict[int, np.ndarray] = field(default_factory=dict)
    shown: np.ndarray | None = None

    @classmethod
    def from_columns(cls, name: str, columns: np.ndarray, info: SequenceInfo | None = None) -> SequenceDetections:
        """Take (N, 7 or more) columns as `read_columns` gives them: frame, id, left, top, width, height, confidence."""
        columns = columns[np.argsort(columns[:, 0], kind="stable")]
        frames: np.ndarray = columns[:, 0].astype(np.int64)
        info = info or SequenceInfo()
        length = info.num_frames or int(frames.max(initial=0))
        classes: np.ndarray = np.zeros(len(frames), np.int32)
        return cls(name, frames, columns[:, 2:6], columns[:, 6], classes, length, info.frame_rate)

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32 xyxy."""
        with np.errstate(over="ignore"):
            return as_float32(np.concatenate([self.places[:, :2], self.places[:, :2] + self.places[:, 2:]], 1))

    def thinned(self, keep: np.ndarray) -> SequenceDetections:
        """Return the sequence with only these frames (ascending); cameras are joined over those left out."""
        rows = np.isin(self.frames, keep)
        cameras: dict[int, np.ndarray] = {}
        wanted, path, moved = set(keep.tolist()), np.eye(3), False
        for frame in range(1, self.num_frames + 1):
            if frame in self.cameras:
                path, moved = np.vstack([self.cameras[frame], [0.0, 0.0, 1.0]]) @ path, True
            if frame in wanted:
                if moved:
                    cameras[frame] = np.ascontiguousarray(path[:2])
                path, moved = np.eye(3), False
        return replace(
            self,
            frames=self.frames[rows],
            places=self.places[rows],
            scores=self.scores[rows],
            class_ids=self.class_ids[rows],
            cameras=cameras,
            shown=np.asarray(keep, np.int64),
        )


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return float32 values, infinite where they are too large: trackers leave such rows alone."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


@dataclass(frozen=True, eq=False)
class TrackRows:
    """Boxes with identities, frames ascending.

    Attributes:
        frames: (K,) int64.
        ids: (K,) int64, from 1.
        places: (K, 4) float64 left, top, width, height.
        scores: (K,) float64.
        rows: (K,) int64 places of the detections in their sequence; -1 for boxes that were filled in.
    """

    frames: np.ndarray
    ids: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def to_text(self) -> str:
        """Return MOTChallenge's lines, as `format_rows` makes them."""
        columns = (self.frames.tolist(), self.ids.tolist(), *self.places.T.tolist(), self.scores.tolist())
        return format_rows(map(MotRow, *columns))


def track_sequence(sequence: SequenceDetections, tracker: Any) -> TrackRows:
    """Run a tracker in its first state over a sequence, frame by frame; frames without detections count.

    Timestamps are (frame - 1) / frame_rate where the rate is known or frames are left out; else a nominal frame passes
    from frame to frame.
    """
    boxes, scores = sequence.boxes, as_float32(sequence.scores)
    shown: np.ndarray = np.arange(1, sequence.num_frames + 1) if sequence.shown is None else sequence.shown
    begins = np.asarray(np.searchsorted(sequence.frames, shown, "left"))
    ends = np.asarray(np.searchsorted(sequence.frames, shown, "right"))
    rate = sequence.frame_rate or (tracker.frame_rate if sequence.shown is not None else 0.0)
    ids: np.ndarray = np.full(len(boxes), -1, np.int64)
    for frame, begin, end in zip(shown.tolist(), begins.tolist(), ends.tolist(), strict=True):
        here = slice(begin, end)
        camera = sequence.cameras.get(frame)
        options = {} if camera is None else {"camera": camera}
        time_s = (frame - 1) / rate if rate else None
        ids[here] = tracker.update(boxes[here], scores[here], sequence.class_ids[here], time_s, **options)
    rows = np.flatnonzero(ids > 0)
    return TrackRows(sequence.frames[rows], ids[rows], sequence.places[rows], sequence.scores[rows], rows)


def track_detections(
    detections: str | os.PathLike[str] | Iterable[MotRow],
    tracker: Any,
    frame_rate: float | None = None,
    *,
    num_frames: int | None = None,
    min_confidence: float = 0.0,
) -> list[MotRow]:
    """Run a tracker over the detections of a file or of rows, frame by frame; frames without detections count.

    Args:
        detections: A MOTChallenge detection file, or its rows in any order of frames.
        tracker: A tracker in its first state (`create(...)` or after `reset`).
        frame_rate: The sequence's frames a second, where it differs from the tracker's nominal rate: timestamps are
            then (frame - 1) / frame_rate. None: one nominal frame from frame to frame.
        num_frames: Length of the sequence; by default up to the last frame with a detection.
        min_confidence: Detections below it are left out before tracking.

    Returns:
        The rows that belong to a confirmed track, with their ids: frames ascending, within one in the input's order.

    Raises:
        ValueError: The file is malformed, or frame_rate is no rate.
    """
    if frame_rate is not None and not (math.isfinite(frame_rate) and frame_rate > 0):
        raise ValueError(f"track_detections: frame_rate must be above 0, got {frame_rate}")
    rows = read_detections(detections) if isinstance(detections, (str, os.PathLike)) else list(detections)
    last = num_frames if num_frames is not None else max((row.frame for row in rows), default=0)
    rows = sorted((r for r in rows if r.confidence >= min_confidence and r.frame <= last), key=lambda row: row.frame)
    sequence = SequenceDetections(
        "",
        np.array([r.frame for r in rows], np.int64),
        np.array([(r.left, r.top, r.width, r.height) for r in rows], np.float64).reshape(-1, 4),
        np.array([r.confidence for r in rows], np.float64),
        np.array([r.class_id for r in rows], np.int32),
        last,
        frame_rate or 0.0,
    )
    tracked = track_sequence(sequence, tracker)
    pairs = zip(tracked.rows.tolist(), tracked.ids.tolist(), strict=True)
    return [rows[row]._replace(track_id=track_id) for row, track_id in pairs]


def fill_gaps(tracked: TrackRows, most: int) -> TrackRows:
    """Return the tracks with boxes on straight lines where they were missed for fewer than `most` frames.

    Such a box has the lower of the scores at the gap's ends. For what is not live: a gap is known to be one at its end.
    """
    order = np.lexsort((tracked.frames, tracked.ids))
    frames, ids = tracked.frames[order], tracked.ids[order]
    gaps = np.diff(frames)
    starts = np.flatnonzero((np.diff(ids) == 0) & (gaps > 1) & (gaps <= most))
    counts: np.ndarray = gaps[starts] - 1
    begin: np.ndarray = np.repeat(starts, counts)
    offsets = np.arange(len(begin)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    way = (offsets / np.repeat(gaps[starts], counts))[:, None]
    places, scores = tracked.places[order], tracked.scores[order]
    filled: tuple[np.ndarray, ...] = (
        frames[begin] + offsets,
        ids[begin],
        places[begin] + (places[begin + 1] - places[begin]) * way,
        np.minimum(scores[begin], scores[begin + 1]),
        np.full(len(begin), -1, np.int64),
    )
    own = (tracked.frames, tracked.ids, tracked.places, tracked.scores, tracked.rows)
    joined = [np.concatenate(pair) for pair in zip(own, filled, strict=True)]
    back = np.argsort(joined[0], kind="stable")
    return TrackRows(*(part[back] for part in joined))


def find_detections(where: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the detection file of each sequence: a file; SEQ/det/det.txt; a folder of those, or of SEQ.txt.

    Raises:
        FileNotFoundError: There is none.
    """
    return find_sequence_files(where, "det/det.txt")


def read_sequence(
    path: Path, name: str = "", *, with_cameras: bool = True, folder: Path | None = None
) -> SequenceDetections:
    """Read a detection file, with the seqinfo.ini and gmc.txt of its sequence's folder.

    Args:
        path: The file.
        name: The sequence's; by default the file's.
        with_cameras: Read gmc.txt where there is one.
        folder: Where they are looked for after the folder of SEQ/det/det.txt: that of the ground truth, say.

    Raises:
        ValueError: A file is malformed, or has frames beyond the length that seqinfo.ini tells; the message names it.
        OSError: A file cannot be read.
    """
    own = path.parent.parent if path.name == "det.txt" and path.parent.name == "det" else None
    folders = [one for one in (own, folder) if one]
    info = SequenceInfo()
    if told := next((one for one in folders if (one / "seqinfo.ini").is_file()), None):
        info = read_seqinfo(told / "seqinfo.ini")
    sequence = SequenceDetections.from_columns(name or path.stem, read_columns(path), info)
    last = int(sequence.frames[-1]) if len(sequence.frames) else 0
    if last > sequence.num_frames:
        raise ValueError(f"{path}: frames must be within 1 and {info.num_frames}, as seqinfo.ini tells, got {last}")
    moved = next((one for one in folders if (one / "gmc.txt").is_file()), None)
    if with_cameras and moved:
        return replace(sequence, cameras=read_cameras(moved / "gmc.txt"))
    return sequence


def read_cameras(path: str | os.PathLike[str]) -> dict[int, np.ndarray]:
    """Read a file of the camera's motions: `frame xx xy x0 yx yy y0` a line, by blanks, tabs or commas; frames from 1.

    Raises:
        ValueError: A line is malformed; the message names file and line.
        OSError: The file cannot be read.
    """
    cameras: dict[int, np.ndarray] = {}
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            cells = line.replace(",", " ").split()
            if not cells:
                continue
            try:
                values = [float(cell) for cell in cells]
            except ValueError:
                values = []
            if len(values) != 7 or values[0] != int(values[0] if math.isfinite(values[0]) else -1):
                raise ValueError(
                    f"read_cameras: {os.fspath(path)}:{number} must be a frame and six numbers, got {line[:80].strip()!r}"
                )
            if not 0 <= values[0] <= MAX_FRAME:
                raise ValueError(f"read_cameras: {os.fspath(path)}:{number} must have a frame within 0 and {MAX_FRAME}")
            cameras[int(values[0])] = np.array(values[1:]).reshape(2, 3)
    return cameras
