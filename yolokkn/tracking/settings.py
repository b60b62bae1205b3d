"""Settings of the trackers: frozen, validated when made, under the names that users of these trackers know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast, get_args

from yolokkn.errors import did_you_mean

ClassPolicy = Literal["strict", "agnostic", "vote"]
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


def _within(default: Any, low: float = 0.0, high: float = 1.0) -> Any:
    """A field of a number within these bounds."""
    return field(default=default, metadata={"low": low, "high": high})


def _frames(default: float) -> Any:
    return _within(default, 0.0, 1e6)


class _Settings:
    """Checks the fields by their limits; a bool must be a bool, an int a whole number."""

    def __post_init__(self) -> None:
        owner = type(self).__name__
        for one in fields(cast("Any", self)):
            value, default = getattr(self, one.name), one.default
            if isinstance(default, bool):
                if not isinstance(value, bool):
                    raise TypeError(f"{owner}: {one.name} must be a bool, got {type(value).__name__}")
                continue
            if isinstance(default, int) and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{owner}: {one.name} must be an int, got {type(value).__name__}")
            low, high = one.metadata["low"], one.metadata["high"]
            if not low <= _number(owner, one.name, value) <= high:
                unit = " nominal frames" if high == 1e6 and not isinstance(default, int) else ""
                raise ValueError(f"{owner}: {one.name} must be within {low:g} and {high:g}{unit}, got {value}")


@dataclass(frozen=True)
class SortSettings(_Settings):
    """Settings of SORT.

    Attributes:
        max_age: A track dies when it was not seen for more than this many nominal frames of time.
        min_hits: A track is confirmed by this many detections in a row, its first one included; tracks of the first
            `min_hits` updates are confirmed at once.
        iou_threshold: Least IoU of a detection and a track's predicted box, more than 0.
        score_threshold: Detections below this score are ignored.
    """

    max_age: float = _frames(30.0)
    min_hits: int = _within(3, 1, 1_000_000)
    iou_threshold: float = _within(0.3)
    score_threshold: float = _within(0.25)


@dataclass(frozen=True)
class ByteTrackSettings(_Settings):
    """Settings of ByteTrack; the defaults lie by those of its paper's code (0.6, 0.1, 0.7, 30, 0.9).

    Widely used files say 0.25, 0.1, 0.25, 30, 0.8: that suits detectors that are never sure, and makes tracks of other
    detectors' doubts.

    Attributes:
        track_high_thresh: Detections of this score or more take part in the first association.
        track_low_thresh: Detections of this score or more, below the high one, take part in the second.
        new_track_thresh: Least score of a detection that starts a track (never less than `track_high_thresh`).
        track_buffer: A lost track is forgotten when it was not seen for more than this many nominal frames of time.
        match_thresh: Largest cost of the first association: 1 - IoU, or 1 - IoU * score when scores are fused.
        fuse_score: Multiply the IoU by the detection's score in the associations of high scores.
    """

    track_high_thresh: float = _within(0.5)
    track_low_thresh: float = _within(0.1)
    new_track_thresh: float = _within(0.6)
    track_buffer: float = _frames(30.0)
    match_thresh: float = _within(0.9)
    fuse_score: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.track_low_thresh > self.track_high_thresh:
            raise ValueError(
                f"{type(self).__name__}: track_low_thresh must not exceed track_high_thresh "
                f"({self.track_high_thresh}), got {self.track_low_thresh}"
            )


@dataclass(frozen=True)
class BotSortSettings(ByteTrackSettings):
    """Settings of BoT-SORT: ByteTrack's, with the thresholds of its paper, and those of the appearance.

    Attributes:
        proximity_thresh: Appearance counts where 1 - IoU is at most this.
        appearance_thresh: It counts where half the cosine distance of the two vectors is at most this.
    """

    track_high_thresh: float = _within(0.6)
    new_track_thresh: float = _within(0.7)
    match_thresh: float = _within(0.8)
    proximity_thresh: float = _within(0.5)
    appearance_thresh: float = _within(0.25)


@dataclass(frozen=True)
class OcSortSettings(_Settings):
    """Settings of OC-SORT; the defaults are its paper's, but for `iou_threshold` (0.3 there).

    `min_hits` counts the first detection here, and not there.

    Attributes:
        max_age: A track dies when it was not seen for more than this many nominal frames of time.
        min_hits: A track is confirmed by this many detections in a row, as SORT's.
        iou_threshold: Least IoU of a detection and a track's predicted, or last observed, box.
        score_threshold: Detections below this score are ignored.
        delta_t: A track's direction is that of its way in the last so many nominal frames, or since the fifth last time
            that it was seen, if that is less.
        inertia: Weight of the direction beside the IoU.
    """

    max_age: float = _frames(30.0)
    min_hits: int = _within(3, 1, 1_000_000)
    iou_threshold: float = _within(0.2)
    score_threshold: float = _within(0.6)
    delta_t: float = _within(3.0, 0.0, 1000.0)
    inertia: float = _within(0.2)


@dataclass(frozen=True)
class CBiouSettings(_Settings):
    """Settings of C-BIoU.

    Attributes:
        track_high_thresh: Detections below this score are ignored.
        new_track_thresh: Least score of a detection that starts a track.
        track_buffer: A lost track is forgotten when it was not seen for more than this many nominal frames of time.
        match_thresh: Largest 1 - IoU of the grown boxes of a match.
        buffer_small: Boxes grow by this share of their sides, on each side, in the first association.
        buffer_large: And by this in the second.
    """

    track_high_thresh: float = _within(0.6)
    new_track_thresh: float = _within(0.7)
    track_buffer: float = _frames(30.0)
    match_thresh: float = _within(0.75)
    buffer_small: float = _within(0.3, 0.0, 5.0)
    buffer_large: float = _within(0.35, 0.0, 5.0)


@dataclass(frozen=True)
class KknSettings(ByteTrackSettings):
    """Settings of kkn: ByteTrack's, and those of what it adds.

    Attributes:
        second_thresh: Largest 1 - IoU of the association of low scores.
        recover_thresh: Largest 1 - IoU of the grown boxes of the association of what was left over; 0 for none.
        recover_buffer: How far boxes grow in it, as a share of their sides, on each side.
        growth: How far boxes grow in the first association: this times the standard deviation of the predicted centre,
            less `growth_floor`, both as shares of the box's sides.
        growth_floor: See there; a track that is seen steadily does not grow.
        growth_limit: Most growth.
        age_penalty: A track missed for n nominal frames has its IoU divided by 1 + n times this.
        start_overlap: None starts where a confirmed track (of its class, with class_policy "strict") was seen with a
            larger IoU than this.
        duplicate_overlap: Of a seen and a lost track with a larger IoU than this, the younger one ends.
        sure_thresh: A detection of this score or more starts a confirmed track at once.
        mask_weight: Where detections have masks, weight of the masks' IoU beside the boxes'.
        position_noise: Standard deviation of a centre's motion in a nominal frame, as a share of the side.
        velocity_noise: Of the change of its velocity.
        measurement_noise: Of a measured centre.
        size_noise: Of a measured side.
    """

    track_high_thresh: float = _within(0.45)
    new_track_thresh: float = _within(0.65)
    match_thresh: float = _within(0.8)
    second_thresh: float = _within(0.5)
    recover_thresh: float = _within(0.7)
    recover_buffer: float = _within(0.2, 0.0, 5.0)
    growth: float = _within(2.5, 0.0, 100.0)
    growth_floor: float = _within(0.05)
    growth_limit: float = _within(0.5, 0.0, 5.0)
    age_penalty: float = _within(0.02, 0.0, 10.0)
    start_overlap: float = _within(0.6)
    duplicate_overlap: float = _within(0.9)
    sure_thresh: float = _within(0.8, 0.0, 2.0)
    mask_weight: float = _within(0.5)
    position_noise: float = _within(0.04, 1e-6, 10.0)
    velocity_noise: float = _within(0.00625, 1e-6, 10.0)
    measurement_noise: float = _within(0.06, 1e-6, 10.0)
    size_noise: float = _within(0.12, 1e-6, 10.0)


def make_settings(kinds: Mapping[str, type], tracker: str, values: dict[str, Any]) -> Any:
    """Make the settings of a tracker from keywords.

    Args:
        kinds: The settings of every tracker.
        tracker: Whose are made.
        values: By name.

    Raises:
        ValueError: A name is unknown; the message says whose it is, or names the nearest legal one.
    """
    names = {owner: [f.name for f in fields(kind)] for owner, kind in kinds.items()}
    legal = names[tracker]
    for name in values:
        if name not in legal:
            owners = [owner for owner, its_names in names.items() if name in its_names]
            hint = f", a setting of {', '.join(owners)}" if owners else nearest(name, legal)
            raise ValueError(f"create: settings of {tracker} must be among {', '.join(legal)}, got {name!r}{hint}")
    return kinds[tracker](**values)


LEAST_NOMINAL_RATE = 10.0
_SLOW_NOMINAL_RATE = 20.0


def nominal_frame_rate(source_rate: float | None, detect_every: int = 1) -> float:
    """Return the frame rate that suits a tracker for a source of this rate: its own, or more for slow ones; 30 if unknown.

    A nominal frame is what trackers count in. What a person does in half a second is no small step: below 10 detections a
    second tracks are predicted over several nominal frames, up to 20 of them a second, and are less sure of where they are.

    Args:
        source_rate: Frames a second; None where they are unknown.
        detect_every: Of so many frames one is detected in.

    Example:
        >>> [nominal_frame_rate(rate) for rate in (25.0, 10.0, 8.0, 2.5)], nominal_frame_rate(10.0, 2)
        ([25.0, 10.0, 12.5, 20.0], 20.0)
    """
    if not source_rate:
        return 30.0
    detected_rate = source_rate / detect_every
    if detected_rate >= LEAST_NOMINAL_RATE:
        return source_rate
    return max(source_rate, min(LEAST_NOMINAL_RATE**2 / detected_rate, _SLOW_NOMINAL_RATE))


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
