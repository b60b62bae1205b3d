"""What a network is, as plain values: a file of JSON rebuilds it, weights apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from math import ceil, isfinite
from typing import Any, get_args

from yolokkn.errors import did_you_mean
from yolokkn.geometry import LETTERBOX_RULES
from yolokkn.models.blocks import ACTIVATIONS
from yolokkn.models.outputs import BoxFormula
from yolokkn.types import TASKS, Task

Anchors = tuple[tuple[tuple[float, float], ...], ...]
HEAD_KINDS = ("shared", "decoupled", "light")
BLOCKS = ("dense", "depthwise")
MAX_CFG_CHARS = 1 << 20

_STAGES = {"channels", "depths", "width", "depth", "neck_channels", "neck_depth", "activation"}
_MASKS = {"num_prototypes", "prototype_channels"}
_ANCHORED = {"anchors", "scale_xy", "formula"}

# Which of the fields that shape a network each family reads; the others must stay at their defaults.
FAMILIES: dict[str, frozenset[str]] = {
    "yolovkkn": frozenset(_STAGES | _MASKS | _ANCHORED),
    "yolovkkn2": frozenset(_STAGES | _MASKS | {"head_kind", "head_channels", "head_depth", "block", "reg_max"}),
    "yolov3": frozenset(_ANCHORED | {"width", "depth"}),
    "yolo-fastest": frozenset(_ANCHORED | {"width"}),
    "darknet": frozenset({"cfg"}),
}
_VARIANTS = {"yolov3": ("", "tiny"), "yolo-fastest": ("1.0", "1.0-xl", "1.1", "1.1-xl")}  # these name structures
_SHAPING = frozenset().union(*FAMILIES.values())


@dataclass(frozen=True)
class ModelSpec:
    """Everything that `build_model` needs.

    Attributes:
        family: "yolovkkn", "yolovkkn2", "yolov3", "yolo-fastest" or "darknet".
        class_names: Names by class id.
        task: "detect", "segment", "pose" or "segment-pose"; the darknet families only detect.
        variant: The preset's letter or number ("n", "tiny", "1.1-xl"); it names the structure of the darknet families
            and is a label for the others, whose structure stands in the fields below.
        imgsz: Height and width of the input, pixels; the network takes others of the same multiple as well.
        keypoint_shape: (K, 3); None without keypoints.
        letterbox: How pictures are fitted into the input: "letterbox", "topleft" or "stretch".
        anchors: Per level from the smallest stride to the largest, (width, height) in pixels of `imgsz`.
        scale_xy: Per level from the smallest stride to the largest, YOLOv4's grid scaling; None is 1.
        formula: How box logits become boxes, "v5" or "darknet"; None takes the family's.
        width: Factor of every number of channels; other than 1 it rounds up to multiples of 8.
        depth: Factor of every number of repeated blocks; at least one stays.
        channels: Of the stem and of the four stages, strides 2 to 32.
        depths: Blocks in each of the four stages; 0 leaves the stage with its convolution.
        neck_channels: Of the neck at strides 8, 16 and 32.
        neck_depth: Blocks in each part of the neck.
        head_kind: "shared" (one tower gives all), "decoupled" (one for boxes, one for classes, one for each extra) or
            "light" (decoupled, and all towers but that for boxes depthwise).
        head_channels: Of the head's towers.
        head_depth: 3x3 convolutions in a tower.
        block: Inner blocks of yolovkkn2, "dense" or "depthwise".
        activation: Name of an activation of `yolokkn.models.blocks`.
        reg_max: Bins a side of a box; 1 predicts the distance itself.
        num_prototypes: Mask prototypes, where the task has masks.
        prototype_channels: Of the branch that makes them.
        cfg: Text of the .cfg file of family "darknet".
    """

    family: str
    class_names: tuple[str, ...]
    task: Task = "detect"
    variant: str = ""
    imgsz: tuple[int, int] = (640, 640)
    keypoint_shape: tuple[int, int] | None = None
    letterbox: str = "letterbox"
    anchors: Anchors | None = None
    scale_xy: tuple[float, ...] | None = None
    formula: BoxFormula | None = None
    width: float = 1.0
    depth: float = 1.0
    channels: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    neck_channels: tuple[int, ...] = ()
    neck_depth: int = 1
    head_kind: str = "shared"
    head_channels: int = 64
    head_depth: int = 1
    block: str = "dense"
    activation: str = "silu"
    reg_max: int = 16
    num_prototypes: int = 32
    prototype_channels: int = 64
    cfg: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, _READERS[field.name](field.name, value))
        _check_meaning(self)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def has_masks(self) -> bool:
        """Whether the task needs mask coefficients and prototypes."""
        return self.task in ("segment", "segment-pose")

    @property
    def num_keypoints(self) -> int:
        """Keypoints an anchor; 0 where the task has none."""
        return self.keypoint_shape[0] if self.keypoint_shape else 0

    def scaled(self, channels: int) -> int:
        """Return a number of channels times `width`."""
        return channels if self.width == 1 else max(8, 8 * ceil(channels * self.width / 8))

    def repeated(self, blocks: int) -> int:
        """Return a number of blocks times `depth`; 0 stays 0."""
        return max(1, round(blocks * self.depth)) if blocks else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them: lists for tuples; what stands at its default is left out."""
        kept = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.default is MISSING or value != field.default:
                kept[field.name] = value
        return json.loads(json.dumps(kept))

    def to_json(self) -> str:
        """Return the spec as JSON text that `from_json` reads."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=1)

    @classmethod
    def from_dict(cls, values: Any) -> ModelSpec:
        """Read the spec out of a mapping.

        Raises:
            TypeError: A value is of the wrong kind.
            ValueError: A key is unknown or missing, or a value breaks its rule.
        """
        if not isinstance(values, dict):
            raise TypeError(f"ModelSpec: must be read from a mapping, got {type(values).__name__}")
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                raise ValueError(f"ModelSpec: {str(key)[:40]!r} must be a known key{did_you_mean(str(key), names)}")
        for key in ("family", "class_names"):
            if key not in values:
                raise ValueError(f"ModelSpec: {key} must be given, got none")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read the spec out of JSON text.

        Raises:
            TypeError: A value is of the wrong kind.
            ValueError: The text is no JSON, a key is unknown or missing, or a value breaks its rule.
        """
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"ModelSpec: must be read from JSON, got {text[:40]!r}: {error}") from error
        return cls.from_dict(values)


def _check_meaning(spec: ModelSpec) -> None:
    read = FAMILIES[spec.family]
    defaults = {field.name: field.default for field in fields(spec)}
    for name in sorted(_SHAPING - read):
        if getattr(spec, name) != defaults[name]:
            raise ValueError(f"ModelSpec: {name} must be left out, got a value that family {spec.family} does not read")
    if (spec.keypoint_shape is not None) != (spec.task in ("pose", "segment-pose")):
        raise ValueError(
            f"ModelSpec: keypoint_shape must be given for tasks with keypoints alone, got task {spec.task}"
        )
    if spec.task != "detect" and spec.family in ("yolov3", "yolo-fastest", "darknet"):
        raise ValueError(f"ModelSpec: task must be detect for family {spec.family}, got {spec.task}")
    if spec.variant not in _VARIANTS.get(spec.family, (spec.variant,)):
        legal = ", ".join(repr(variant) for variant in _VARIANTS[spec.family])
        raise ValueError(f"ModelSpec: variant must be one of {legal} for family {spec.family}, got {spec.variant!r}")
    if "channels" in read:
        _need_length(spec, "channels", 5)
        _need_length(spec, "depths", 4)
        _need_length(spec, "neck_channels", 3)
    for name in ("anchors", "scale_xy"):
        values, needed = getattr(spec, name), len(spec.anchors or ())
        if name in read and values is not None and len(values) != needed:
            raise ValueError(f"ModelSpec: {name} must be one entry a level ({needed}), got {len(values)}")
    if "anchors" in read and spec.anchors is None:
        raise ValueError(f"ModelSpec: anchors must be given for family {spec.family}, got none")
    if spec.formula == "distance":
        raise ValueError("ModelSpec: formula must be v5 or darknet, got distance")
    multiple = 1 if spec.family == "darknet" else 32
    if spec.imgsz[0] % multiple or spec.imgsz[1] % multiple:
        raise ValueError(f"ModelSpec: imgsz must be multiples of 32, got {spec.imgsz[0]}x{spec.imgsz[1]}")


def _need_length(spec: ModelSpec, name: str, length: int) -> None:
    if len(getattr(spec, name)) != length:
        raise ValueError(f"ModelSpec: {name} must be {length} numbers, got {len(getattr(spec, name))}")


Reader = Callable[[str, Any], Any]


def _integer(low: int, high: int) -> Reader:
    def read(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"ModelSpec: {name} must be whole numbers, got {type(value).__name__}")
        if not low <= value <= high:
            raise ValueError(f"ModelSpec: {name} must be within {low} and {high}, got {value}")
        return value

    return read


def _real(low: float, high: float) -> Reader:
    def read(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"ModelSpec: {name} must be numbers, got {type(value).__name__}")
        if not isfinite(value) or not low <= value <= high:
            raise ValueError(f"ModelSpec: {name} must be within {low:g} and {high:g}, got {value:g}")
        return float(value)

    return read


def _tuple(item: Reader, low: int, high: int) -> Reader:
    def read(name: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (tuple, list)):
            raise TypeError(f"ModelSpec: {name} must be a sequence, got {type(value).__name__}")
        if not low <= len(value) <= high:
            raise ValueError(f"ModelSpec: {name} must have {low} to {high} entries, got {len(value)}")
        return tuple(item(name, v) for v in value)

    return read


def _optional(item: Reader) -> Reader:
    return lambda name, value: None if value is None else item(name, value)


def _choice(legal: tuple[str, ...]) -> Reader:
    def read(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"ModelSpec: {name} must be str, got {type(value).__name__}")
        if value not in legal:
            hint = did_you_mean(value, legal)
            raise ValueError(f"ModelSpec: {name} must be one of {', '.join(legal)}, got {value[:40]!r}{hint}")
        return value

    return read


def _text(max_chars: int) -> Reader:
    def read(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"ModelSpec: {name} must be str, got {type(value).__name__}")
        if len(value) > max_chars:
            raise ValueError(f"ModelSpec: {name} must have at most {max_chars} characters, got {len(value)}")
        return value

    return read


_CHANNELS = _integer(1, 65536)
_READERS: dict[str, Reader] = {
    "family": _choice(tuple(FAMILIES)),
    "class_names": _tuple(_text(1000), 1, 65536),
    "task": _choice(TASKS),
    "variant": _text(40),
    "imgsz": _tuple(_integer(1, 8192), 2, 2),
    "keypoint_shape": _optional(
        lambda name, value: (_tuple(_integer(1, 1000), 2, 2)(name, value)[0], _integer(3, 3)(name, value[1]))
    ),
    "letterbox": _choice(LETTERBOX_RULES),
    "anchors": _optional(_tuple(_tuple(_tuple(_real(1e-6, 1e6), 2, 2), 1, 64), 1, 16)),
    "scale_xy": _optional(_tuple(_real(0.5, 4), 1, 16)),
    "formula": _optional(_choice(get_args(BoxFormula))),
    "width": _real(1e-3, 100),
    "depth": _real(1e-3, 100),
    "channels": _tuple(_CHANNELS, 0, 5),
    "depths": _tuple(_integer(0, 1000), 0, 4),
    "neck_channels": _tuple(_CHANNELS, 0, 3),
    "neck_depth": _integer(1, 100),
    "head_kind": _choice(HEAD_KINDS),
    "head_channels": _CHANNELS,
    "head_depth": _integer(1, 16),
    "block": _choice(BLOCKS),
    "activation": _choice(tuple(ACTIVATIONS)),
    "reg_max": _integer(1, 256),
    "num_prototypes": _integer(1, 1024),
    "prototype_channels": _CHANNELS,
    "cfg": _text(MAX_CFG_CHARS),
}
