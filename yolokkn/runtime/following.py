"""The tracks of a run: identities for what the network found, and tracks for the frames that it did not see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np

from yolokkn.types import Detections, Frame, Tracks


class FrameTracker(Protocol):
    """What the pipeline needs of a tracker; for frames that the network does not see also `predict` and `tracks`."""

    def update(self, boxes: Any, scores: Any, class_ids: Any, timestamp_s: float | None = None, **told: Any) -> Any:
        """Return the track id of each box; told: `camera`, where the pipeline measures its motion.

        An attribute `class_ids`, where there is one, has the classes of the tracks.
        """


class CameraMotion(Protocol):
    """What measures the camera's motion."""

    def update(self, image: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray | None:
        """Return where points of the frame before lie in this one: (2, 3) float64; None: not known."""


@dataclass
class FrameResult:
    """A frame on its way through a pipeline.

    Attributes:
        frame: The frame.
        is_seen: The network sees it.
        result: What it found, and its tracks.
        timing_ms: Milliseconds of each stage so far.
        agreement: Mean IoU of the boxes that were expected in it and those found, where both are known.
        camera: (2, 3) float64: the camera's motion since the frame before, where it was measured.
        is_between: Its tracks lie on the way to those of a later frame.
    """

    frame: Frame
    is_seen: bool = True
    result: Detections | None = None
    timing_ms: dict[str, float] = field(default_factory=dict)
    agreement: float | None = None
    camera: np.ndarray | None = None
    is_between: bool = False


MakeRecorder = Callable[[Mapping[str, bool]], Callable[[FrameResult], None]]
"""Given how a run's frames are followed (`Follower`'s settings), makes what takes each finished frame."""


class Follower:
    """Gives frames, in their order, their tracks.

    A frame that the network did not see gets the tracks that were detected in the last frame that it saw, moved as the
    tracker expects them to move. With `interpolate` it waits for the next frame that the network sees: tracks of both lie on
    the straight way between their boxes.

    Args:
        tracker: Gives identities.
        camera: Measures the camera's motion, which the tracker is told.
        has_times: The frames' times are real; else the tracker is told none, unless frames are skipped.
        carries: There are frames that the network does not see.
        interpolate: Wait, as above.
        new_ids: A stream that was opened again begins with a tracker that knows nothing of before, and with new ids.

    Raises:
        TypeError: Frames are to be carried, and the tracker has no `predict`.
    """

    def __init__(
        self,
        tracker: FrameTracker,
        *,
        camera: CameraMotion | None = None,
        has_times: bool = True,
        carries: bool = False,
        interpolate: bool = False,
        new_ids: bool = False,
    ) -> None:
        if carries and not (hasattr(tracker, "predict") and hasattr(tracker, "tracks")):
            raise TypeError(
                f"Pipeline: tracker must have predict and tracks where frames are carried, got {type(tracker).__name__}"
            )
        self._tracker: Any = tracker
        self._camera = camera
        self._has_times = has_times or carries
        self._carries, self._interpolate = carries, interpolate
        self._new_ids, self._connection = new_ids, 0
        self._held: list[FrameResult] = []
        self._last: _Sighting | None = None

    def push(self, given: FrameResult) -> list[FrameResult]:
        """Take the next frame; returns those, in order, whose tracks are known now."""
        started = time.perf_counter()
        if self._new_ids and given.frame.connection != self._connection:
            self._tracker.reset(keep_ids=True)
            self._last = None
        self._connection = given.frame.connection
        if not given.is_seen:
            given.result = self._expected(given.frame)
            self._held.append(given)
        else:
            self._update(given)
        given.timing_ms["track"] = (time.perf_counter() - started) * 1e3 - given.timing_ms.get("camera", 0.0)
        if given.is_seen:
            return [*self.flush(), given]
        return [] if self._interpolate else self.flush()

    def flush(self) -> list[FrameResult]:
        """Return the frames that wait for another one, as they are."""
        held, self._held = self._held, []
        return held

    @property
    def num_held(self) -> int:
        """Frames that wait."""
        return len(self._held)

    def _update(self, given: FrameResult) -> None:
        found, frame = given.result, given.frame
        if found is None:
            raise RuntimeError("Follower: a frame that the network saw must have a result")
        told: dict[str, Any] = {}
        if self._camera is not None:
            started = time.perf_counter()
            told["camera"] = given.camera = self._camera.update(frame.image, found.boxes)
            given.timing_ms["camera"] = (time.perf_counter() - started) * 1e3
        if found.masks is not None and getattr(self._tracker, "takes_masks", False):
            told["masks"] = found.masks
        time_s = frame.timestamp_s if self._has_times else None
        expected = self._expected(frame) if self._carries and self._last is not None else None
        track_ids = self._tracker.update(found.boxes, found.scores, found.class_ids, time_s, **told)
        classes = getattr(self._tracker, "class_ids", found.class_ids)
        tracks = Tracks.from_detections(replace(found, class_ids=classes), track_ids)
        given.result = tracks
        if not self._carries:
            return
        seen = _Sighting.of(frame.timestamp_s, tracks, self._tracker.tracks())
        if expected is not None:
            given.agreement = agreement(expected, tracks)
        if self._last is not None:
            for held in self._held:
                held.result = between(held.result, held.frame, self._last, seen)  # type: ignore[arg-type]
                held.is_between = True
        self._last = seen

    def _expected(self, frame: Frame) -> Tracks:
        """Return the tracks of the last sighting, moved as the tracker expects; they are cut off at the frame."""
        last = self._last
        if last is None:
            return cast("Tracks", Tracks.empty(carried=True))
        live = self._tracker.predict(frame.timestamp_s)
        rows, places = _common(last.tracks.track_ids, live.track_ids)
        moved = last.tracks.boxes[rows] + (live.boxes[places] - last.estimates[rows])
        return _carried(last.tracks, rows, moved, frame)


@dataclass(frozen=True)
class _Sighting:
    """The confirmed tracks of a frame that the network saw.

    Attributes:
        time_s: Of the frame.
        tracks: Their rows.
        estimates: (N, 4) float32: the tracker's own boxes of them.
    """

    time_s: float
    tracks: Tracks
    estimates: np.ndarray

    @classmethod
    def of(cls, time_s: float, tracks: Tracks, live: Any) -> _Sighting:
        confirmed = tracks.confirmed()
        rows, places = _common(confirmed.track_ids, live.track_ids)
        return cls(time_s, Tracks(**_rows(confirmed, rows)), live.boxes[places])


def between(carried: Tracks, frame: Frame, earlier: _Sighting, later: _Sighting) -> Tracks:
    """Return the tracks of a frame between two sightings: those of both on the straight way, the others as they were carried."""
    share = (frame.timestamp_s - earlier.time_s) / max(later.time_s - earlier.time_s, 1e-9)
    share = min(max(share, 0.0), 1.0)
    rows, places = _common(earlier.tracks.track_ids, later.tracks.track_ids)
    straight = earlier.tracks.boxes[rows] * (1.0 - share) + later.tracks.boxes[places] * share
    kept = carried[~np.isin(carried.track_ids, later.tracks.track_ids)]
    joined = _carried(earlier.tracks, rows, straight, frame)
    return replace(
        joined,
        boxes=np.concatenate([joined.boxes, kept.boxes]),
        scores=np.concatenate([joined.scores, kept.scores]),
        class_ids=np.concatenate([joined.class_ids, kept.class_ids]),
        track_ids=np.concatenate([joined.track_ids, kept.track_ids]),
    )


def agreement(expected: Tracks, found: Tracks) -> float | None:
    """Return the mean IoU of the boxes of tracks that were expected and found, None where there are none."""
    rows, places = _common(expected.track_ids, found.track_ids)
    if not len(rows):
        return None
    a, b = expected.boxes[rows].astype(np.float64), found.boxes[places].astype(np.float64)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.clip(sides, 0, None).prod(1)
    areas = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1)
    return float((shared / (areas - shared)).mean())


def _common(ids: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each id of both lies in either: two (M,) int64, in the order of the first."""
    place = {track_id: i for i, track_id in enumerate(others.tolist()) if track_id >= 0}
    pairs = [(i, place[track_id]) for i, track_id in enumerate(ids.tolist()) if track_id in place]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _rows(tracks: Tracks, index: Any) -> dict[str, Any]:
    names = ("boxes", "scores", "class_ids", "track_ids")
    return {name: getattr(tracks, name)[index] for name in names} | {"class_names": tracks.class_names}


def _carried(tracks: Tracks, rows: np.ndarray, boxes: np.ndarray, frame: Frame) -> Tracks:
    """Return rows of tracks with other boxes, cut off at the frame, without those that leave it."""
    h, w = frame.hw
    limits = np.array([w, h, w, h], np.float32)
    inside = np.clip(boxes.astype(np.float32), 0, limits)
    has_area = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
    return Tracks(**(_rows(tracks, rows[has_area]) | {"boxes": inside[has_area]}), carried=True)
