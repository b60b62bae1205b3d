"""What may follow a network in its exported graph: finished boxes, for those who have no kernels of their own.

All take (B, 4 + classes + extras, A): cx, cy, w, h in input pixels, scores, extras; and give corners in input pixels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Suppression:
    """What the suppression inside a graph keeps; constants of the file.

    Attributes:
        score_threshold: A detection needs a score above it; 0.1 is what trackers carry on with.
        iou_threshold: A box is suppressed by a better one of its class when their IoU is above it.
        max_detections: Rows of the table.
    """

    score_threshold: float = 0.1
    iou_threshold: float = 0.7
    max_detections: int = 300

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"Suppression: {name} must be within 0 and 1, got {value}")
        if not 1 <= self.max_detections <= 3840:  # the most that TensorRT sorts
            raise ValueError(f"Suppression: max_detections must be 1 to 3840, got {self.max_detections}")

    def text(self) -> str:
        """Return what is kept, in words."""
        return (
            f"keeps boxes with scores above {self.score_threshold:g}, each with its best class alone, suppressed at IoU above "
            f"{self.iou_threshold:g}, at most {self.max_detections} a picture"
        )


class BestClassTable(nn.Module):
    """(B, A, 6): x1 y1 x2 y2, the best score and its class, of each anchor; as DeepStream-Yolo exports."""

    output_names: ClassVar[tuple[str, ...]] = ("detections",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    @property
    def keeps(self) -> str:
        """What the table keeps, in words."""
        return "keeps every anchor with its best class alone (nothing is suppressed)"

    def forward(self, decoded: Tensor) -> tuple[Tensor, ...]:
        """Turn the decoded head into the table."""
        boxes, scores, classes = _best(decoded, self.num_classes)
        return (torch.cat((boxes, scores[..., None], classes[..., None].float()), 2),)


class EndToEndTable(nn.Module):
    """(B, M, 6 + extras): x1 y1 x2 y2 score class extras of what was kept, best first; the rows after it are zero."""

    output_names: ClassVar[tuple[str, ...]] = ("detections",)

    def __init__(self, num_classes: int, num_extras: int, suppression: Suppression) -> None:
        super().__init__()
        self.num_classes, self.num_extras, self.suppression = num_classes, num_extras, suppression

    @property
    def keeps(self) -> str:
        """What the table keeps, in words."""
        return self.suppression.text()

    def forward(self, decoded: Tensor) -> tuple[Tensor, ...]:
        """Turn the decoded head into the table."""
        boxes, scores, classes, where = _kept(decoded, self.num_classes, self.suppression)
        parts = [boxes, scores[..., None], classes[..., None].float()]
        if self.num_extras:
            parts.append(_rows(decoded[:, 4 + self.num_classes :].transpose(1, 2), where))
        return (torch.cat(parts, 2) * (scores > 0)[..., None].float(),)


class EfficientNmsTables(nn.Module):
    """num_dets (B, 1), det_boxes (B, M, 4), det_scores (B, M), det_classes (B, M): as TensorRT's EfficientNMS plugin.

    In operators that every runtime has; the plugin itself would be one that only TensorRT knows.
    """

    output_names: ClassVar[tuple[str, ...]] = ("num_dets", "det_boxes", "det_scores", "det_classes")

    def __init__(self, num_classes: int, suppression: Suppression) -> None:
        super().__init__()
        self.num_classes, self.suppression = num_classes, suppression

    @property
    def keeps(self) -> str:
        """What the tables keep, in words."""
        return self.suppression.text()

    def forward(self, decoded: Tensor) -> tuple[Tensor, ...]:
        """Turn the decoded head into the four tables."""
        boxes, scores, classes, _ = _kept(decoded, self.num_classes, self.suppression)
        found = scores > 0
        count = found.int().sum(1, keepdim=True).int()
        return count, boxes * found[..., None].float(), scores, classes.int() * found.int()


def _best(decoded: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return corners (B, A, 4), the best score (B, A) and its class (B, A)."""
    centre, half = decoded[:, :2], decoded[:, 2:4] * 0.5
    boxes = torch.cat((centre - half, centre + half), 1).transpose(1, 2)
    scores, classes = decoded[:, 4 : 4 + num_classes].max(1)
    return boxes, scores, classes


def _kept(decoded: Tensor, num_classes: int, rule: Suppression) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return boxes (B, M, 4), scores (B, M), classes (B, M) and anchors (B, M) of what is kept; scores 0 where none is."""
    boxes, best, classes = _best(decoded, num_classes)
    ids = torch.arange(num_classes, device=decoded.device)[None, :, None]
    alone = best[:, None] * (classes[:, None] == ids).float()  # (B, classes, A): every anchor has one class
    chosen = _Suppress.apply(boxes, alone, rule.max_detections, rule.iou_threshold, rule.score_threshold)
    num_anchors = best.shape[1]
    flat = chosen[:, 0] * num_anchors + chosen[:, 2]
    scores = torch.zeros_like(best).flatten().scatter(0, flat, best.flatten()[flat]).reshape(best.shape)
    scores, where = _with_room(scores[..., None], rule.max_detections)[..., 0].topk(rule.max_detections, 1)
    classes = _rows(classes[..., None], where)[..., 0]
    return _rows(boxes, where), scores, classes, where


def _with_room(values: Tensor, count: int) -> Tensor:
    """Append rows of zeros to (B, A, C): there may be fewer anchors than rows of the table."""
    return torch.cat((values, torch.zeros_like(values[:, :1]).expand(-1, count, -1)), 1)


def _rows(values: Tensor, where: Tensor) -> Tensor:
    """Take rows (B, M) of (B, A, C); those behind the last are zero."""
    return _with_room(values, where.shape[1]).gather(1, where[..., None].expand(-1, -1, values.shape[2]))


class _Suppress(torch.autograd.Function):
    """ONNX's NonMaxSuppression: (n, 3) int64 batch, class, anchor of the boxes that are kept."""

    @staticmethod
    def forward(
        ctx: Any, boxes: Tensor, scores: Tensor, most: int, iou_threshold: float, score_threshold: float
    ) -> Tensor:
        """Suppress greedily, class by class: the best score first, the lower anchor of equals."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a tracer's: the graph gets the operator, none of these values
            kept = _suppress(
                boxes.detach().cpu().numpy(), scores.detach().cpu().numpy(), most, iou_threshold, score_threshold
            )
            return torch.from_numpy(kept).to(boxes.device)

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, most: int, iou_threshold: float, score_threshold: float) -> Any:
        """Write the operator into a traced graph."""
        limits = (torch.tensor([most]), torch.tensor([iou_threshold]), torch.tensor([score_threshold]))
        constants = [graph.op("Constant", value_t=limit) for limit in limits]
        return graph.op("NonMaxSuppression", boxes, scores, *constants)


def _suppress(
    boxes: np.ndarray, scores: np.ndarray, most: int, iou_threshold: float, score_threshold: float
) -> np.ndarray:
    found: list[tuple[int, int, int]] = []
    for item, class_id in np.ndindex(scores.shape[:2]):
        row = scores[item, class_id]
        order = np.argsort(-row, kind="stable")
        order = order[row[order] > np.float32(score_threshold)]
        end = len(found) + most
        while order.size and len(found) < end:
            found.append((item, class_id, int(order[0])))
            overlaps = _iou(boxes[item, order[0]], boxes[item, order[1:]])
            order = order[1:][overlaps <= np.float32(iou_threshold)]
    return np.array(found, np.int64).reshape(-1, 3)


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap: np.ndarray = np.nan_to_num(shared / (areas - shared))
    return overlap
