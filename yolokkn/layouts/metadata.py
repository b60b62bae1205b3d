"""What a model file's metadata says, whoever wrote it: Ultralytics, LibreYOLO or this project."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from yolokkn.errors import ModelError

ExportLayout = Literal["raw", "decoded", "end2end", "efficientnms", "deepstream"]
EXPORT_LAYOUTS: tuple[str, ...] = get_args(ExportLayout)  # what this project's own networks are exported with
_MAX_CHARS = 1_000_000


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model that its file or the caller states; None where nobody does.

    Attributes:
        layout: Name of the layout, as this project's own files carry it.
        task: "detect", "segment", "pose", "segment-pose", "obb", "classify" ...
        class_names: Names by class id.
        input_hw: Height and width that the model was exported for.
        stride: Largest stride.
        strides: Stride of each level.
        num_bins: Bins a side of a raw anchor-free head ("reg_max").
        keypoint_shape: (K, 2) or (K, 3).
        end2end: The model needs no suppression.
        nms_inside: Suppression is part of the exported graph.
        anchors: Per head, (width, height) pairs in input pixels.
        scale_xy: Per head, the grid scaling of YOLOv4.
        letterbox: Name of the letterbox rule.
        producer: Who wrote the file, for messages.
    """

    layout: str | None = None
    task: str | None = None
    class_names: tuple[str, ...] | None = None
    input_hw: tuple[int, int] | None = None
    stride: int | None = None
    strides: tuple[int, ...] | None = None
    num_bins: int | None = None
    keypoint_shape: tuple[int, int] | None = None
    end2end: bool | None = None
    nms_inside: bool | None = None
    anchors: tuple[tuple[tuple[float, float], ...], ...] | None = None
    scale_xy: tuple[float, ...] | None = None
    letterbox: str | None = None
    producer: str = ""

    @property
    def num_classes(self) -> int | None:
        """Number of named classes."""
        return None if self.class_names is None else len(self.class_names)


def parse_value(key: str, text: str) -> Any:
    """Read a metadata value that is JSON or a Python literal; a plain word stays a string.

    Raises:
        ModelError: The text is absurdly long.
    """
    if len(text) > _MAX_CHARS:
        raise ModelError(f"metadata: {key} must have at most {_MAX_CHARS} characters, got {len(text)}")
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return text


def parse_names(value: Any) -> tuple[str, ...]:
    """Turn names as files carry them (a list, or a mapping from class id) into a tuple.

    Raises:
        ModelError: The value is neither, or ids are missing.

    Example:
        >>> parse_names({0: "person", 1: "car"})
        ('person', 'car')
    """
    if isinstance(value, Mapping):
        try:
            by_id = {int(k): str(v) for k, v in value.items()}
        except (TypeError, ValueError) as error:
            raise ModelError(f"metadata: names must map class ids to names, got {_short(value)}") from error
        if sorted(by_id) != list(range(len(by_id))):
            raise ModelError(f"metadata: names must have the ids 0 to {len(by_id) - 1}, got {_short(sorted(by_id))}")
        return tuple(by_id[i] for i in range(len(by_id)))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(str(v) for v in value)
    raise ModelError(f"metadata: names must be a list or a mapping from class ids, got {_short(value)}")


def read_facts(metadata: Mapping[str, str]) -> ModelFacts:
    """Read the facts out of a file's metadata, whose values are strings.

    Raises:
        ModelError: A value contradicts its meaning.

    Example:
        >>> read_facts({"names": "{0: 'cat'}", "task": "detect", "imgsz": "[640, 640]"}).class_names
        ('cat',)
    """
    values = {key: parse_value(key, text) for key, text in metadata.items()}
    args = values.get("args")
    nms = values.get("nms", args.get("nms") if isinstance(args, Mapping) else None)
    return ModelFacts(
        layout=_word(values, "layout"),
        task=_word(values, "task"),
        class_names=parse_names(values["names"]) if values.get("names") else None,
        input_hw=_input_hw(values),
        stride=_stride(values.get("stride")),
        strides=_strides(values.get("strides")),
        num_bins=None if values.get("reg_max") is None else _positive("reg_max", values["reg_max"]),
        keypoint_shape=_keypoint_shape(values.get("kpt_shape")),
        end2end=_flag(values.get("end2end")),
        nms_inside=_flag(nms),
        anchors=_anchors(values.get("anchors")),
        scale_xy=_numbers("scale_xy", values.get("scale_xy")),
        letterbox=_word(values, "letterbox"),
        producer=str(values.get("author") or values.get("producer") or values.get("model_family") or ""),
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _word(values: Mapping[str, Any], key: str) -> str | None:
    return str(values[key]) if values.get(key) else None


def _flag(value: Any) -> bool | None:
    if value is None:
        return None
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1", "yes")


def _positive(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ModelError(f"metadata: {key} must be a positive whole number, got {_short(value)}")
    try:
        number = int(value)
    except (ValueError, OverflowError) as error:
        raise ModelError(f"metadata: {key} must be a positive whole number, got {_short(value)}") from error
    if not 1 <= number <= 65536:
        raise ModelError(f"metadata: {key} must be within 1 and 65536, got {number}")
    return number


def _input_hw(values: Mapping[str, Any]) -> tuple[int, int] | None:
    if "imgsz_h" in values and "imgsz_w" in values:
        return _positive("imgsz_h", values["imgsz_h"]), _positive("imgsz_w", values["imgsz_w"])
    size = values.get("imgsz")
    if size is None:
        return None
    pair = list(size) if isinstance(size, (list, tuple)) else [size, size]
    if len(pair) != 2:
        raise ModelError(f"metadata: imgsz must be one size or height and width, got {_short(size)}")
    return _positive("imgsz", pair[0]), _positive("imgsz", pair[1])


def _stride(value: Any) -> int | None:
    if value is None:
        return None
    return (
        max(_positive("stride", v) for v in value) if isinstance(value, (list, tuple)) else _positive("stride", value)
    )


def _strides(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not value:
        raise ModelError(f"metadata: strides must be a list of whole numbers, got {_short(value)}")
    return tuple(_positive("strides", v) for v in value)


def _keypoint_shape(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or len(value) != 2 or value[1] not in (2, 3):
        raise ModelError(f"metadata: kpt_shape must be [number, 2 or 3], got {_short(value)}")
    return _positive("kpt_shape", value[0]), int(value[1])


def _numbers(key: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, (int, float)) for v in value):
        raise ModelError(f"metadata: {key} must be a list of numbers, got {_short(value)}")
    return tuple(float(v) for v in value)


def _anchors(value: Any) -> tuple[tuple[tuple[float, float], ...], ...] | None:
    if value is None:
        return None
    try:
        heads = tuple(tuple((float(w), float(h)) for w, h in head) for head in value)
    except (TypeError, ValueError) as error:
        raise ModelError(f"metadata: anchors must be [[w, h], ...] per head, got {_short(value)}") from error
    if not heads or not all(head and all(w > 0 and h > 0 for w, h in head) for head in heads):
        raise ModelError(f"metadata: anchors must be positive and at least one a head, got {_short(value)}")
    return heads
