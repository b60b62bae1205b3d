"""Terms of the losses, one value per element; reducing them is the caller's.

`iou`, `giou`, `diou` and `ciou` stand in `yolokkn.training.overlaps`, which the assigners use too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from yolokkn.training.overlaps import ciou, diou, giou, iou

__all__ = [
    "binary_cross_entropy",
    "ciou",
    "class_cross_entropy",
    "diou",
    "distribution_focal",
    "giou",
    "iou",
    "object_similarity",
    "side_distances",
    "squared_error",
]

AREA_SHARE = 0.53  # of a box that its person covers; OKS is defined by the area of the person
TAIL = 0.1  # weight of the logarithm that still pulls where the similarity is flat
LEAST_SIDE_PX = 1e-3


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)) = softplus(x) - t x, element by element.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), equation 4.90; for boxes' scores Redmon and Farhadi,
    YOLOv3 (2018), sections 2.1 and 2.2.
    """
    return F.softplus(logits) - targets * logits


def class_cross_entropy(logits: Tensor, class_ids: Tensor, values: Tensor) -> Tensor:
    """Sum over the classes of the binary cross-entropies with target `values` for the own class and 0 for the others.

    Source: as `binary_cross_entropy`; the soft target as in Feng et al., TOOD (2021), section 3.3.

    Args:
        logits: (N, C).
        class_ids: (N,) int64.
        values: (N,) targets of the own class, 0 to 1.

    Returns:
        (N,) sums; no (N, C) target is made.
    """
    own = logits.gather(1, class_ids[:, None])[:, 0]
    return F.softplus(logits).sum(-1) - values * own


def squared_error(boxes: Tensor, truths: Tensor, strides: Tensor, input_hw: tuple[int, int]) -> Tensor:
    """(2 - w h) * (dx^2 + dy^2 + log(w_p / w)^2 + log(h_p / h)^2), centres in cells, w h the share of the picture.

    Source: Redmon et al., You Only Look Once (2016), equation 3, with the logarithmic sizes of Redmon and Farhadi, YOLO9000
    (2017), section 2, "Direct location prediction"; the weight 2 - w h is darknet's (its layer "yolo"). A logarithm of the
    ratio of sizes is the difference of darknet's t_w; the centre in cells is sigma(t_x): so decoded boxes of any head do.

    Args:
        boxes: (N, 4) predicted xyxy, input pixels.
        truths: (N, 4) targets' xyxy.
        strides: (N,) input pixels per cell.
        input_hw: Height and width of the network's input.

    Returns:
        (N,) values.
    """
    size, true_size = boxes[:, 2:] - boxes[:, :2], truths[:, 2:] - truths[:, :2]
    shift = (boxes[:, :2] + boxes[:, 2:] - truths[:, :2] - truths[:, 2:]) / 2 / strides[:, None]
    ratio = ((size.clamp(min=0) + LEAST_SIDE_PX) / (true_size.clamp(min=0) + LEAST_SIDE_PX)).log()
    share = true_size[:, 0] * true_size[:, 1] / (input_hw[0] * input_hw[1])
    return (2 - share) * (shift.square() + ratio.square()).sum(-1)


def distribution_focal(logits: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy of the two bins about a distance y: -(i + 1 - y) log p_i - (y - i) log p_(i+1), i = floor(y).

    Source: Li et al., Generalized Focal Loss (2020), equation 6.

    Args:
        logits: (N, S, reg_max) of S sides; bins stand for 0 .. reg_max - 1 strides.
        distances: (N, S) in strides; moved into the bins' range.

    Returns:
        (N,) means over the sides.
    """
    last = logits.shape[-1] - 1
    y = distances.clamp(0, last)
    low = y.floor().clamp(max=max(last - 1, 0))
    log_p = logits.log_softmax(-1)
    below = log_p.gather(-1, low.long()[..., None])[..., 0]
    above = log_p.gather(-1, (low.long() + 1).clamp(max=last)[..., None])[..., 0]
    return -((low + 1 - y) * below + (y - low) * above).mean(-1)


def side_distances(centers: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """(N, 4) distances in strides from cells' centres to the left, upper, right and lower side of boxes.

    Args:
        centers: (N, 2) pixels.
        strides: (N,).
        boxes: (N, 4) xyxy, pixels.
    """
    return torch.cat((centers - boxes[:, :2], boxes[:, 2:] - centers), -1) / strides[:, None]


def object_similarity(xy: Tensor, truths: Tensor, boxes: Tensor, sigmas: Tensor) -> Tensor:
    """1 - exp(-e) + 0.1 log(1 + e), e = d^2 / (2 s^2 (2 sigma)^2), mean over the labelled keypoints.

    Source: COCO keypoint evaluation (object keypoint similarity, s^2 the object's area: here 0.53 of its box); as a loss
    Maji et al., YOLO-Pose (2022), section 3.3. exp(-e) is flat where a keypoint is far off (eyes from a tenth of the box):
    the logarithm, whose slope falls with 1 / d only, is ours.

    Args:
        xy: (N, K, 2) predicted, input pixels.
        truths: (N, K, 3) x, y, visibility; 0 means not labelled.
        boxes: (N, 4) targets' xyxy.
        sigmas: (K,).

    Returns:
        (N,) values, 0 where nothing is labelled.
    """
    labelled = truths[..., 2] > 0
    area = AREA_SHARE * (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    spread = 2 * area.clamp(min=1)[:, None] * (2 * sigmas).square()
    e = (xy - truths[..., :2]).masked_fill(~labelled[..., None], 0.0).square().sum(-1) / spread
    values = 1 - (-e).exp() + TAIL * e.log1p()
    return values.sum(-1) / labelled.sum(-1).clamp(min=1)
