"""From a preset's name to a spec, and from a spec to a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from yolokkn.errors import did_you_mean
from yolokkn.models import yolo_fastest, yolov3, yolovkkn, yolovkkn2
from yolokkn.models.darknet import DarknetNetwork
from yolokkn.models.network import Network
from yolokkn.models.spec import ModelSpec
from yolokkn.types import Task

SpecFactory = Callable[..., ModelSpec]


def build_model(spec: ModelSpec) -> Network:
    """Build the network of a spec; its weights are drawn from torch's random numbers.

    Example:
        >>> network = build_model(preset("yolovkkn2-p", ["person"]))
        >>> network.head.formula
        'distance'
    """
    return _BUILDERS[spec.family](spec)


def presets() -> dict[str, SpecFactory]:
    """Return the factory of each preset: `factory(class_names, task="detect", **values) -> ModelSpec`.

    Values are fields of `ModelSpec` that overrule the preset's.
    """
    return {name: _factory(values) for name, values in _PRESETS.items()}


def preset(name: str, class_names: Sequence[str], task: Task = "detect", **values: Any) -> ModelSpec:
    """Make the spec of a preset.

    Args:
        name: A key of `presets()`.
        class_names: Names by class id.
        task: "detect", "segment", "pose" or "segment-pose"; those with keypoints have 17 unless keypoint_shape is given.
        **values: Fields of `ModelSpec` that overrule the preset's.

    Raises:
        ValueError: There is no such preset, or a value breaks its rule.

    Example:
        >>> preset("yolovkkn-s", ["cat", "dog"], imgsz=(320, 320)).num_classes
        2
    """
    if name not in _PRESETS:
        hint = did_you_mean(name, _PRESETS)
        raise ValueError(f"preset: name must be one of {', '.join(_PRESETS)}, got {str(name)[:40]!r}{hint}")
    return presets()[name](class_names, task, **values)


def _factory(preset_values: Mapping[str, Any]) -> SpecFactory:
    def make(class_names: Sequence[str], task: Task = "detect", **values: Any) -> ModelSpec:
        pose = {"keypoint_shape": (17, 3)} if task in ("pose", "segment-pose") else {}
        if isinstance(class_names, str):
            raise TypeError("preset: class_names must be a sequence of str, got str")
        return ModelSpec.from_dict({**preset_values, **pose, **values, "class_names": tuple(class_names), "task": task})

    return make


_BUILDERS: dict[str, Callable[[ModelSpec], Network]] = {
    "yolovkkn": yolovkkn.YolovKKN,
    "yolovkkn2": yolovkkn2.YolovKKN2,
    "yolov3": lambda spec: DarknetNetwork(spec, yolov3.cfg_text(spec)),
    "yolo-fastest": lambda spec: DarknetNetwork(spec, yolo_fastest.cfg_text(spec)),
    "darknet": lambda spec: DarknetNetwork(spec, spec.cfg),
}

_PRESETS: dict[str, dict[str, Any]] = {
    **{
        f"yolovkkn-{variant}": {"family": "yolovkkn", "variant": variant, **yolovkkn.DEFAULTS, "width": w, "depth": d}
        for variant, (w, d) in yolovkkn.VARIANTS.items()
    },
    **{
        f"yolovkkn2-{variant}": {"family": "yolovkkn2", "variant": variant, **values}
        for variant, values in yolovkkn2.VARIANTS.items()
    },
    **{
        f"yolov3-{variant}".rstrip("-"): {"family": "yolov3", "variant": variant, **values}
        for variant, values in yolov3.VARIANTS.items()
    },
    **{
        f"yolo-fastest-{variant}": {"family": "yolo-fastest", "variant": variant, **values}
        for variant, values in yolo_fastest.VARIANTS.items()
    },
}
