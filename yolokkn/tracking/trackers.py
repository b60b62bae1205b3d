"""The trackers' Python face: settings in, C++ underneath."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds
from yolokkn.tracking.settings import (
    BotSortSettings,
    ByteTrackSettings,
    CBiouSettings,
    ClassPolicy,
    KknSettings,
    OcSortSettings,
    SortSettings,
    check_class_policy,
    check_frame_rate,
    make_settings,
    nearest,
)
from yolokkn.types import Masks

_MAGIC = b"yolokkn tracker\0"
_STATE_VERSION = 2
_CHECKSUM_BYTES = 4
TRACK_STATES = ("tentative", "tracked", "lost")


@dataclass(frozen=True, eq=False)
class LiveTracks:
    """What a tracker follows at the time of its last update, or as it is expected at another, oldest first.

    Attributes:
        boxes: (T, 4) float32 xyxy: the filter's estimate; for a lost track its prediction.
        track_ids: (T,) int64, -1 while tentative.
        scores: (T,) float32 of the last detection.
        class_ids: (T,) int32.
        states: (T,) uint8, an index into TRACK_STATES.
        ages: (T,) float64 nominal frames since the track was last seen.
    """

    boxes: np.ndarray
    track_ids: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    states: np.ndarray
    ages: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


class Tracker:
    """A multi-object tracker: gives the detections of one frame after the other their identities.

    Ids start at 1 and belong to the object: two trackers know nothing of each other. Updates from several threads take
    turns, and release the GIL. A tracker never raises on the values of its detections: rows that are not finite or
    have no area get -1.

    Time counts in nominal frames, 1 / frame_rate seconds each. Tracks are predicted over the time between two
    timestamps; a step within 0.05 of a whole number of nominal frames counts as that number, and a step that cannot be
    trusted (backwards, repeated, not finite, below 0.1 or above 30 nominal frames) is predicted as one. Ages grow by
    the true time, or by one nominal frame where a step is no more than 0.1: give sources of high rates their own
    `frame_rate`.

    Attributes:
        name: What `create` knows it by.
        settings: Its frozen settings.
        frame_rate: Nominal frames a second.
        class_policy: "strict", "agnostic" or "vote".
    """

    name: str = ""
    settings_type: Any = object
    takes_masks: bool = False  # whether `update` makes use of them

    def __init__(self, settings: Any = None, *, frame_rate: float = 30.0, class_policy: ClassPolicy = "strict") -> None:
        owner = type(self).__name__
        if settings is not None and type(settings) is not self.settings_type:
            raise TypeError(f"{owner}: settings must be {self.settings_type.__name__}, got {type(settings).__name__}")
        self.settings: Any = self.settings_type() if settings is None else settings
        self.frame_rate = check_frame_rate(owner, frame_rate)
        self.class_policy = check_class_policy(owner, class_policy)
        self._native = _native.make_tracker(self.name, self.frame_rate, self.class_policy, **asdict(self.settings))
        self._class_ids: np.ndarray = np.zeros(0, np.int32)

    def update(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray,
        timestamp_s: float | None = None,
        *,
        camera: np.ndarray | None = None,
        embeddings: np.ndarray | None = None,
        masks: Masks | None = None,
    ) -> np.ndarray:
        """Give the detections of the next frame their identities.

        Args:
            boxes: (N, 4) float32 xyxy, frame pixels.
            scores: (N,) float32.
            class_ids: (N,) int32.
            timestamp_s: Time of the frame in seconds; without it, one nominal frame has passed.
            camera: (2, 3) float64: a point (x, y) of the frame before lies at camera @ (x, y, 1) in this one; without it
                the camera stood still. A matrix that is not finite, or grows or shrinks the picture tenfold, counts as
                none.
            embeddings: (N, D) float32 appearance vectors, of any length; those who look alike point the same way. Only
                "botsort" asks for them.
            masks: The detections' masks; only "kkn" asks for them.

        Returns:
            (N,) int64 track ids in the detections' order, from 1; -1 where a detection belongs to no confirmed track.

        Raises:
            TypeError: A dtype is wrong.
            ValueError: A shape is wrong or an array is not C-contiguous, or a mask leaves the frame.

        Example:
            >>> tracker = create("bytetrack")
            >>> box = np.array([[10, 10, 50, 90]], np.float32)
            >>> tracker.update(box, np.array([0.9], np.float32), np.array([0], np.int32)).tolist()
            [1]
            >>> tracker.update(box + 2, np.array([0.8], np.float32), np.array([0], np.int32)).tolist()
            [1]
        """
        if masks is not None and not isinstance(masks, Masks):
            raise TypeError(f"update: masks must be a Masks, got {type(masks).__name__}")
        masks = masks if self.takes_masks else None
        if self.class_policy != "vote":
            track_ids = self._native.update(boxes, scores, class_ids, timestamp_s, camera, embeddings, False, masks)
            self._class_ids = class_ids
            return track_ids
        found = self._native.update(boxes, scores, class_ids, timestamp_s, camera, embeddings, True, masks)
        track_ids, self._class_ids = found
        return track_ids

    @property
    def class_ids(self) -> np.ndarray:
        """(N,) int32 classes of the last update's detections: with class_policy "vote" those that their tracks voted for.

        A copy; empty before the first update, and not part of the saved state. With several threads it is that of
        whichever update ended last.
        """
        return self._class_ids.copy()

    def tracks(self) -> LiveTracks:
        """Return the live tracks, seen or not: for drawing predicted boxes."""
        return LiveTracks(*self._native.tracks())

    def predict(self, timestamp_s: float | None = None) -> LiveTracks:
        """Return the live tracks where an update at this time would expect them; the tracker does not change.

        For frames between those that are detected in: ask as often as you like, the next update gives what it would have
        given. Tracks that are too old by then are left out; the camera is taken to stand still.

        Args:
            timestamp_s: Seconds, as `update` takes them; without it, one nominal frame after the last update.

        Raises:
            TypeError: The time is no number.

        Example:
            >>> tracker, box = create("sort"), np.array([[10, 10, 50, 90]], np.float32)
            >>> score, class_id = np.array([0.9], np.float32), np.array([0], np.int32)
            >>> for k in range(9):
            ...     _ = tracker.update(box + 4 * k, score, class_id, k / 30)
            >>> tracker.predict(10 / 30).boxes.round().tolist()
            [[50.0, 50.0, 90.0, 130.0]]
        """
        return LiveTracks(*self._native.predict(timestamp_s))

    def reset(self, *, keep_ids: bool = False) -> None:
        """Forget everything: the next update is the first.

        Args:
            keep_ids: No id is given a second time; otherwise they start at 1 again.
        """
        self._native.reset(keep_ids)
        self._class_ids = np.zeros(0, np.int32)

    def to_bytes(self) -> bytes:
        """Return all that the next updates depend on: `from_bytes` makes a tracker that goes on alike, id for id."""
        values = {
            "tracker": self.name,
            "version": _STATE_VERSION,
            "frame_rate": self.frame_rate,
            "class_policy": self.class_policy,
            "settings": asdict(self.settings),
        }
        head = json.dumps(values).encode()
        data = _MAGIC + len(head).to_bytes(4, "little") + head + self._native.save()
        return data + zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "little")

    @staticmethod
    def from_bytes(data: bytes) -> Tracker:
        """Return the tracker that `to_bytes` described.

        Raises:
            ValueError: The bytes are no such description, are damaged, or are of another version.
        """
        head_end = len(_MAGIC) + 4 + int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 4], "little")
        try:
            if data[: len(_MAGIC)] != _MAGIC or head_end > len(data):
                raise ValueError("it does not begin as one")
            state, checksum = data[head_end:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
            if zlib.crc32(data[:-_CHECKSUM_BYTES]) != int.from_bytes(checksum, "little"):
                raise ValueError("its checksum is another's")
            values = json.loads(data[len(_MAGIC) + 4 : head_end])
            if values["version"] != _STATE_VERSION:
                raise ValueError(f"it is of version {values['version']}, not {_STATE_VERSION}")
            made = create(
                values["tracker"],
                frame_rate=values["frame_rate"],
                class_policy=values["class_policy"],
                **values["settings"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"from_bytes: data must be what to_bytes gave, but {error}") from None
        made._native.load(state)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Tracker.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.settings}, frame_rate={self.frame_rate}, class_policy={self.class_policy!r})"
        )


class Sort(Tracker):
    """SORT: Kalman filter of centre, area and aspect, exact assignment by IoU (Bewley et al., 2016)."""

    name = "sort"
    settings_type = SortSettings
    settings: SortSettings


class ByteTrack(Tracker):
    """ByteTrack: detections of low score keep alive what those of high score have missed (Zhang et al., 2022)."""

    name = "bytetrack"
    settings_type = ByteTrackSettings
    settings: ByteTrackSettings


class BotSort(Tracker):
    """BoT-SORT: ByteTrack with a filter of width and height, camera motion and appearance (Aharon et al., 2022)."""

    name = "botsort"
    settings_type = BotSortSettings
    settings: BotSortSettings


class OcSort(Tracker):
    """OC-SORT: SORT that trusts observations: direction, re-update and recovery (Cao et al., 2023)."""

    name = "ocsort"
    settings_type = OcSortSettings
    settings: OcSortSettings


class CBiou(Tracker):
    """C-BIoU: mean velocities, and two associations of grown boxes (Yang et al., 2023)."""

    name = "cbiou"
    settings_type = CBiouSettings
    settings: CBiouSettings


class Kkn(Tracker):
    """The project's own: ByteTrack's rounds, with boxes compared within what the filter is unsure of."""

    name = "kkn"
    takes_masks = True
    settings_type = KknSettings
    settings: KknSettings


_CLASSES: Mapping[str, type[Tracker]] = {cls.name: cls for cls in (Sort, ByteTrack, BotSort, OcSort, CBiou, Kkn)}
TRACKERS: tuple[str, ...] = tuple(_CLASSES)
SETTINGS: Mapping[str, type] = {name: cls.settings_type for name, cls in _CLASSES.items()}


def create(name: str, *, frame_rate: float = 30.0, class_policy: ClassPolicy = "strict", **settings: Any) -> Tracker:
    """Make a tracker by its name.

    Args:
        name: One of TRACKERS.
        frame_rate: Nominal frames a second: the time unit of the motion model and of the age limits.
        class_policy: "strict": a track only matches detections of its class; "agnostic": classes are ignored, a track
            has that of its last detection; "vote": classes are ignored, and a track has the one that the scores of its
            detections add up to most for.
        **settings: Fields of the tracker's settings (`SETTINGS[name]`).

    Raises:
        ValueError: The tracker or a setting is unknown (the message names the nearest), or a value is out of its range.

    Example:
        >>> create("bytetrack", frame_rate=25, track_buffer=60).settings.track_buffer
        60
    """
    if name not in _CLASSES:
        raise ValueError(
            f"create: name must be one of {', '.join(TRACKERS)}, got {name!r}{nearest(str(name), TRACKERS)}"
        )
    return _CLASSES[name](make_settings(SETTINGS, name, settings), frame_rate=frame_rate, class_policy=class_policy)


@explain_kinds
def assign(costs: np.ndarray, max_cost: float) -> np.ndarray:
    """Solve the gated assignment exactly.

    Chooses pairs of a row and a column, each used at most once, such that the costs of the pairs plus `max_cost` for
    every row left alone are least. Ties: see `yolokkn.tracking.reference.assign`.

    Args:
        costs: (N, M) float32; NaN, -inf, or more than `max_cost` means that the pair must not be made.
        max_cost: Cost of leaving a row alone.

    Returns:
        (K, 2) int64 row, column; rows ascending.

    Raises:
        TypeError: costs is not float32.
        ValueError: costs is not two-dimensional and C-contiguous.

    Example:
        >>> assign(np.array([[0.1, 0.2], [0.2, 0.9], [0.7, 0.7]], np.float32), 0.5).tolist()
        [[0, 1], [1, 0]]
    """
    return _native.assign(costs, max_cost)


@explain_kinds
def assign_pairs(rows: np.ndarray, columns: np.ndarray, costs: np.ndarray, max_cost: float) -> np.ndarray:
    """Solve the gated assignment of a list of pairs exactly; what no pair connects is solved apart.

    As `assign` of a matrix that holds only these pairs, rows and columns in ascending order of their names: the time
    follows the number of pairs and the largest group that hangs together, so that all frames of a sequence may be one
    problem, each with rows and columns of its own.

    Args:
        rows: (E,) int64 names of rows; any numbers.
        columns: (E,) int64 names of columns.
        costs: (E,) float64; a pair that is not finite or costs more than `max_cost` must not be made. Of equal pairs the
            cheapest counts.
        max_cost: Cost of leaving a row alone.

    Returns:
        (K,) int64 places in the list of the pairs that are made, rows ascending.

    Raises:
        TypeError: An array has another dtype.
        ValueError: The arrays are not of one length.

    Example:
        >>> rows, columns = np.array([0, 0, 1, 7]), np.array([0, 1, 0, 9])
        >>> assign_pairs(rows, columns, np.array([0.1, 0.2, 0.2, 0.4]), 0.5).tolist()
        [1, 2, 3]
    """
    return _native.assign_pairs(rows, columns, costs, max_cost)
