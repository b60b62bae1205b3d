"""How far two runs of one model may lie apart before something is wrong: one table, for every check of parity."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Tolerance:
    """What counts as noise in one precision.

    A value b of the reference and a found value a agree when |a - b| <= absolute + relative * |b|.

    Attributes:
        grey: The prepared picture, in grey levels of 0 to 255.
        absolute: A raw output of the network.
        relative: The same, as a share of the value.
        share: This share of an output's values may lie beyond both.
        scores: A detection's score.
        boxes_px: A corner or keypoint, in pixels of the model's input ...
        boxes_share: ... plus this share of the box's longer side.
        masks_share: Pixels of a mask that may differ, as a share of it (and four more).
        unmatched: Detections without a partner (IoU 0.5, same class), as a share of the reference's; those whose score lies
            at the threshold, or that suppression by the threshold decides, do not count. Rounded up, one at least, where
            there are three or more.
    """

    grey: float
    absolute: float
    relative: float
    share: float
    scores: float
    boxes_px: float
    boxes_share: float
    masks_share: float
    unmatched: float


TOLERANCES: dict[str, Tolerance] = {
    "fp32": Tolerance(0.02, 1e-3, 1e-3, 0.0, 1e-3, 0.05, 1e-3, 0.005, 0.0),
    "fp16": Tolerance(0.2, 0.05, 0.02, 0.01, 0.02, 0.5, 0.05, 0.03, 0.05),
    "int8": Tolerance(0.2, 0.5, 0.2, 0.1, 0.2, 4.0, 0.2, 0.3, 0.2),
    "int8-same": Tolerance(0.2, 0.5, 0.2, 0.01, 0.2, 4.0, 0.2, 0.3, 0.2),
}
"""By precision of the file, of the less exact of two; "int8-same": one int8 file on two backends, which share its rounding."""

KERNELS = Tolerance(0.02, 0.0, 0.0, 0.0, 1e-6, 1e-3, 0.0, 0.005, 0.0)
"""The C++ kernels against their slow twins, whatever the model's precision."""

_HEADINGS = {
    "grey": "picture, grey levels",
    "absolute": "raw output, absolute",
    "relative": "raw output, relative",
    "share": "raw values beyond",
    "scores": "score",
    "boxes_px": "box, input px",
    "boxes_share": "box, of its side",
    "masks_share": "mask, of its pixels",
    "unmatched": "unmatched",
}
_PERCENT = ("relative", "share", "boxes_share", "masks_share", "unmatched")


def tolerance_table() -> str:
    """Return the table for people, one row a quantity.

    Example:
        >>> print(tolerance_table().splitlines()[1])
        picture, grey levels     0.02    0.2    0.2        0.2     0.02
    """
    columns = {**TOLERANCES, "kernels": KERNELS}
    lines = [f"{'largest difference':<22}" + "".join(f"{name:>{_width(name)}}" for name in columns)]
    for field in fields(Tolerance):
        cells = [(name, _shown(field.name, getattr(t, field.name))) for name, t in columns.items()]
        lines.append(f"{_HEADINGS[field.name]:<22}" + "".join(f"{text:>{_width(name)}}" for name, text in cells))
    return "\n".join(lines)


def _width(name: str) -> int:
    return max(7, len(name) + 2)


def _shown(name: str, value: float) -> str:
    return f"{value * 100:g}%" if name in _PERCENT else f"{value:g}"
