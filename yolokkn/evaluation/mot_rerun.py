"""A tracker run over given detections and measured at once; on fewer frames too, to see what that costs it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from yolokkn.errors import DataError
from yolokkn.evaluation.mot import MotFigures, MotMetrics, measure_sequence
from yolokkn.evaluation.mot_tables import PEDESTRIAN, MotTable, find_sequences, read_table, refuse_frames_beyond
from yolokkn.tracking import TrackRows, fill_gaps, find_detections, read_sequence, track_sequence

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


def evaluate_tracker(
    truth: str | os.PathLike[str],
    detections: str | os.PathLike[str],
    make_tracker: Callable[[float], Any],
    *,
    rules: str = "mot17",
    thinning: Thinning = keep_all,
    with_cameras: bool = True,
    fill: int = 0,
) -> MotMetrics:
    """Run a tracker over the detections of a folder of sequences, on the frames that are kept, and measure it on those.

    Args:
        truth: As `evaluate_mot` takes it.
        detections: A folder of the same sequences' detections, as `yolokkn.tracking.find_detections` finds them.
        make_tracker: Called with each sequence's frame rate (30 where it is unknown); gives a tracker in its first state.
        rules: One of `RULES`.
        thinning: Which frames are kept; timestamps stay what they were.
        with_cameras: Read the camera's motion where there is a gmc.txt.
        fill: Gaps of fewer frames are filled; they are counted in the sequence's own frames, and only kept ones filled.

    Raises:
        FileNotFoundError: There is no ground truth, or a sequence has no detections.
        DataError: A file is malformed.
    """
    truths, found = find_sequences(truth), find_detections(detections)
    missing = [name for name in truths if name not in found]
    if missing and len(truths) == len(found) == 1:
        found = dict(zip(truths, found.values(), strict=True))
    elif missing:
        raise FileNotFoundError(f"evaluate_tracker: {detections} has no detections of {missing[0]}")
    rows = {}
    for name, path in truths.items():
        try:
            sequence = read_sequence(found[name], name, with_cameras=with_cameras)
        except ValueError as error:
            raise DataError(str(error)) from None
        table = read_table(path, is_truth=True)
        refuse_frames_beyond(table, sequence.num_frames, path)
        keep = thinning(sequence.num_frames, sequence.frame_rate)
        thin = sequence if len(keep) == sequence.num_frames else sequence.thinned(keep)
        tracked = track_sequence(thin, make_tracker(sequence.frame_rate or 30.0))
        if fill:
            tracked = fill_gaps(tracked, fill)
        results = _table(tracked, keep)
        rows[name] = measure_sequence(
            table.select(np.isin(table.frames, keep)), results, rules=rules, num_frames=len(keep)
        )
    return MotMetrics(rows, MotFigures.join(list(rows.values())))


def _table(tracked: TrackRows, keep: np.ndarray) -> MotTable:
    corners = np.concatenate([tracked.places[:, :2], tracked.places[:, :2] + tracked.places[:, 2:]], 1)
    count = len(tracked)
    table = MotTable(tracked.frames, tracked.ids, corners, np.ones(count, bool), np.full(count, PEDESTRIAN, np.int64))
    return table.select(np.isin(tracked.frames, keep))
