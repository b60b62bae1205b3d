"""How much pictures are changed in training; values only."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

_SHARES = ("mosaic", "mosaic9", "mixup", "copy_paste", "flip_lr", "flip_ud", "blur", "noise", "jpeg", "min_visible")


@dataclass(frozen=True)
class AugmentConfig:
    """How much pictures are changed in training. Shares are probabilities, 0 to 1.

    Attributes:
        mosaic: Share of pictures made of four (with three others at random).
        mosaic9: Share of the mosaics that are made of nine.
        zoom: Size of a mosaic's pictures, times `scale`'s factor: 1 shows them as large as alone and cut, 0.5 all of them
            whole; smaller objects, and more of them, teach small networks faster.
        mixup: Share of pictures blended with another.
        copy_paste: Share of pictures that get objects of another picture by their masks; for data with masks only (the
            tasks segment and segment-pose).
        degrees: Rotation, up to this many degrees either way.
        translate: Shift, up to this part of the sides either way.
        scale: Size, factor 1 - scale to 1 + scale.
        shear: Up to this many degrees either way.
        perspective: Up to this much in the matrix's last row; 0.0005 is strong.
        hsv_h: Hue turns by up to this part of the circle.
        hsv_s: Saturation times 1 - hsv_s to 1 + hsv_s.
        hsv_v: Brightness times 1 - hsv_v to 1 + hsv_v.
        flip_lr: Share mirrored left to right.
        flip_ud: Share turned upside down.
        blur: Share blurred a little.
        noise: Share with some noise.
        jpeg: Share compressed as JPEG of quality 40 to 90.
        min_box_px: Boxes with a shorter side go, but for ignored ones.
        min_visible: Boxes of which less than this part is left go, but for ignored ones.
        pad_value: What surrounds pictures.

    Example:
        >>> AugmentConfig(mosaic=0.5, flip_lr=0.3).unmixed().mosaic
        0.0
    """

    mosaic: float = 1.0
    mosaic9: float = 0.0
    zoom: float = 1.0
    mixup: float = 0.0
    copy_paste: float = 0.0
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    flip_lr: float = 0.5
    flip_ud: float = 0.0
    blur: float = 0.01
    noise: float = 0.01
    jpeg: float = 0.01
    min_box_px: float = 2.0
    min_visible: float = 0.1
    pad_value: int = 114

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise TypeError(f"AugmentConfig: {field.name} must be a number, got {value!r}")
            if value < 0 or (field.name in _SHARES and value > 1):
                rule = "within 0 and 1" if field.name in _SHARES else "0 or more"
                raise ValueError(f"AugmentConfig: {field.name} must be {rule}, got {value}")
        if not 0.1 <= self.zoom <= 4:
            raise ValueError(f"AugmentConfig: zoom must be within 0.1 and 4, got {self.zoom}")
        if self.scale >= 1 or self.translate > 1 or self.shear >= 60 or self.pad_value > 255:
            raise ValueError(
                "AugmentConfig: scale must be below 1, translate 1 or less, shear below 60 and pad_value 255 or less, "
                f"got {self.scale}, {self.translate}, {self.shear} and {self.pad_value}"
            )

    def unmixed(self) -> AugmentConfig:
        """Return the same without what joins pictures: mosaic, mixup and copy-paste."""
        return replace(self, mosaic=0.0, mixup=0.0, copy_paste=0.0)


LIGHT = AugmentConfig(mosaic=0.0, scale=0.2, hsv_s=0.4, hsv_v=0.3)
