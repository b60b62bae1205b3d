"""Settings of the trackers: frozen, validated when made, under the names that users of these trackers know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from yolokkn.errors import did_you_mean

ClassPolicy = Literal["strict", "agnostic"]
CLASS_POLICIES: tuple[str, ...] = get_args(ClassPolicy)


def nearest(word: str, legal: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the legal word nearest to a wrong one, or nothing where none is near.

    Example:
        >>> nearest("bytetrak", ["sort", "bytetrack"])
        "; did you mean 'bytetrack'?"
    """
    return did_you_mean(word, legal, form="{!r}", cutoff=0.5)


def _number(owner: str, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{owner}: {name} must be a number, got {type(value).__name__}")
    return float(value)


def _require_fractions(owner: str, settings: Any, names: Iterable[str]) -> None:
    for name in names:
        value = _number(owner, name, getattr(settings, name))
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{owner}: {name} must be within 0 and 1, got {value}")


def _require_frames(owner: str, name: str, value: Any) -> None:
    if not 0.0 <= _number(owner, name, value) <= 1e6:
        raise ValueError(f"{owner}: {name} must be within 0 and 1000000 nominal frames, got {value}")


@dataclass(frozen=True)
class SortSettings:
    """Settings of SORT.

    Attributes:
        max_age: A track dies when it was not seen for more than this many nominal frames of time.
        min_hits: A track is confirmed by this many detections in a row, its first one included; tracks of the first
            `min_hits` updates are confirmed at once.
        iou_threshold: Least IoU of a detection and a track's predicted box, more than 0.
        score_threshold: Detections below this score are ignored.
    """

    max_age: float = 30.0
    min_hits: int = 3
    iou_threshold: float = 0.3
    score_threshold: float = 0.25

    def __post_init__(self) -> None:
        _require_fractions("SortSettings", self, ("iou_threshold", "score_threshold"))
        _require_frames("SortSettings", "max_age", self.max_age)
        if isinstance(self.min_hits, bool) or not isinstance(self.min_hits, int):
            raise TypeError(f"SortSettings: min_hits must be an int, got {type(self.min_hits).__name__}")
        if not 1 <= self.min_hits <= 1_000_000:
            raise ValueError(f"SortSettings: min_hits must be within 1 and 1000000, got {self.min_hits}")


@dataclass(frozen=True)
class ByteTrackSettings:
    """Settings of ByteTrack; the defaults are the customary ones.

    Attributes:
        track_high_thresh: Detections of this score or more take part in the first association.
        track_low_thresh: Detections of this score or more, below the high one, take part in the second.
        new_track_thresh: Least score of a detection that starts a track (never less than `track_high_thresh`).
        track_buffer: A lost track is forgotten when it was not seen for more than this many nominal frames of time.
        match_thresh: Largest cost of the first association: 1 - IoU, or 1 - IoU * score when scores are fused.
        fuse_score: Multiply the IoU by the detection's score in the associations of high scores.
    """

    track_high_thresh: float = 0.25
    track_low_thresh: float = 0.1
    new_track_thresh: float = 0.25
    track_buffer: float = 30.0
    match_thresh: float = 0.8
    fuse_score: bool = True

    def __post_init__(self) -> None:
        names = ("track_high_thresh", "track_low_thresh", "new_track_thresh", "match_thresh")
        _require_fractions("ByteTrackSettings", self, names)
        _require_frames("ByteTrackSettings", "track_buffer", self.track_buffer)
        if not isinstance(self.fuse_score, bool):
            raise TypeError(f"ByteTrackSettings: fuse_score must be a bool, got {type(self.fuse_score).__name__}")
        if self.track_low_thresh > self.track_high_thresh:
            raise ValueError(
                f"ByteTrackSettings: track_low_thresh must not exceed track_high_thresh ({self.track_high_thresh}), "
                f"got {self.track_low_thresh}"
            )


def make_settings(kind: type, tracker: str, values: dict[str, Any]) -> Any:
    """Make the settings of a tracker from keywords.

    Raises:
        ValueError: A name is unknown; the message names the nearest legal one.
    """
    legal = [f.name for f in fields(kind)]
    for name in values:
        if name not in legal:
            raise ValueError(
                f"create: settings of {tracker} must be among {', '.join(legal)}, got {name!r}{nearest(name, legal)}"
            )
    return kind(**values)


def check_frame_rate(owner: str, frame_rate: Any) -> float:
    """Return the frame rate as a float, or raise where it is no rate."""
    value = _number(owner, "frame_rate", frame_rate)
    if not 1e-3 <= value <= 1e6:
        raise ValueError(f"{owner}: frame_rate must be within 0.001 and 1000000 frames a second, got {frame_rate}")
    return value


def check_class_policy(owner: str, class_policy: Any) -> ClassPolicy:
    """Return the class policy, or raise where it is none."""
    if class_policy not in CLASS_POLICIES:
        raise ValueError(
            f"{owner}: class_policy must be one of {', '.join(CLASS_POLICIES)}, got {class_policy!r}"
            f"{nearest(str(class_policy), CLASS_POLICIES)}"
        )
    return class_policy
