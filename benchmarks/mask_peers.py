"""What bench_masks.py measures against: hand-tuned compositions, and packages where they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from yolokkn.geometry import Letterbox
from yolokkn.types import Masks


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def crops_of(boxes: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    h, w = frame_hw
    return np.clip(np.ceil(boxes - 0.5), 0, np.array([w, h, w, h])).astype(int)


def roi_numpy_cv2(
    coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox
) -> list[np.ndarray]:
    """One product of the prototype's rows under any box, then per mask a resize of its region and a threshold.

    Regions are whole prototype positions, whose size in the frame is a whole number of pixels for the frames measured.
    """
    planes, h, w = prototypes.shape
    scale_x = geometry.input_hw[1] / w / geometry.gain_xy[0]
    scale_y = geometry.input_hw[0] / h / geometry.gain_xy[1]
    off_x = geometry.pad_left * w / geometry.input_hw[1]
    off_y = geometry.pad_top * h / geometry.input_hw[0]
    logits = (coeffs @ prototypes.reshape(planes, h * w)).reshape(-1, h, w)
    out = []
    for i, (x1, y1, x2, y2) in enumerate(crops_of(boxes, geometry.image_hw).tolist()):
        left, right = max(int(x1 / scale_x + off_x) - 1, 0), min(int(x2 / scale_x + off_x) + 2, w)
        top, bottom = max(int(y1 / scale_y + off_y) - 1, 0), min(int(y2 / scale_y + off_y) + 2, h)
        size = round((right - left) * scale_x), round((bottom - top) * scale_y)
        resized = cv2.resize(logits[i, top:bottom, left:right], size, interpolation=cv2.INTER_LINEAR)
        x, y = x1 - round((left - off_x) * scale_x), y1 - round((top - off_y) * scale_y)
        out.append((resized[y : y + y2 - y1, x : x + x2 - x1] > 0).view(np.uint8))
    return out


def roi_numpy_cv2_products(
    coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox
) -> list[np.ndarray]:
    """The same with one product per mask, of its region only."""
    planes, h, w = prototypes.shape
    scale_x = geometry.input_hw[1] / w / geometry.gain_xy[0]
    scale_y = geometry.input_hw[0] / h / geometry.gain_xy[1]
    off_x = geometry.pad_left * w / geometry.input_hw[1]
    off_y = geometry.pad_top * h / geometry.input_hw[0]
    out = []
    for i, (x1, y1, x2, y2) in enumerate(crops_of(boxes, geometry.image_hw).tolist()):
        left, right = max(int(x1 / scale_x + off_x) - 1, 0), min(int(x2 / scale_x + off_x) + 2, w)
        top, bottom = max(int(y1 / scale_y + off_y) - 1, 0), min(int(y2 / scale_y + off_y) + 2, h)
        region = prototypes[:, top:bottom, left:right].reshape(planes, -1)
        logits = (coeffs[i] @ region).reshape(bottom - top, right - left)
        size = round((right - left) * scale_x), round((bottom - top) * scale_y)
        resized = cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR)
        x, y = x1 - round((left - off_x) * scale_x), y1 - round((top - off_y) * scale_y)
        out.append((resized[y : y + y2 - y1, x : x + x2 - x1] > 0).view(np.uint8))
    return out


def full_frame_torch() -> Callable[..., np.ndarray]:
    """Upsample every mask to the frame, then cut it to its box: what training frameworks do."""
    import torch
    import torch.nn.functional as functional

    torch.set_num_threads(1)

    def assemble(coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox) -> np.ndarray:
        planes, h, w = prototypes.shape
        logits = (torch.from_numpy(coeffs) @ torch.from_numpy(prototypes).view(planes, -1)).view(-1, h, w)
        (in_h, in_w), (new_h, new_w) = geometry.input_hw, geometry.resized_hw
        top, left = round(geometry.pad_top * h / in_h), round(geometry.pad_left * w / in_w)
        logits = logits[:, top : top + round(new_h * h / in_h), left : left + round(new_w * w / in_w)]
        full = functional.interpolate(logits[None], geometry.image_hw, mode="bilinear", align_corners=False)[0]
        corners = torch.from_numpy(crops_of(boxes, geometry.image_hw))
        xs, ys = torch.arange(full.shape[2]), torch.arange(full.shape[1])
        x1, y1, x2, y2 = (corners[:, i, None] for i in range(4))
        inside_x, inside_y = (xs >= x1) & (xs < x2), (ys >= y1) & (ys < y2)
        return (full.gt_(0.0).bool() & inside_x[:, None, :] & inside_y[:, :, None]).numpy()

    return assemble


def edgefirst_tiles() -> Callable[..., list[np.ndarray]]:
    """Its tiles at the frame's resolution, (h, w, 1) from the pixel nearest to each box's corner, on one CPU thread.

    Prototypes are handed over once in the order that its float path takes (h, w, P); the conversion is not timed.
    """
    import edgefirst.image
    import edgefirst.tensor

    def tensor(values: np.ndarray) -> Any:
        out = edgefirst.tensor.Tensor(list(values.shape), "float32")
        out.from_numpy(np.ascontiguousarray(values))
        return out

    class ProtoData:
        def __init__(self, coeffs: np.ndarray, prototypes: np.ndarray) -> None:
            self.source = prototypes
            self.tensors = tensor(coeffs), tensor(prototypes.transpose(1, 2, 0))

        def __edgefirst_protodata__(self) -> tuple[Any, Any, str]:
            coeffs, prototypes = (t.__edgefirst_tensor__(access="read") for t in self.tensors)
            return coeffs, prototypes, "nhwc"

    processor = edgefirst.image.ImageProcessor()
    held: list[ProtoData] = []

    def assemble(
        coeffs: np.ndarray, prototypes: np.ndarray, boxes: np.ndarray, geometry: Letterbox
    ) -> list[np.ndarray]:
        if not held or held[0].source is not prototypes:
            held[:] = [ProtoData(coeffs, prototypes)]
        input_wh = np.array(geometry.input_hw[::-1] * 2, np.float32)
        content = np.array([0, 0, *geometry.image_hw[::-1]], np.float32)
        normalised, region = (geometry.to_input(b) / input_wh for b in (boxes, content))
        resolution = edgefirst.image.MaskResolution.Scaled(geometry.image_hw[1], geometry.image_hw[0])
        scores, classes = np.ones(len(boxes), np.float32), np.zeros(len(boxes), np.uintp)
        return processor.materialize_masks(normalised, scores, classes, held[0], tuple(region.tolist()), resolution)

    return assemble


def assemblers() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {
        "numpy + cv2, one product, regions resized": roi_numpy_cv2,
        "numpy + cv2, a product per region": roi_numpy_cv2_products,
    }
    if _installed("torch"):
        found["torch, full frame"] = full_frame_torch()
    if _installed("edgefirst.image"):
        found["edgefirst-decoder, box tiles"] = edgefirst_tiles()
    return found


def painted(result: Any, boxes: np.ndarray, crops: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What an assembler gave, painted at the size of the frame and cut to the crops."""
    if isinstance(result, np.ndarray):
        return result
    full = np.zeros(shape, bool)
    for i, (x1, y1, x2, y2) in enumerate(crops):
        tile = result[i]
        if tile.ndim == 3:
            left, top = (int(v) for v in np.round(np.maximum(boxes[i, :2], 0)))
            tile = tile[y1 - top : y2 - top, x1 - left : x2 - left, 0]
        full[i, y1 : y1 + tile.shape[0], x1 : x1 + tile.shape[1]] = tile
    return full


def encoders() -> dict[str, Callable[[np.ndarray], Any]]:
    found: dict[str, Callable[[np.ndarray], Any]] = {}
    if _installed("pycocotools"):
        from pycocotools import mask as coco

        found["pycocotools, each full mask"] = lambda full: [
            coco.encode(np.asfortranarray(m.view(np.uint8))) for m in full
        ]
    if _installed("supervision"):
        from supervision.detection.utils.converters import mask_to_rle

        found["supervision mask_to_rle"] = lambda full: [mask_to_rle(m) for m in full]
    return found


def decoders() -> dict[str, Callable[[list], Any]]:
    if not _installed("pycocotools"):
        return {}
    from pycocotools import mask as coco

    return {"pycocotools, full frames": coco.decode}


def contours_of_crops(masks: Masks) -> list[list[np.ndarray]]:
    """cv2.findContours on each crop, moved to its place."""
    out = []
    offset = 0
    for x1, y1, x2, y2 in masks.crops.tolist():
        size = (y2 - y1) * (x2 - x1)
        crop = masks.data[offset : offset + size].reshape(y2 - y1, x2 - x1)
        offset += size
        found = cv2.findContours(crop, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x1, y1))[0] if size else ()
        out.append([contour.reshape(-1, 2) for contour in found])
    return out
