"""Yolo-Fastest 1.0 and 1.1, each with its xl variant (dog-qiuqiu, 2020-2021), as darknet sections.

The backbone stacks inverted bottlenecks (Sandler et al., MobileNetV2, 2018): a 1x1 convolution widens, a 3x3 depthwise
one looks around, a linear 1x1 one narrows. xl doubles its channels, not those of the two heads. 1.1 pools over 3, 5 and
9 cells before the heads.
"""

from __future__ import annotations

from typing import Any

from yolokkn.models.darknet_sections import Sections
from yolokkn.models.spec import ModelSpec

VARIANTS: dict[str, dict[str, Any]] = {
    name: {
        "imgsz": (320, 320),
        "anchors": (((12, 18), (37, 49), (52, 132)), ((115, 73), (119, 199), (242, 238))),
    }
    for name in ("1.0", "1.0-xl", "1.1", "1.1-xl")
}

# Channels inside, channels out, stride, bottlenecks after it that keep the shape, channels inside those.
_BACKBONE = (
    (8, 4, 1, 1, 8),
    (24, 8, 2, 2, 32),
    (32, 8, 2, 2, 48),
    (48, 16, 1, 4, 96),
    (96, 24, 2, 4, 136),
    (136, 48, 2, 5, 224),
)


def cfg_text(spec: ModelSpec) -> str:
    """Write the network of a spec of family "yolo-fastest" as the text of a .cfg file."""
    version, _, size = spec.variant.partition("-")
    factor, dropout = (2, 0.2) if size == "xl" else (1, 0.15)
    s, scaled = Sections(spec, 2), spec.scaled

    def wide(channels: int) -> int:
        return scaled(factor * channels)

    s.conv(wide(8), 3, 2)
    fine = {}
    for inside, outside, stride, repeats, inside_repeats in _BACKBONE:
        fine["before"] = s.last  # in the end, stride 16 with the channels of a block's output
        fine["widened"] = s.conv(wide(inside))  # ... and inside a block
        s.conv(wide(inside), 3, stride, groups=wide(inside))
        last = s.conv(wide(outside), activation="linear")
        for _ in range(repeats):
            s.conv(wide(inside_repeats))
            s.conv(wide(inside_repeats), 3, groups=wide(inside_repeats))
            s.conv(wide(outside), activation="linear")
            s.dropout(dropout)
            last = s.shortcut(last)
    if version == "1.1":
        _write_heads_11(s, scaled(96), scaled(96) + wide(24), fine["before"])
    else:
        _write_heads_10(s, scaled(96), scaled(128), fine["widened"])
    return s.text


def _write_heads_11(s: Sections, coarse: int, joined: int, fine: int) -> None:
    last = s.last
    pooled = [s.maxpool(3, 1)]
    for size in (5, 9):
        s.route(last)
        pooled.append(s.maxpool(size, 1))
    s.route(*reversed(pooled), last)
    branch = s.conv(coarse)
    _separable(s, coarse, coarse)
    _separable(s, coarse, coarse)
    s.yolo(1)
    s.route(branch)
    up = s.upsample()
    s.route(up, fine)
    _separable(s, joined, joined)
    _separable(s, joined, joined)
    s.yolo(0)


def _write_heads_10(s: Sections, narrow: int, coarse: int, fine: int) -> None:
    branch = s.conv(narrow)
    _separable(s, narrow, coarse)
    _separable(s, coarse, coarse)
    s.yolo(1)
    s.route(branch)
    up = s.upsample()
    s.route(up, fine)
    s.conv(narrow)
    _separable(s, narrow, narrow)
    _separable(s, narrow, narrow)
    s.yolo(0)


def _separable(s: Sections, channels_in: int, channels_out: int) -> None:
    s.conv(channels_in, 5, groups=channels_in)
    s.conv(channels_out, activation="linear")
