"""Parts of a head's outputs: in full precision, and those of some anchors only."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from yolokkn.models.outputs import AnchorGrid, HeadOutputs


def in_float32(outputs: HeadOutputs) -> HeadOutputs:
    """The same logits as float32: losses are computed in it whatever the network ran in; gradients flow. Float64 stays."""

    def full(values: Tensor) -> Tensor:
        return values if values.dtype == torch.float64 else values.float()

    def of(values: Tensor | None) -> Tensor | None:
        return None if values is None else full(values)

    return replace(
        outputs,
        boxes=full(outputs.boxes),
        objectness=of(outputs.objectness),
        classes=full(outputs.classes),
        mask_coeffs=of(outputs.mask_coeffs),
        keypoints=of(outputs.keypoints),
        prototypes=of(outputs.prototypes),
    )


def pick(outputs: HeadOutputs, image_index: Tensor, anchor_index: Tensor) -> HeadOutputs:
    """Outputs of P anchors of a batch, as one picture of P anchors: `decode_boxes` and the like read it as any other.

    Args:
        outputs: Of the batch; its prototypes stay.
        image_index: (P,) int64.
        anchor_index: (P,) int64.
    """
    grid = outputs.grid
    picked_grid = AnchorGrid(
        cells=grid.cells[anchor_index],
        strides=grid.strides[anchor_index],
        level_ids=grid.level_ids[anchor_index],
        anchors_wh=None if grid.anchors_wh is None else grid.anchors_wh[anchor_index],
        scale_xy=grid.scale_xy[anchor_index],
        level_shapes=((1, 1, len(anchor_index)),),
        input_hw=grid.input_hw,
    )

    def of(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[image_index, anchor_index][None]

    return replace(
        outputs,
        boxes=outputs.boxes[image_index, anchor_index][None],
        objectness=of(outputs.objectness),
        classes=outputs.classes[image_index, anchor_index][None],
        mask_coeffs=of(outputs.mask_coeffs),
        keypoints=of(outputs.keypoints),
        grid=picked_grid,
    )
