"""Anchors as a grid of kinds: which cells lie near a target, without looking at every anchor."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from yolokkn.models.outputs import AnchorGrid, HeadSpec

SQUARE_ANCHOR = 4.0  # side in strides of the one anchor that a cell of an anchor-free head counts as


@dataclass(frozen=True)
class AnchorKinds:
    """One row per level and anchor shape: T kinds, each a regular grid of anchors.

    An anchor-free ("distance") head has no anchors; where an assigner compares shapes, each of its cells counts as one
    square anchor of 4 strides: RetinaNet's base size (Lin et al., Focal Loss for Dense Object Detection, 2017, section 4:
    areas of 32^2 to 512^2 on strides of 8 to 128).

    Attributes:
        wh: (T, 2) float32 input pixels.
        strides: (T,) float32.
        rows: (T,) int64 cells down.
        cols: (T,) int64 cells across.
        offsets: (T,) int64 index of the kind's first anchor.
        levels: (T,) int64.
        scale_xy: (T,) float32 YOLOv4's grid scaling.
    """

    wh: Tensor
    strides: Tensor
    rows: Tensor
    cols: Tensor
    offsets: Tensor
    levels: Tensor
    scale_xy: Tensor

    @classmethod
    def of(cls, grid: AnchorGrid, spec: HeadSpec) -> AnchorKinds:
        """List the kinds of a grid, in the order of its anchors."""
        wh, numbers, offset = [], [], 0
        for level, (count, rows, cols) in enumerate(grid.level_shapes):
            stride = float(spec.strides[level])
            shapes = spec.anchors[level] if spec.anchors else ((SQUARE_ANCHOR * stride,) * 2,) * count
            scale = spec.scale_xy[level] if spec.scale_xy else 1.0
            for shape in shapes:
                wh.append(shape)
                numbers.append((stride, rows, cols, offset, level, scale))
                offset += rows * cols
        table = torch.tensor(numbers, dtype=torch.float64, device=grid.cells.device)
        rows_t, cols_t, offsets, levels = (table[:, i].long() for i in range(1, 5))
        sizes = torch.tensor(wh, dtype=torch.float32, device=grid.cells.device)
        return cls(sizes, table[:, 0].float(), rows_t, cols_t, offsets, levels, table[:, 5].float())

    def __len__(self) -> int:
        return len(self.wh)

    def anchor_index(self, kind: Tensor, row: Tensor, col: Tensor) -> Tensor:
        """Index over all levels of the anchors of some kinds in some cells."""
        return self.offsets[kind] + row * self.cols[kind] + col

    def cells_of(self, centers: Tensor) -> tuple[Tensor, Tensor]:
        """(M, T) row and column of the cell of every kind that holds a centre; moved into the grid where it lies outside.

        Args:
            centers: (M, 2) x, y in input pixels.
        """
        cells = (centers[:, None] / self.strides[:, None]).floor().long()  # (M, T, 2)
        col = torch.minimum(cells[..., 0].clamp(min=0), self.cols - 1)
        row = torch.minimum(cells[..., 1].clamp(min=0), self.rows - 1)
        return row, col


def prior_boxes(grid: AnchorGrid, kinds: AnchorKinds) -> Tensor:
    """(A, 4) xyxy boxes of the anchors about their cells' centres, input pixels."""
    counts = kinds.rows * kinds.cols
    half = kinds.wh.repeat_interleave(counts, 0, output_size=len(grid.cells)) / 2
    return torch.cat((grid.centers - half, grid.centers + half), -1)


def anchors_within(kinds: AnchorKinds, centers: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Pair targets with the anchors whose cell's centre lies in a rectangle about the target's centre.

    Costs as much as there are pairs: the rectangles are counted out, not searched.

    Args:
        kinds: T kinds of anchors.
        centers: (M, 2) x, y centres of the rectangles, input pixels.
        half: (M, T, 2) half width and height for each kind, edges included.

    Returns:
        (C,) int64 target and (C,) int64 anchor of each pair, by target, then by anchor.
    """
    strides = kinds.strides[:, None]
    low = ((centers[:, None] - half) / strides - 0.5).ceil().long().clamp(min=0)  # (M, T, 2) columns, rows
    last = torch.stack((kinds.cols, kinds.rows), -1) - 1
    high = torch.minimum(((centers[:, None] + half) / strides - 0.5).floor().long(), last)
    spans = (high - low + 1).clamp(min=0)
    counts = spans.prod(-1).flatten()  # (M * T,)
    rectangle = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    local = torch.arange(len(rectangle), device=counts.device) - (counts.cumsum(0) - counts)[rectangle]
    across = spans[..., 0].flatten()[rectangle]
    row = low[..., 1].flatten()[rectangle] + local.div(across, rounding_mode="floor")
    col = low[..., 0].flatten()[rectangle] + local.remainder(across)
    return rectangle.div(len(kinds), rounding_mode="floor"), kinds.anchor_index(rectangle % len(kinds), row, col)
