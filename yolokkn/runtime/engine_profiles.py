"""Which sizes an engine takes: a free batch, height or width becomes a least, a best and a largest value."""

from __future__ import annotations

from typing import TypeVar

from yolokkn.geometry import DEFAULT_SIDE, DEFAULT_STRIDE
from yolokkn.graph import Model, TensorInfo
from yolokkn.layouts import read_facts
from yolokkn.runtime.engine_manifest import Profile

Triple = tuple[int, int, int]
Size = tuple[int, int]
T = TypeVar("T", int, Size)

_MAX_BATCH, _MAX_SIDE = 4096, 16384


def engine_profiles(
    model: Model,
    *,
    batch: Triple | None = None,
    imgsz: tuple[Size, Size, Size] | None = None,
    largest: Size | None = None,
) -> dict[str, Profile]:
    """Return the least, best and largest shape of each input that has a free size.

    Args:
        model: The ONNX model.
        batch: Pictures in one run: least, best, largest; 1 by default.
        imgsz: Heights and widths in the same way. By default everything from one stride to the size that the model names
            (640 where it names none), at its best there.
        largest: Only the best and largest (height, width), from one stride on.

    Raises:
        ValueError: A size is out of order or out of range, or the model has it fixed otherwise.
    """
    _check_order("batch", batch, _MAX_BATCH)
    if imgsz is not None:
        for name, sides in (("height", [s[0] for s in imgsz]), ("width", [s[1] for s in imgsz])):
            _check_order(f"imgsz: {name}", (sides[0], sides[1], sides[2]), _MAX_SIDE)
    facts = read_facts(model.metadata)
    stride = facts.stride or DEFAULT_STRIDE
    best = largest or facts.input_hw or (DEFAULT_SIDE, DEFAULT_SIDE)
    asked = imgsz or ((stride, stride), best, best)
    profiles = {}
    for spec in model.inputs:
        shapes = [_shape(spec, index, batch, asked[index], imgsz is not None, stride) for index in range(3)]
        if any(not isinstance(size, int) for size in spec.shape):
            profiles[spec.name] = (shapes[0], shapes[1], shapes[2])
    return profiles


def _shape(
    spec: TensorInfo, index: int, batch: Triple | None, size: Size, is_asked: bool, stride: int
) -> tuple[int, ...]:
    is_picture = len(spec.shape) == 4
    shape = []
    for place, given in enumerate(spec.shape):
        wanted: int | None = None
        if place == 0 and (batch is not None or not isinstance(given, int)):
            wanted = batch[index] if batch is not None else 1
        elif is_picture and place == 1 and not isinstance(given, int):
            wanted = 3
        elif is_picture and place >= 2 and (is_asked or not isinstance(given, int)):
            wanted = size[place - 2]
        elif not isinstance(given, int):
            raise ValueError(f"engine_profiles: {spec.name} must have no free size but batch, height and width")
        if isinstance(given, int) and wanted is not None and wanted != given:
            what = ("batch", "channels", "height", "width")[place]
            raise ValueError(
                f"{what}: the model takes {given} only, got {wanted}; export it anew with this size, or with it free"
            )
        if is_picture and place >= 2 and wanted is not None and wanted % stride and not isinstance(given, int):
            raise ValueError(f"imgsz: must be multiples of the model's stride {stride}, got {wanted}")
        shape.append(given if isinstance(given, int) else wanted or 1)
    return tuple(shape)


def _check_order(name: str, values: Triple | None, most: int) -> None:
    if values is not None and not 1 <= values[0] <= values[1] <= values[2] <= most:
        raise ValueError(
            f"{name}: must be least:best:largest, each within 1 and {most} and none less than the one before, "
            f"got {':'.join(map(str, values))}"
        )
