"""How the values of a term become one number: a value of its own, the same for every loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Reduction = Literal["sum", "mean", "targets"]
REDUCTIONS: tuple[str, ...] = get_args(Reduction)


def identity(value: Tensor) -> Tensor:
    """Give the value back: the average over one process."""
    return value


@dataclass(frozen=True)
class Reducer:
    """Divides sums over cells by what the reduction says.

    "sum" divides by the number of pictures only, so that a cell's gradient does not depend on how many cells there are.
    "mean" divides by the number of elements that the term covers: the gradient of each background cell is divided by the
    number of background cells. "targets" divides by the sum of the soft targets of all positives (Feng et al., TOOD, 2021,
    section 3.3), for every term alike.

    Attributes:
        reduction: Which of the three.
        num_pictures: Pictures of the batch.
        target_sum: Scalar, sum of the positives' weights.
        average: Gives the mean over all processes, so that the divisors are those of the whole batch.
        num_processes: How many there are; a divisor is at least 1 over all of them together.
    """

    reduction: Reduction
    num_pictures: int
    target_sum: Tensor
    average: Callable[[Tensor], Tensor] = identity
    num_processes: int = 1

    def __call__(self, sums: Tensor, counts: int | Tensor) -> Tensor:
        """Divide sums over the elements of a term.

        Args:
            sums: Any shape; sums over elements.
            counts: How many elements each of them covers.
        """
        if self.reduction == "sum":
            return sums / max(self.num_pictures, 1)
        if self.reduction == "mean":
            covered = torch.as_tensor(counts, dtype=torch.float32, device=sums.device)
            return sums / self.average(covered).clamp(min=1 / self.num_processes)
        return sums / self.average(self.target_sum).clamp(min=1 / self.num_processes)
