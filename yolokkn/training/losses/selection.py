"""Parts of a head's outputs: as float32, and those of some anchors only."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from yolokkn.models.outputs import AnchorGrid, HeadOutputs


def in_float32(outputs: HeadOutputs) -> HeadOutputs:
    """The same logits as float32: losses are computed in it whatever the network ran in; gradients flow."""
    return replace(
        outputs,
        boxes=outputs.boxes.float(),
        objectness=None if outputs.objectness is None else outputs.objectness.float(),
        classes=outputs.classes.float(),
        mask_coeffs=None if outputs.mask_coeffs is None else outputs.mask_coeffs.float(),
        keypoints=None if outputs.keypoints is None else outputs.keypoints.float(),
        prototypes=None if outputs.prototypes is None else outputs.prototypes.float(),
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
