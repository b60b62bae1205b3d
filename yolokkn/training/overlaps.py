"""How well boxes fit one another, pair by pair; gradients flow and are finite for every box.

Boxes are (N, 4) xyxy in pixels. A degenerate box (no width or no height) has IoU 0 with everything.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_SIDE_PX = 1e-3  # guards divisions; a thousandth of a pixel changes no real box


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of aligned pairs, (N,): |A and B| / |A or B|.

    Source: Jaccard (1912); Everingham et al., The PASCAL Visual Object Classes Challenge (2010), section 4.2.

    Example:
        >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]])).tolist()
        [0.3333333432674408]
    """
    shared, union = _shared_and_union(a, b)
    return shared / union.clamp(min=LEAST_SIDE_PX**2)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """IoU - |C without (A or B)| / |C|, C the smallest box about both; (N,) in [-1, 1].

    Source: Rezatofighi et al., Generalized Intersection over Union (2019), algorithm 1.
    """
    shared, union = _shared_and_union(a, b)
    hull = _area(_hull(a, b)).clamp(min=LEAST_SIDE_PX**2)
    return shared / union.clamp(min=LEAST_SIDE_PX**2) - (hull - union) / hull


def diou(a: Tensor, b: Tensor) -> Tensor:
    """IoU - d^2 / c^2, d between the centres, c the diagonal of the smallest box about both; (N,) in [-1, 1].

    Source: Zheng et al., Distance-IoU Loss (2020), equation 7.
    """
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).square().sum(-1)
    diagonal = _hull(a, b).square().sum(-1).clamp(min=LEAST_SIDE_PX**2)
    return iou(a, b) - apart / diagonal


def ciou(a: Tensor, b: Tensor) -> Tensor:
    """DIoU - alpha * v, v = 4 / pi^2 * (atan(w_b / h_b) - atan(w_a / h_a))^2, alpha = v / (1 - IoU + v); (N,).

    Source: Zheng et al., Distance-IoU Loss (2020), equations 8 to 11; alpha is a constant in the backward pass, as there.
    """
    overlap = iou(a, b)
    apart = ((a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2).square().sum(-1)
    diagonal = _hull(a, b).square().sum(-1).clamp(min=LEAST_SIDE_PX**2)
    v = (4 / math.pi**2) * (_slope(b) - _slope(a)).square()
    with torch.no_grad():
        alpha = v / (1 - overlap + v).clamp(min=1e-9)
    return overlap - apart / diagonal - alpha * v


def _sides(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)


def _area(sides: Tensor) -> Tensor:
    return sides[..., 0] * sides[..., 1]  # the gradient of prod would search for zeros


def _slope(boxes: Tensor) -> Tensor:
    sides = _sides(boxes)
    return torch.atan(sides[..., 0] / sides[..., 1].clamp(min=LEAST_SIDE_PX))


def _hull(a: Tensor, b: Tensor) -> Tensor:
    return (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0)


def _shared_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    sides = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    shared = _area(sides.clamp(min=0))
    return shared, _area(_sides(a)) + _area(_sides(b)) - shared
