"""Doors of the mask kernels: bitmaps from prototypes, COCO run lengths, polygons, full frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolokkn.geometry import Letterbox
from yolokkn.ops import _native
from yolokkn.ops.arguments import explain_kinds
from yolokkn.types import Masks


@explain_kinds
def assemble_masks(coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox) -> Masks:
    """Assemble instance masks from prototypes, at the frame's resolution and only inside the boxes.

    A pixel is set where the bilinear sample of `coeffs x prototypes` at the pixel's centre is above 0: the centre's
    input position is `(x + 0.5) * gain_x + pad_left`, its prototype position that times `w / input_w`, minus 0.5,
    clamped to the prototypes' edge. A crop holds the pixels whose centres lie in [x1, x2) x [y1, y2), clipped to the
    frame.

    Sums run over the prototypes in their order, in float32 without contraction: every CPU gives the same bytes. A
    prototype position whose sum is not finite counts as 0, so that a row of coefficients with NaN or infinity gives a
    bitmap of zeros.

    Args:
        coeffs: (N, P) float32.
        prototypes: (P, h, w) float32, over the whole model input; h, w >= 1.
        boxes: (N, 4) float32 xyxy, frame pixels. A box that is degenerate, inverted, outside the frame or not finite
            gives an empty crop, 0 0 0 0.
        geometry: How the frame lies in the model's input.

    Returns:
        N masks, in the boxes' order.

    Raises:
        TypeError: An array is not float32, or the geometry not a Letterbox.
        ValueError: A shape does not fit, an array is not C-contiguous, or a size of the geometry is below 1.

    Cost: P operations for each prototype position under a box, then one write of the crop; samples are computed only
    between neighbouring positions whose signs differ.

    Example:
        >>> geometry = Letterbox.fit((4, 4), (4, 4))
        >>> prototypes = np.array([[[1.0, -1.0], [1.0, -1.0]]], np.float32)
        >>> boxes = np.array([[0, 1, 4, 3]], np.float32)
        >>> masks = assemble_masks(np.ones((1, 1), np.float32), prototypes, boxes, geometry)
        >>> masks.crop(0).tolist()
        [[1, 1, 0, 0], [1, 1, 0, 0]]
    """
    data, crops = _native.assemble_masks(coeffs, prototypes, boxes, geometry)
    return Masks(data, crops, (int(geometry.image_hw[0]), int(geometry.image_hw[1])))


def unpack_masks(bits: np.ndarray, starts: np.ndarray, crops: np.ndarray, frame_hw: tuple[int, int]) -> Masks:
    """Turn packed masks, as the GPU gives them, into bytes.

    Args:
        bits: (words,) uint32: mask n from starts[n] on, row after row of its crop, the leftmost pixel in bit 0 of a row's
            first word.
        starts: (N or more,) int32.
        crops: (N, 4) int32 x1, y1, x2, y2, the last two exclusive.
        frame_hw: Height and width of the frame.

    Raises:
        TypeError: An array has a wrong dtype.
        ValueError: A mask leaves the words, or a crop is none.
    """
    return Masks(_native.unpack_masks(bits, starts, crops), crops, frame_hw)


@explain_kinds
def encode_rle(masks: Masks) -> list[dict[str, Any]]:
    """Encode masks as COCO's compressed run lengths, byte for byte as pycocotools does; the frame is never painted.

    Args:
        masks: N masks; any value but 0 counts as set.

    Returns:
        N times {"size": [H, W], "counts": bytes}: run lengths of the column-major frame, the first one of zeros.

    Raises:
        TypeError: `masks` is not a Masks.
        ValueError: A crop leaves the frame, or the frame has 2**32 pixels or more.

    Cost: one pass over the crops' bytes, and the number of changes from row to row.

    Example:
        >>> masks = Masks(np.ones(4, np.uint8), np.array([[1, 1, 3, 3]], np.int32), (4, 4))
        >>> encode_rle(masks)
        [{'size': [4, 4], 'counts': b'52203'}]
    """
    return _native.encode_rle(*_fields("encode_rle", masks))


@explain_kinds
def decode_rle(rles: Sequence[Mapping[str, Any]]) -> Masks:
    """Decode COCO run lengths.

    Args:
        rles: Mappings with "size" [H, W], the same in all, and "counts": COCO's compressed form as bytes or str, or a
            list or an integer array of run lengths.

    Returns:
        Masks whose crops are the tight bounding boxes of the set pixels; the frame is (0, 0) when there are no rles.

    Raises:
        TypeError: An item is not a mapping, or a field is of the wrong kind.
        ValueError: A field is missing, sizes differ, a string is malformed, or runs do not sum to the frame; nothing of
            the frame's size is allocated before that is checked.

    Example:
        >>> masks = decode_rle([{"size": [4, 4], "counts": [5, 2, 2, 2, 5]}])
        >>> masks.crops.tolist(), masks.data.tolist()
        ([[1, 1, 3, 3]], [1, 1, 1, 1])
    """
    if isinstance(rles, (Mapping, str, bytes)) or not isinstance(rles, Sequence):
        raise TypeError(f"decode_rle: rles must be a list of mappings, got {type(rles).__name__}")
    counts: list[Any] = []
    frame_hw: tuple[int, int] | None = None
    for i, rle in enumerate(rles):
        size = _size(rle, i)
        if frame_hw is not None and size != frame_hw:
            raise ValueError(f"decode_rle: rles[{i}]['size'] must equal that of rles[0], {frame_hw}, got {size}")
        frame_hw = size
        counts.append(_counts(rle, i))
    frame_hw = frame_hw or (0, 0)
    data, crops = _native.decode_rle(counts, frame_hw)
    return Masks(data, crops, frame_hw)


@explain_kinds
def paint_masks(masks: Masks, out: np.ndarray | None = None) -> np.ndarray:
    """Paint every mask at the size of the frame.

    Args:
        masks: N masks; any value but 0 counts as set.
        out: (N, H, W) bool, C-contiguous and writeable, overwritten; None makes a new array.

    Returns:
        `out`, or the new array: (N, H, W) bool.

    Raises:
        TypeError: `masks` is not a Masks, or `out` not an array of bool.
        ValueError: A crop leaves the frame, or `out` does not fit.

    Cost: writes N * H * W bytes.

    Example:
        >>> masks = Masks(np.ones(1, np.uint8), np.array([[1, 0, 2, 1]], np.int32), (1, 3))
        >>> paint_masks(masks).tolist()
        [[[False, True, False]]]
    """
    data, crops, frame_hw = _fields("paint_masks", masks)
    if out is None:
        out = np.empty((len(crops), *frame_hw), bool)
    _native.paint_masks(data, crops, frame_hw, out)
    return out


@explain_kinds
def mask_polygons(masks: Masks) -> list[list[np.ndarray]]:
    """Trace the outermost borders of each mask's 8-connected components.

    Points are the border pixels' coordinates in the frame, only those where the border turns. Holes, and components
    inside a hole, are left out. Components come in the order of their first pixel, row by row; each contour begins
    there and goes counter-clockwise on the screen (down its left side first).

    Args:
        masks: N masks; any value but 0 counts as set.

    Returns:
        For each mask the list of its contours, each (M, 2) int32 x, y with M >= 1; empty for an empty mask.

    Raises:
        TypeError: `masks` is not a Masks.
        ValueError: A crop leaves the frame.

    Source: S. Suzuki and K. Abe, Topological structural analysis of digitized binary images by border following, 1985.

    Example:
        >>> masks = Masks(np.ones(6, np.uint8), np.array([[1, 1, 4, 3]], np.int32), (4, 4))
        >>> mask_polygons(masks)[0][0].tolist()
        [[1, 1], [1, 2], [3, 2], [3, 1]]
    """
    return _native.mask_polygons(*_fields("mask_polygons", masks))


def _fields(function: str, masks: Masks) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    if not isinstance(masks, Masks):
        raise TypeError(f"{function}: masks must be a yolokkn.types.Masks, got {type(masks).__name__}")
    return masks.data, masks.crops, masks.frame_hw


def _size(rle: Any, index: int) -> tuple[int, int]:
    if not isinstance(rle, Mapping):
        raise TypeError(f"decode_rle: rles[{index}] must be a mapping with size and counts, got {type(rle).__name__}")
    for key in ("size", "counts"):
        if key not in rle:
            raise ValueError(
                f"decode_rle: rles[{index}] must have the keys size and counts, got {sorted(map(str, rle))}"
            )
    size = rle["size"]
    if not isinstance(size, (Sequence, np.ndarray)) or len(size) != 2:
        raise TypeError(f"decode_rle: rles[{index}]['size'] must be height and width, got {size!r}")
    if not all(isinstance(side, (int, np.integer)) for side in size):
        raise TypeError(f"decode_rle: rles[{index}]['size'] must hold integers, got {size!r}")
    if not all(0 <= side < 2**31 for side in size):
        raise ValueError(f"decode_rle: rles[{index}]['size'] must hold integers from 0 to 2**31 - 1, got {list(size)}")
    return int(size[0]), int(size[1])


def _counts(rle: Mapping[str, Any], index: int) -> bytes | np.ndarray:
    counts = rle["counts"]
    if isinstance(counts, bytes):
        return counts
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError(
                f"decode_rle: rles[{index}]['counts'] must hold characters from '0' to 'o', got {counts!r}"
            )
        return counts.encode("ascii")
    if not isinstance(counts, (list, tuple, np.ndarray)):
        raise TypeError(
            f"decode_rle: rles[{index}]['counts'] must be bytes, str or a list of integers, got {type(counts).__name__}"
        )
    runs = np.asarray(counts)
    if runs.ndim != 1 or (runs.dtype.kind not in "iu" and runs.size):
        raise TypeError(f"decode_rle: rles[{index}]['counts'] must be a flat list of integers, got {runs.dtype}")
    return np.ascontiguousarray(runs.astype(np.int64))
