"""YOLOv5's assigner: anchors of a like shape, in the target's cell and its two nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from yolokkn.data.batch import Targets
from yolokkn.models.outputs import HeadOutputs
from yolokkn.training.assigners.assignment import Assignment, Claims, settle, usable_targets
from yolokkn.training.assigners.cells import AnchorKinds

OWN_CELL = 2.0  # priority of the own cell above all neighbours


@torch.no_grad()
def assign_by_ratio(outputs: HeadOutputs, targets: Targets, ignored: Tensor, *, max_ratio: float = 4.0) -> Assignment:
    """Give each target the anchors with max(w / a_w, a_w / w, h / a_h, a_h / h) < 4 in three cells; weights are 1.

    Source: Jocher et al., YOLOv5 (2020), "build targets" as its documentation describes it. The cells are the one that
    holds the centre and, in x and in y, the neighbour that the centre is nearer to (the right or lower one from the
    middle on), where the grid has it. An anchor that two targets want goes to the one whose own cell it is, then to the one
    with the smaller ratio, then to the lower index.

    An anchor-free head has one square anchor a cell (`AnchorKinds`), and only neighbours whose centre lies in the box can
    say it, so only they are taken. A head of darknet's formula with `scale_xy` near 1 gets all three cells, as the rule is,
    though its neighbours can only come near to the centre: the loss suits heads of the "v5" formula better.

    Args:
        outputs: For its grid.
        targets: The objects.
        ignored: (B, A) bool anchors that are no background.
        max_ratio: Ratio of sides that an anchor must stay below.
    """
    usable = usable_targets(targets)
    truths = targets.boxes[usable].float()
    kinds = AnchorKinds.of(outputs.grid, outputs.spec)
    centers, size = (truths[:, :2] + truths[:, 2:]) / 2, truths[:, 2:] - truths[:, :2]
    quotient = size[:, None] / kinds.wh
    ratio = torch.maximum(quotient, 1 / quotient).amax(-1)  # (U, T)
    row, col = kinds.cells_of(centers)
    own = torch.stack((col, row), -1)
    step = torch.where(centers[:, None] / kinds.strides[:, None] - own < 0.5, -1, 1)  # (U, T, 2)
    sideways, upright = torch.zeros_like(step), torch.zeros_like(step)
    sideways[..., 0], upright[..., 1] = step[..., 0], step[..., 1]
    cells = torch.stack((own, own + sideways, own + upright), 2)  # (U, T, 3, 2)
    inside = (cells >= 0).all(-1) & (cells[..., 0] < kinds.cols[:, None]) & (cells[..., 1] < kinds.rows[:, None])
    if outputs.spec.formula == "distance":
        away = ((cells + 0.5) * kinds.strides[:, None, None] - centers[:, None, None]).abs()
        inside[..., 1:] &= (away <= size[:, None, None] / 2).all(-1)[..., 1:]
    which, kind, cell = (inside & (ratio < max_ratio)[..., None]).nonzero(as_tuple=True)
    place = cells[which, kind, cell]
    anchor = kinds.anchor_index(kind, place[:, 1], place[:, 0])
    priority = 1 / ratio[which, kind] + OWN_CELL * (cell == 0)
    return settle(Claims(usable[which], anchor, priority, torch.ones_like(priority)), targets, ignored)
