"""Mask term: binary cross-entropy of prototypes times coefficients, inside the target's box."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from yolokkn.data.batch import MASK_STRIDE


def mask_cross_entropy(
    coeffs: Tensor,
    prototypes: Tensor,
    masks: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    target_index: Tensor,
    weights: Tensor,
) -> Tensor:
    """Sum over positives of weight / area * sum over the box's cells of the binary cross-entropy of coeffs . prototypes.

    Source: Bolya et al., YOLACT (2019), section 3.3, equation 1, and its crop by the box; divided by the area, as its
    section 3.4 asks for small objects. The area is the number of prototype cells that the box touches.

    Targets are taken one by one, each with all of its positives and only the cells of its box, and their gradients are
    computed at once: memory is that of the largest box plus one gradient of the prototypes, whatever the number of
    positives.

    Args:
        coeffs: (P, C) coefficients of the positives.
        prototypes: (B, C, h, w).
        masks: (M, h, w) bool of all targets.
        boxes: (M, 4) xyxy of all targets, input pixels.
        image_index: (P,) int64 picture of each positive.
        target_index: (P,) int64 target of each positive.
        weights: (P,) weight of each positive; no gradient.

    Returns:
        A scalar.
    """
    if masks.shape[1:] != prototypes.shape[2:]:
        raise ValueError(
            f"mask_cross_entropy: masks must have the prototypes' size {tuple(prototypes.shape[2:])}, "
            f"got {tuple(masks.shape[1:])}"
        )
    result: Tensor = _MaskCrossEntropy.apply(coeffs, prototypes, masks, boxes, image_index, target_index, weights)
    return result


def _crop(box: list[float], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of the prototype cells that a box touches; at least one."""
    x1, y1, x2, y2 = (value / MASK_STRIDE for value in box)
    left, top = min(max(math.floor(x1), 0), width - 1), min(max(math.floor(y1), 0), height - 1)
    right, bottom = min(max(math.ceil(x2), left + 1), width), min(max(math.ceil(y2), top + 1), height)
    return slice(top, bottom), slice(left, right)


class _MaskCrossEntropy(torch.autograd.Function):
    """The sum and, in the same pass, its gradients."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        coeffs, prototypes, masks, boxes, image_index, target_index, weights = (x.detach() for x in inputs)
        total = coeffs.new_zeros(())
        coeff_grads, prototype_grads = torch.zeros_like(coeffs), torch.zeros_like(prototypes)
        order = torch.argsort(target_index, stable=True)
        targets, counts = target_index[order].unique_consecutive(return_counts=True)
        images = image_index[order][counts.cumsum(0) - counts].tolist() if len(order) else []
        crops = boxes[targets].tolist()
        for positives, target, image, box in zip(
            order.split(counts.tolist()), targets.tolist(), images, crops, strict=True
        ):
            rows, cols = _crop(box, *masks.shape[1:])
            area = (rows.stop - rows.start) * (cols.stop - cols.start)
            planes = prototypes[image, :, rows, cols].flatten(1)  # (C, area)
            truth = masks[target, rows, cols].flatten().to(planes.dtype)
            own, share = coeffs[positives], weights[positives] / area
            logits = own @ planes
            total += ((F.softplus(logits) - truth * logits).sum(1) * share).sum()
            slopes = (logits.sigmoid() - truth) * share[:, None]
            coeff_grads[positives] = slopes @ planes.T
            prototype_grads[image, :, rows, cols] += (own.T @ slopes).unflatten(1, (rows.stop - rows.start, -1))
        ctx.save_for_backward(coeff_grads, prototype_grads)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        coeff_grads, prototype_grads = ctx.saved_tensors
        return grad * coeff_grads, grad * prototype_grads, None, None, None, None, None
