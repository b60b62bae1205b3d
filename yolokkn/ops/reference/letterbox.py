"""Specification of the letterbox."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.geometry import Letterbox


def _samples(source: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left index, right index and the right one's weight of each of `count` samples over `source` pixels."""
    centres = np.clip((2 * np.arange(count) + 1) * source / (2 * count) - 0.5, 0, source - 1)
    left = centres.astype(np.int64)
    return left, np.minimum(left + 1, source - 1), centres - left


def letterbox(
    image: np.ndarray,
    geometry: Letterbox,
    *,
    swap_rb: bool = True,
    scale: Sequence[float] = (1 / 255,) * 3,
    offset: Sequence[float] = (0.0,) * 3,
    pad_value: int = 114,
    out: np.ndarray | None = None,
    keep_padding: bool = False,
) -> np.ndarray:
    """Resize in float64, round once to float32, pad, split and scale; see `yolokkn.ops.letterbox`."""
    (in_h, in_w), (new_h, new_w) = geometry.input_hw, geometry.resized_hw
    top, bottom, wy = _samples(image.shape[0], new_h)
    left, right, wx = _samples(image.shape[1], new_w)
    wx, wy = wx[None, :, None], wy[:, None, None]
    lerped = image[top] * (1 - wy) + image[bottom] * wy
    content = lerped[:, left] * (1 - wx) + lerped[:, right] * wx
    planes = (content[..., ::-1] if swap_rb else content).transpose(2, 0, 1).astype(np.float32)
    factor, shift = (np.asarray(v, np.float32)[:, None, None] for v in (scale, offset))
    if out is None:
        out = np.empty((3, in_h, in_w), np.float32)
    if not keep_padding:
        out[...] = np.float32(pad_value) * factor + shift
    rows = slice(geometry.pad_top, geometry.pad_top + new_h)
    out[:, rows, geometry.pad_left : geometry.pad_left + new_w] = planes * factor + shift
    return out
