"""Box formats, and the Letterbox that maps a frame into a model's input and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

LetterboxRule = Literal["letterbox", "topleft", "stretch"]
LETTERBOX_RULES: tuple[str, ...] = get_args(LetterboxRule)
DEFAULT_SIDE, DEFAULT_STRIDE = 640, 32  # of a model of free size that names none


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Convert corner boxes to left, top, width, height.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.

    Returns:
        (N, 4) of the same dtype, a new array.

    Example:
        >>> xyxy_to_xywh(np.array([[1.0, 2.0, 4.0, 8.0]])).tolist()
        [[1.0, 2.0, 3.0, 6.0]]
    """
    out = boxes.copy()
    out[:, 2:] -= out[:, :2]
    return out


def xywh_to_xyxy(boxes: np.ndarray) -> np.ndarray:
    """Convert left, top, width, height to corner boxes.

    Args:
        boxes: (N, 4) left, top, width, height.

    Returns:
        (N, 4) of the same dtype, a new array.

    Example:
        >>> xywh_to_xyxy(np.array([[1.0, 2.0, 3.0, 6.0]])).tolist()
        [[1.0, 2.0, 4.0, 8.0]]
    """
    out = boxes.copy()
    out[:, 2:] += out[:, :2]
    return out


@dataclass(frozen=True)
class Letterbox:
    """How a frame lies inside a model's input: computed once, carried with the frame, inverted for the results.

    A frame pixel at continuous x lies at `x * gain_x + pad_left` in the input, and so for y.

    Attributes:
        image_hw: Height and width of the frame, pixels.
        input_hw: Height and width of the model's input, pixels.
        resized_hw: Height and width of the frame's content inside the input.
        pad_top: Input rows above the content.
        pad_left: Input columns left of the content.
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    pad_top: int = 0
    pad_left: int = 0

    @classmethod
    def fit(cls, image_hw: tuple[int, int], input_hw: tuple[int, int], rule: LetterboxRule = "letterbox") -> Letterbox:
        """Place a frame into an input of fixed size.

        Args:
            image_hw: Height and width of the frame, each 1 or more.
            input_hw: Height and width of the input, each 1 or more.
            rule: "letterbox" keeps the aspect, rounds half to even and centres (YOLOv5 and later); "topleft" keeps
                the aspect, truncates and puts the content into the corner (YOLOX); "stretch" fills the input
                (darknet under OpenCV, RT-DETR, RF-DETR).

        Raises:
            ValueError: A size is below 1 or the rule is unknown.

        Example:
            >>> Letterbox.fit((1080, 1920), (640, 640))
            Letterbox(image_hw=(1080, 1920), input_hw=(640, 640), resized_hw=(360, 640), pad_top=140, pad_left=0)
        """
        (h, w), (in_h, in_w) = image_hw, input_hw
        if h < 1 or w < 1:
            raise ValueError(f"Letterbox.fit: image_hw must be 1 or more in both, got {image_hw}")
        if in_h < 1 or in_w < 1:
            raise ValueError(f"Letterbox.fit: input_hw must be 1 or more in both, got {input_hw}")
        if rule == "stretch":
            return cls((h, w), (in_h, in_w), (in_h, in_w))
        ratio = min(in_h / h, in_w / w)
        if rule == "topleft":
            return cls((h, w), (in_h, in_w), (max(int(h * ratio), 1), max(int(w * ratio), 1)))
        if rule != "letterbox":
            raise ValueError(f"Letterbox.fit: rule must be one of {', '.join(LETTERBOX_RULES)}, got {rule!r}")
        new_h, new_w = max(round(h * ratio), 1), max(round(w * ratio), 1)
        top = max(round((in_h - new_h) / 2 - 0.1), 0)
        left = max(round((in_w - new_w) / 2 - 0.1), 0)
        return cls((h, w), (in_h, in_w), (new_h, new_w), top, left)

    @classmethod
    def fit_rectangle(
        cls, image_hw: tuple[int, int], limit_hw: tuple[int, int], stride: int, rule: LetterboxRule = "letterbox"
    ) -> Letterbox:
        """Place a frame into the smallest input, a multiple of the stride, that holds it within a limit.

        Args:
            image_hw: Height and width of the frame.
            limit_hw: Largest height and width of the input; multiples of the stride.
            stride: The model's largest stride, pixels.
            rule: As in `fit`; "stretch" has no aspect to keep.

        Raises:
            ValueError: A size is below 1, or the rule is unknown or "stretch".

        Example:
            >>> Letterbox.fit_rectangle((1080, 1920), (640, 640), 32).input_hw
            (384, 640)
        """
        (h, w), (limit_h, limit_w) = image_hw, limit_hw
        if h < 1 or w < 1:
            raise ValueError(f"Letterbox.fit_rectangle: image_hw must be 1 or more in both, got {image_hw}")
        if rule == "stretch":
            raise ValueError("Letterbox.fit_rectangle: rule must be letterbox or topleft, got 'stretch'")
        ratio = min(limit_h / h, limit_w / w)
        tight = [-(-max(round(side * ratio), 1) // stride) * stride for side in (h, w)]
        return cls.fit(image_hw, (min(tight[0], limit_h), min(tight[1], limit_w)), rule)

    @property
    def gain_xy(self) -> tuple[float, float]:
        """Input pixels per frame pixel, in x and in y."""
        return self.resized_hw[1] / self.image_hw[1], self.resized_hw[0] / self.image_hw[0]

    @property
    def padding_share(self) -> float:
        """Share of the input that holds no content, 0 to 1."""
        (h, w), (in_h, in_w) = self.resized_hw, self.input_hw
        return 1.0 - h * w / (in_h * in_w)

    def to_input(self, points: np.ndarray) -> np.ndarray:
        """Map frame pixels to input pixels.

        Args:
            points: (..., 2k) x, y pairs: points, or xyxy boxes.

        Returns:
            An array of the same shape, float64 unless the input is a float.
        """
        gain, pad = self._tiled(points)
        return points * gain + pad

    def to_frame(self, points: np.ndarray, clip: bool = True) -> np.ndarray:
        """Map input pixels back to frame pixels: the specification of the inverse.

        Args:
            points: (..., 2k) x, y pairs: points, or xyxy boxes.
            clip: Bring the result into the frame, [0, W] x [0, H].

        Returns:
            An array of the same shape, float64 unless the input is a float.

        Example:
            >>> Letterbox.fit((1080, 1920), (640, 640)).to_frame(np.array([[0.0, 140.0, 640.0, 500.0]])).tolist()
            [[0.0, 0.0, 1920.0, 1080.0]]
        """
        gain, pad = self._tiled(points)
        out = (points - pad) / gain
        if clip:
            limit = np.tile(np.array(self.image_hw[::-1], out.dtype), out.shape[-1] // 2)
            out = np.clip(out, 0, limit)
        return out

    def _tiled(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dtype = points.dtype if points.dtype.kind == "f" else np.float64
        repeat = points.shape[-1] // 2
        gain = np.tile(np.array(self.gain_xy, dtype), repeat)
        return gain, np.tile(np.array((self.pad_left, self.pad_top), dtype), repeat)
