"""A tracker run over given detections and measured at once; on fewer frames too, to see what that costs it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from yolokkn.errors import DataError
from yolokkn.evaluation.mot import MotFigures, MotMetrics, measure_sequence
from yolokkn.evaluation.mot_tables import (
    PEDESTRIAN,
    MotTable,
    find_sequences,
    read_table,
    refuse_frames_beyond,
    sequence_length,
)
from yolokkn.tracking import (
    SequenceDetections,
    TrackRows,
    fill_gaps,
    find_detections,
    nominal_frame_rate,
    read_sequence,
    track_sequence,
)

Thinning = Callable[[int, float], np.ndarray]
"""From the length and the frames a second of a sequence (0: unknown), the frames to keep, ascending from 1."""


def keep_all(num_frames: int, frame_rate: float) -> np.ndarray:
    """Keep every frame."""
    return np.arange(1, num_frames + 1)


def keep_rate(fps: float) -> Thinning:
    """Return a thinning to so many frames a second, evenly: those that a slower camera's clock would have caught.

    Raises:
        DataError: (by the thinning) The sequence's frame rate is unknown or lower.
    """

    def keep(num_frames: int, frame_rate: float) -> np.ndarray:
        if not 0 < fps <= frame_rate:
            known = f"{frame_rate:g} frames a second" if frame_rate else "no seqinfo.ini that tells its frame rate"
            raise DataError(
                f"--fps must be above 0 and at most the sequence's, got {fps:g}, and the sequence has {known}"
            )
        ticks = np.floor(np.arange(num_frames) * (fps / frame_rate) + 1e-9)
        return np.flatnonzero(np.diff(ticks, prepend=-1) > 0) + 1

    return keep


def keep_by_chance(drop_rate: float, seed: int = 0) -> Thinning:
    """Return a thinning that drops each frame with this probability; the first is kept."""

    def keep(num_frames: int, frame_rate: float) -> np.ndarray:
        kept = np.random.default_rng(seed).random(num_frames) >= drop_rate
        kept[:1] = True
        return np.flatnonzero(kept) + 1

    return keep


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """Detections of a sequence and what is true of it, both of the frames that are kept.

    Attributes:
        detections: What a tracker gets.
        truth: What its results are measured by.
        keep: (F,) int64 frames, ascending.
    """

    detections: SequenceDetections
    truth: MotTable
    keep: np.ndarray


def load_labelled(
    truth: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    *,
    thinning: Thinning = keep_all,
    with_cameras: bool = True,
) -> dict[str, LabelledSequence]:
    """Read sequences to run trackers on.

    Args:
        truth: As `evaluate_mot` takes it.
        detections: A folder of the same sequences' detections, as `yolokkn.tracking.find_detections` finds them.
        thinning: Which frames are kept; timestamps stay what they were.
        with_cameras: Read the camera's motion where there is a gmc.txt.

    Raises:
        FileNotFoundError: There is no ground truth, or a sequence has no detections.
        DataError: A file is malformed.
    """
    truths, found = find_sequences(truth), find_detections(detections)
    missing = [name for name in truths if name not in found]
    if missing and len(truths) == len(found) == 1:
        found = dict(zip(truths, found.values(), strict=True))
    elif missing:
        raise FileNotFoundError(f"load_labelled: {detections} has no detections of {missing[0]}")
    sequences = {}
    for name, path in truths.items():
        try:
            folder = path.parent.parent if path.name == "gt.txt" else None
            sequence = read_sequence(found[name], name, with_cameras=with_cameras, folder=folder)
        except ValueError as error:
            raise DataError(str(error)) from None
        table = read_table(path, is_truth=True)
        told = sequence_length(path)
        refuse_frames_beyond(table, told, path)
        if not told:
            last = int(table.frames[-1]) if len(table) else 0
            sequence = replace(sequence, num_frames=max(sequence.num_frames, last))
        keep = thinning(sequence.num_frames, sequence.frame_rate)
        thin = sequence if len(keep) == sequence.num_frames else sequence.thinned(keep)
        sequences[name] = LabelledSequence(thin, table.select(np.isin(table.frames, keep)), keep)
    return sequences


def measure_tracker(
    sequences: Mapping[str, LabelledSequence],
    make_tracker: Callable[[float], Any],
    *,
    rules: str = "mot17",
    fill: int = 0,
) -> MotMetrics:
    """Run a tracker over sequences and measure what it gives.

    Args:
        sequences: As `load_labelled` gives them.
        make_tracker: Called with each sequence's frame rate (30 where it is unknown); gives a tracker in its first state.
        rules: One of `RULES`.
        fill: Gaps of fewer of the sequence's own frames are filled, where a frame is kept.
    """
    rows = {}
    for name, sequence in sequences.items():
        tracked = track_sequence(sequence.detections, make_tracker(nominal_frame_rate(sequence.detections.frame_rate)))
        if fill:
            tracked = fill_gaps(tracked, fill)
        results = _table(tracked, sequence.keep)
        rows[name] = measure_sequence(sequence.truth, results, rules=rules, num_frames=len(sequence.keep))
    return MotMetrics(rows, MotFigures.join(list(rows.values())))


def _table(tracked: TrackRows, keep: np.ndarray) -> MotTable:
    corners = np.concatenate([tracked.places[:, :2], tracked.places[:, :2] + tracked.places[:, 2:]], 1)
    count = len(tracked)
    table = MotTable(tracked.frames, tracked.ids, corners, np.ones(count, bool), np.full(count, PEDESTRIAN, np.int64))
    return table.select(np.isin(tracked.frames, keep))
