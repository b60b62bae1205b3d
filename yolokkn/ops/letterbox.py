"""Door of the letterbox kernel: a frame into a model's input, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.geometry import Letterbox
from yolokkn.ops import _native


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
    """Resize, pad, split into planes and scale a frame: `pixel * scale[c] + offset[c]`.

    Bilinear with half-pixel centres and clamped edges, without rounding to 8 bits in between. The fixed-point
    arithmetic (csrc/include/yolokkn/letterbox.h) gives the same bytes on every instruction set and lies within 0.02 of
    exact interpolation on the scale of 0 to 255; whole ratios (1:1, 2:1, 3:1 ...) are exact. Releases the GIL; costs
    about one reading of the sampled rows and one writing of the output.

    Args:
        image: (H, W, 3) uint8 BGR; rows may lie apart or run backwards, pixels are dense. H, W as `geometry.image_hw`.
        geometry: Where the content lies in the input; sides up to 65536, an input of up to 2**27 pixels.
        swap_rb: Whether plane 0 is the image's channel 2 (BGR in, RGB out).
        scale: Factor of each plane of the output; 0, or 1e-30 to 1e30 in magnitude.
        offset: What is added to each plane of the output.
        pad_value: What surrounds the content, 0 to 255, before scale and offset.
        out: (3, input_h, input_w) float32, C-contiguous: where the result goes, such as `blob[0]`; or None.
        keep_padding: Leave what surrounds the content in `out` as it is, because an earlier call with the same geometry
            and values wrote it: saves a quarter or more of the time at 16:9 in a square.

    Returns:
        (3, input_h, input_w) float32: `out`, or the new array.

    Raises:
        TypeError: An array has the wrong dtype, or an argument is of the wrong kind.
        ValueError: A shape, size or number is out of its range, or `out` is unaligned or shares memory with `image`.

    Example:
        >>> image = np.full((2, 4, 3), (10, 20, 30), np.uint8)
        >>> geometry = Letterbox.fit(image.shape[:2], (4, 4))
        >>> letterbox(image, geometry, scale=(1, 1, 1))[:, :2, 0].tolist()
        [[114.0, 30.0], [114.0, 20.0], [114.0, 10.0]]
    """
    return _native.letterbox(image, geometry, swap_rb, scale, offset, pad_value, out, keep_padding)
