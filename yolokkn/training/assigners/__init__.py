"""Assigners: which anchors answer for which targets."""

from yolokkn.training.assigners.assignment import Assignment
from yolokkn.training.assigners.by_rank import assign_by_rank
from yolokkn.training.assigners.by_ratio import assign_by_ratio
from yolokkn.training.assigners.by_shape import assign_by_shape
from yolokkn.training.assigners.task_aligned import assign_task_aligned

__all__ = ["Assignment", "assign_by_rank", "assign_by_ratio", "assign_by_shape", "assign_task_aligned"]
