"""What every network gives, in training and in evaluation alike: raw logits of all anchors of all levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

BoxFormula = Literal["darknet", "v5", "distance"]
MAX_LOG_SIZE = 10.0  # of a darknet box to its anchor: further out, exp() would leave what a float16 can hold


@dataclass(frozen=True)
class HeadSpec:
    """What the numbers of a head mean; values, no tensors.

    Attributes:
        num_classes: Number of classes.
        strides: Input pixels per cell, one a level, ascending or as the network orders its levels.
        formula: "darknet" (xy = (scale*sigmoid - (scale-1)/2 + cell) * stride, wh = anchor * exp),
            "v5" (xy = (2*sigmoid - 0.5 + cell) * stride, wh = anchor * (2*sigmoid)^2) or
            "distance" (left, top, right, bottom from the cell's centre in strides, each the mean of
            `reg_max` softmax bins; anchor-free, one anchor a cell, no objectness).
        anchors: Per level, (width, height) in input pixels; None for "distance".
        scale_xy: Per level, YOLOv4's grid scaling; only "darknet" uses it.
        reg_max: Number of bins a side of "distance"; 1 means softplus of one number.
        num_prototypes: Mask prototypes (and coefficients an anchor); 0 without segmentation.
        num_keypoints: Keypoints an anchor; 0 without.
    """

    num_classes: int
    strides: tuple[int, ...]
    formula: BoxFormula
    anchors: tuple[tuple[tuple[float, float], ...], ...] | None = None
    scale_xy: tuple[float, ...] | None = None
    reg_max: int = 16
    num_prototypes: int = 0
    num_keypoints: int = 0

    @property
    def has_objectness(self) -> bool:
        """Anchor-based heads score objectness apart from the classes."""
        return self.formula != "distance"

    @property
    def num_box_channels(self) -> int:
        """Numbers an anchor that say where its box is."""
        return 4 * self.reg_max if self.formula == "distance" else 4

    @property
    def num_channels(self) -> int:
        """Numbers an anchor in all: box, objectness, classes, mask coefficients, keypoints (x, y, visibility)."""
        return self.num_box_channels + int(self.has_objectness) + self.num_classes + self.num_extras

    @property
    def num_extras(self) -> int:
        """Mask coefficients and keypoint values an anchor."""
        return self.num_prototypes + 3 * self.num_keypoints


@dataclass(frozen=True)
class AnchorGrid:
    """Where the A anchors of all levels lie: level by level, in a level anchor by anchor, then row by row.

    Attributes:
        cells: (A, 2) float32 x, y of the anchor's cell, in cells of its level.
        strides: (A,) float32 input pixels per cell.
        level_ids: (A,) int64 level of the anchor.
        anchors_wh: (A, 2) float32 input pixels; None for anchor-free heads.
        scale_xy: (A,) float32 YOLOv4's grid scaling, 1 elsewhere.
        level_shapes: Per level (anchors a cell, rows, columns).
        input_hw: Height and width of the network's input, pixels.
    """

    cells: Tensor
    strides: Tensor
    level_ids: Tensor
    anchors_wh: Tensor | None
    scale_xy: Tensor
    level_shapes: tuple[tuple[int, int, int], ...]
    input_hw: tuple[int, int]

    @property
    def centers(self) -> Tensor:
        """(A, 2) x, y of the cells' centres, input pixels."""
        return (self.cells + 0.5) * self.strides[:, None]

    @classmethod
    def build(
        cls, spec: HeadSpec, level_hw: tuple[tuple[int, int], ...], device: torch.device | str = "cpu"
    ) -> AnchorGrid:
        """Lay out the anchors of a head.

        Args:
            spec: What the head's numbers mean.
            level_hw: Per level, rows and columns of cells.
            device: Where the tensors go.
        """
        cells, strides, levels, sizes, scales, shapes = [], [], [], [], [], []
        for i, ((rows, cols), stride) in enumerate(zip(level_hw, spec.strides, strict=True)):
            anchors = spec.anchors[i] if spec.anchors is not None else ((0.0, 0.0),)
            y, x = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
            cell = torch.stack((x, y), -1).reshape(1, -1, 2).expand(len(anchors), -1, -1)
            cells.append(cell.reshape(-1, 2).float())
            count = len(anchors) * rows * cols
            strides.append(torch.full((count,), float(stride)))
            levels.append(torch.full((count,), i, dtype=torch.int64))
            sizes.append(torch.tensor(anchors).float().repeat_interleave(rows * cols, 0))
            scales.append(torch.full((count,), spec.scale_xy[i] if spec.scale_xy else 1.0))
            shapes.append((len(anchors), rows, cols))
        first = level_hw[0]
        return cls(
            torch.cat(cells).to(device),
            torch.cat(strides).to(device),
            torch.cat(levels).to(device),
            torch.cat(sizes).to(device) if spec.anchors is not None else None,
            torch.cat(scales).to(device),
            tuple(shapes),
            (first[0] * spec.strides[0], first[1] * spec.strides[0]),
        )


@dataclass(frozen=True)
class HeadOutputs:
    """Raw logits of a head for a batch; nothing has had a sigmoid.

    Attributes:
        boxes: (B, A, 4), or (B, A, 4 * reg_max) for "distance" (left bins, top bins, right bins, bottom bins).
        objectness: (B, A); None for "distance".
        classes: (B, A, num_classes).
        mask_coeffs: (B, A, P); None without segmentation.
        keypoints: (B, A, K, 3): x and y in strides from the cell's centre
            (pixel = (centre + 2 * value) with the cell and value in strides), visibility logit; None without.
        prototypes: (B, P, H/4, W/4); None without segmentation.
        grid: Where the anchors lie.
        spec: What the numbers mean.
    """

    boxes: Tensor
    objectness: Tensor | None
    classes: Tensor
    mask_coeffs: Tensor | None
    keypoints: Tensor | None
    prototypes: Tensor | None
    grid: AnchorGrid
    spec: HeadSpec

    @classmethod
    def from_levels(
        cls, levels: tuple[Tensor, ...], spec: HeadSpec, grid: AnchorGrid, prototypes: Tensor | None = None
    ) -> HeadOutputs:
        """Split raw feature maps into their parts.

        Args:
            levels: Per level (B, anchors a cell * spec.num_channels, rows, columns); per anchor the channels are box,
                objectness, classes, mask coefficients, keypoints (x, y, visibility each).
            spec: What the numbers mean.
            grid: Where the anchors lie.
            prototypes: (B, P, H/4, W/4) or None.
        """
        flat = []
        for level, (num_anchors, _, _) in zip(levels, grid.level_shapes, strict=True):
            split = level.unflatten(1, (num_anchors, spec.num_channels))  # (B, na, C, rows, columns)
            flat.append(split.flatten(3).transpose(2, 3).flatten(1, 2))
        joined = torch.cat(flat, 1)  # (B, A, C)
        parts = joined.split(
            (
                spec.num_box_channels,
                int(spec.has_objectness),
                spec.num_classes,
                spec.num_prototypes,
                3 * spec.num_keypoints,
            ),
            -1,
        )
        return cls(
            boxes=parts[0],
            objectness=parts[1].squeeze(-1) if spec.has_objectness else None,
            classes=parts[2],
            mask_coeffs=parts[3] if spec.num_prototypes else None,
            keypoints=parts[4].unflatten(-1, (spec.num_keypoints, 3)) if spec.num_keypoints else None,
            prototypes=prototypes,
            grid=grid,
            spec=spec,
        )


def decode_boxes(outputs: HeadOutputs) -> Tensor:
    """Turn the box logits of a head into corner boxes.

    Returns:
        (B, A, 4) x1, y1, x2, y2 in input pixels; gradients flow.
    """
    grid, raw = outputs.grid, outputs.boxes
    stride = grid.strides[:, None]
    if outputs.spec.formula == "distance":
        distances = decode_distances(raw, outputs.spec.reg_max) * stride
        return torch.cat((grid.centers - distances[..., :2], grid.centers + distances[..., 2:]), -1)
    if grid.anchors_wh is None:
        raise RuntimeError(f"decode_boxes: formula {outputs.spec.formula} needs anchors, and the grid has none")
    if outputs.spec.formula == "darknet":
        scale = grid.scale_xy[:, None]
        center = (raw[..., :2].sigmoid() * scale - (scale - 1) / 2 + grid.cells) * stride
        size = raw[..., 2:].clamp(max=MAX_LOG_SIZE).exp() * grid.anchors_wh
    else:
        center = (raw[..., :2].sigmoid() * 2 - 0.5 + grid.cells) * stride
        size = (raw[..., 2:].sigmoid() * 2) ** 2 * grid.anchors_wh
    return torch.cat((center - size / 2, center + size / 2), -1)


def decode_distances(raw: Tensor, reg_max: int) -> Tensor:
    """Turn (..., 4 * reg_max) logits into (..., 4) distances in strides: the mean of the bins 0 .. reg_max - 1.

    Source: Li et al., Generalized Focal Loss (2020), equation 3.
    """
    if reg_max == 1:
        return torch.nn.functional.softplus(raw)
    bins = torch.arange(reg_max, dtype=raw.dtype, device=raw.device)
    return (raw.unflatten(-1, (4, reg_max)).softmax(-1) * bins).sum(-1)


def decode_keypoints(outputs: HeadOutputs) -> Tensor:
    """Turn the keypoint logits of a head into (B, A, K, 3): x, y in input pixels, visibility 0 to 1."""
    if outputs.keypoints is None:
        raise RuntimeError("decode_keypoints: the head must have keypoints, and this one has none")
    grid = outputs.grid
    xy = grid.centers[:, None] + outputs.keypoints[..., :2] * 2 * grid.strides[:, None, None]
    return torch.cat((xy, outputs.keypoints[..., 2:].sigmoid()), -1)
