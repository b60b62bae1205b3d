"""Assigners: which anchors answer for which targets."""

from yolokkn.training.assigners.assignment import Assignment
from yolokkn.training.assigners.task_aligned import assign_task_aligned

__all__ = ["Assignment", "assign_task_aligned"]
