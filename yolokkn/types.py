"""The values that travel: Frame, Masks, Detections, Tracks. Frozen, validated once, all fields indexed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

from yolokkn.geometry import Letterbox

Task = Literal["detect", "segment", "pose", "segment-pose"]
TASKS: tuple[str, ...] = get_args(Task)
"""What a network tells of each object: its box always, its mask, its keypoints."""

_NO_TIMES: Mapping[str, float] = MappingProxyType({})


def _check(owner: str, name: str, value: Any, dtype: type, shape: tuple[int | None, ...]) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{owner}: {name} must be a NumPy array, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{owner}: {name} must have dtype {np.dtype(dtype)}, got {value.dtype}")
    fits = value.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(value.shape, shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("*" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{owner}: {name} must have shape {wanted}, got {value.shape}")


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR, as OpenCV gives.
        index: Position in the source, from 0.
        timestamp_s: Time in the source, seconds from its start.
        captured_s: `time.monotonic()` when the frame was handed out by the decoder or camera.
        source: Where it came from: a path, URL or camera, without credentials.
        connection: Which of a live stream's connections it came over, from 0.
    """

    image: np.ndarray
    index: int
    timestamp_s: float
    captured_s: float
    source: str = ""
    connection: int = 0

    def __post_init__(self) -> None:
        _check("Frame", "image", self.image, np.uint8, (None, None, 3))

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, eq=False)
class Masks:
    """Instance masks as bitmaps cropped to their boxes: memory follows the boxes, not the frame.

    Attributes:
        data: (S,) uint8, 0 or 1: the crops one after the other, each row-major.
        crops: (N, 4) int32 x1, y1, x2, y2: where each crop lies in the frame, x2 and y2 exclusive, inside the frame.
        frame_hw: Height and width of the frame.
    """

    data: np.ndarray
    crops: np.ndarray
    frame_hw: tuple[int, int]

    def __post_init__(self) -> None:
        _check("Masks", "crops", self.crops, np.int32, (None, 4))
        (h, w), (x1, y1, x2, y2) = self.frame_hw, self.crops.T
        if not ((x1 >= 0) & (x1 <= x2) & (x2 <= w) & (y1 >= 0) & (y1 <= y2) & (y2 <= h)).all():
            raise ValueError(f"Masks: crops must be x1 <= x2 and y1 <= y2 inside the frame {self.frame_hw}")
        _check("Masks", "data", self.data, np.uint8, (int(self._areas().sum()),))

    def _areas(self) -> np.ndarray:
        x1, y1, x2, y2 = self.crops.astype(np.int64).T
        return (x2 - x1) * (y2 - y1)

    @cached_property
    def _offsets(self) -> list[int]:
        return [0, *np.cumsum(self._areas()).tolist()]

    def __len__(self) -> int:
        return len(self.crops)

    def crop(self, index: int) -> np.ndarray:
        """Return the bitmap of one mask: (h, w) uint8, 0 or 1, a view.

        Raises:
            IndexError: There is no such mask.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"Masks.crop: index must be within {len(self)} masks, got {index}")
        index %= len(self)
        x1, y1, x2, y2 = self.crops[index].tolist()
        return self.data[self._offsets[index] : self._offsets[index + 1]].reshape(y2 - y1, x2 - x1)

    def __getitem__(self, index: Any) -> Masks:
        """Select masks by a slice, an integer, an integer array or a boolean array."""
        chosen = np.atleast_1d(np.arange(len(self))[index])
        offsets = self._offsets
        parts = [self.data[offsets[i] : offsets[i + 1]] for i in chosen.tolist()]
        data = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        return Masks(data, self.crops[chosen], self.frame_hw)

    def areas(self) -> np.ndarray:
        """Return the number of set pixels of each mask: (N,) int64."""
        return np.array([int(np.count_nonzero(self.crop(i))) for i in range(len(self))], np.int64)

    def to_full(self) -> np.ndarray:
        """Paint every mask at the size of the frame: (N, H, W) bool. Costs N * H * W bytes."""
        full: np.ndarray = np.zeros((len(self), *self.frame_hw), bool)
        for i, (x1, y1, x2, y2) in enumerate(self.crops):
            full[i, y1:y2, x1:x2] = self.crop(i)
        return full


@dataclass(frozen=True, eq=False)
class RawOutputs:
    """What a network gave for a frame, before anything was made of it.

    Attributes:
        outputs: By name, as the backend gave them; of the whole batch, the frame first.
        letterbox: How the frame lay in the input.
    """

    outputs: Mapping[str, np.ndarray]
    letterbox: Letterbox


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model saw in one frame.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in frame pixels.
        scores: (N,) float32 in [0, 1], descending as the models give them.
        class_ids: (N,) int32.
        masks: Bitmaps cropped to the boxes, or None for a model without masks.
        keypoints: (N, K, 3) float32 x, y (frame pixels), visibility in [0, 1]; or None.
        class_names: Name of each class id; empty when the model names none.
        num_dropped: Rows of the model's output that were NaN or infinite and were dropped.
        timing_ms: Milliseconds that this frame spent in each stage.
        raw: The network's outputs, where the model keeps them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    masks: Masks | None = None
    keypoints: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    num_dropped: int = 0
    timing_ms: Mapping[str, float] = field(default_factory=lambda: _NO_TIMES)
    raw: RawOutputs | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        owner = type(self).__name__
        _check(owner, "boxes", self.boxes, np.float32, (None, 4))
        n = len(self.boxes)
        _check(owner, "scores", self.scores, np.float32, (n,))
        _check(owner, "class_ids", self.class_ids, np.int32, (n,))
        if self.masks is not None and len(self.masks) != n:
            raise ValueError(f"{owner}: masks must be as many as boxes ({n}), got {len(self.masks)}")
        if self.keypoints is not None:
            _check(owner, "keypoints", self.keypoints, np.float32, (n, None, 3))

    @classmethod
    def empty(cls, **kwargs: Any) -> Detections:
        """Return a result without detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), **kwargs)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Any:
        """Select rows of every field together, by a slice, an integer array or a boolean array.

        Example:
            >>> people = Detections.empty()
            >>> len(people[people.class_ids == 0])
            0
        """
        if isinstance(index, (int, np.integer)):
            index = np.array([index])
        rows: dict[str, Any] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, (np.ndarray, Masks)):
                rows[f.name] = value[index]
        return replace(self, **rows)

    def class_name(self, class_id: int) -> str:
        """Return the name of a class, or its number where the model names none."""
        return self.class_names[class_id] if 0 <= class_id < len(self.class_names) else str(class_id)

    def to_supervision(self) -> Any:
        """Convert to `supervision.Detections`; masks are painted at the size of the frame.

        Raises:
            MissingDependencyError: The package supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            from yolokkn.errors import MissingDependencyError

            raise MissingDependencyError(
                "to_supervision: the package supervision must be installed; run: pip install supervision"
            ) from error
        track_ids = getattr(self, "track_ids", None)
        data: dict[str, Any] = {"class_name": np.array([self.class_name(int(c)) for c in self.class_ids], dtype=str)}
        if self.keypoints is not None:
            data["keypoints"] = self.keypoints
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            mask=None if self.masks is None else self.masks.to_full(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.astype(int),
            tracker_id=None if track_ids is None else track_ids.astype(int),
            data=data,
        )


@dataclass(frozen=True, eq=False)
class Tracks(Detections):
    """Detections of one frame with the identities that a tracker gave them, in the detections' order.

    Attributes:
        track_ids: (N,) int64, 1 or more; -1 while a detection belongs to no confirmed track.
        carried: Nothing was detected in this frame: the boxes are where the tracks are taken to be, by those around it.
    """

    track_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    carried: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("Tracks", "track_ids", self.track_ids, np.int64, (len(self.boxes),))

    @classmethod
    def from_detections(cls, detections: Detections, track_ids: np.ndarray) -> Tracks:
        """Join detections with their ids: (N,) int64."""
        shared = {f.name: getattr(detections, f.name) for f in fields(Detections)}
        return cls(**shared, track_ids=track_ids)

    def confirmed(self) -> Tracks:
        """Return only the rows that belong to a confirmed track."""
        return self[self.track_ids >= 0]
