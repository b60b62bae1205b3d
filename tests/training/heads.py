"""Heads, raw logits and targets that the tests of losses share."""

from __future__ import annotations

import torch

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import AnchorGrid, HeadOutputs, HeadSpec

ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
STRIDES = (8, 16, 32)

HEADS = {
    "distance": HeadSpec(3, STRIDES, "distance"),
    "softplus": HeadSpec(3, STRIDES, "distance", reg_max=1),
    "v5": HeadSpec(3, STRIDES, "v5", ANCHORS),
    "darknet": HeadSpec(3, STRIDES, "darknet", ANCHORS),
    "scaled": HeadSpec(3, STRIDES, "darknet", ANCHORS, scale_xy=(1.2, 1.1, 1.05)),
    "tiny": HeadSpec(3, (32, 16), "darknet", (ANCHORS[2], ANCHORS[1])),
    "extras": HeadSpec(3, STRIDES, "distance", num_prototypes=8, num_keypoints=17),
    "v5-extras": HeadSpec(3, STRIDES, "v5", ANCHORS, num_prototypes=8, num_keypoints=5),
}


def make_outputs(head: HeadSpec, hw=(64, 96), pictures=2, seed=0, spread=1.0, dtype=torch.float32) -> HeadOutputs:
    """Random logits that are leaves; scores start low, as a network's do."""
    generator = torch.Generator().manual_seed(seed)
    grid = AnchorGrid.build(head, tuple((hw[0] // s, hw[1] // s) for s in head.strides))
    count = len(grid.cells)

    def leaf(*shape, shift=0.0):
        values = torch.randn(shape, generator=generator) * spread + shift
        return values.to(dtype).requires_grad_()

    return HeadOutputs(
        boxes=leaf(pictures, count, head.num_box_channels),
        objectness=leaf(pictures, count, shift=-4.0) if head.has_objectness else None,
        classes=leaf(pictures, count, head.num_classes, shift=-4.0),
        mask_coeffs=leaf(pictures, count, head.num_prototypes) if head.num_prototypes else None,
        keypoints=leaf(pictures, count, head.num_keypoints, 3) if head.num_keypoints else None,
        prototypes=leaf(pictures, head.num_prototypes, hw[0] // 4, hw[1] // 4) if head.num_prototypes else None,
        grid=grid,
        spec=head,
    )


def leaves(outputs: HeadOutputs) -> dict[str, torch.Tensor]:
    names = ("boxes", "objectness", "classes", "mask_coeffs", "keypoints", "prototypes")
    return {name: getattr(outputs, name) for name in names if getattr(outputs, name) is not None}


def make_targets(image_index, boxes, class_ids=None, ignored=None, **extras) -> Targets:
    count = len(image_index)
    return Targets(
        torch.tensor(image_index, dtype=torch.int64),
        torch.tensor(boxes, dtype=torch.float32).reshape(count, 4),
        torch.zeros(count, dtype=torch.int64) if class_ids is None else torch.tensor(class_ids, dtype=torch.int64),
        torch.zeros(count, dtype=torch.bool) if ignored is None else torch.tensor(ignored, dtype=torch.bool),
        **extras,
    )


def four_pictures() -> Targets:
    """Objects of 3 classes on 4 pictures of 96 x 128, one picture without any."""
    boxes = (
        *((8, 8, 40, 56), (60, 20, 116, 60), (80, 66, 96, 88)),
        *((30, 30, 58, 44), (4, 60, 84, 92)),
        *((50, 6, 122, 90),),
    )
    return make_targets((0, 0, 0, 1, 1, 3), boxes, (0, 1, 2, 2, 0, 1))
