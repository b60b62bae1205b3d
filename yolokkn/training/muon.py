"""Muon: momentum whose matrices are made orthogonal before they are added; AdamW for everything that is no filter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# Jordan et al., Muon (2024): the quintic that pulls singular values between 0.01 and 1 to about 1, in five steps.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_STEPS = 5


class Muon(torch.optim.AdamW):
    """Steps filters by orthogonalised momentum and the rest by AdamW.

    With M the running mean of the gradient G, and N = (1 - momentum) G + momentum M as Nesterov looks ahead, a filter of
    (out, in, h, w), taken as a matrix of (out, in * h * w), moves by lr * O * sqrt(max(out, in * h * w)), where O is N
    with its singular values at about 1: an update whose root mean square is about lr, as AdamW's first ones are, so that
    both kinds of groups share a learning rate. Sources: Jordan et al., Muon: An optimizer for hidden layers in neural networks
    (2024); Liu et al., Muon is scalable for LLM training (2025), section 2.2, for the scale and the decay.

    Args:
        groups: As `torch.optim` takes them; those with `"orthogonal": True` hold filters.
        lr: Of both kinds.
        momentum: Of the filters.
    """

    param_groups: list[dict[str, Any]]

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, *, momentum: float = 0.95) -> None:
        super().__init__(groups, lr=lr, foreach=True)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Take a step by the gradients that there are.

        Args:
            closure: For the interface of `torch.optim`; None.
        """
        groups = self.param_groups
        for group in groups:
            if group["orthogonal"]:
                self._step_filters(group)
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            super().step()
        finally:
            self.param_groups = groups

    def _step_filters(self, group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for filter_ in group["params"]:
            if filter_.grad is None:
                continue
            state = self.state[filter_]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(filter_)
            mean = state["momentum_buffer"].lerp_(filter_.grad, 1 - self._momentum)
            matrix = filter_.grad.lerp(mean, self._momentum).flatten(1)
            by_shape.setdefault((matrix.shape[0], matrix.shape[1]), []).append((filter_, matrix))
        for shape, found in by_shape.items():
            steps = orthogonalise(torch.stack([matrix for _, matrix in found]))
            for (filter_, _), step in zip(found, steps, strict=True):
                filter_.mul_(1 - group["lr"] * group["weight_decay"])
                filter_.add_(step.view(filter_.shape), alpha=-group["lr"] * max(shape) ** 0.5)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Return matrices with the singular vectors of those given and singular values of about 1 (0.7 to 1.2).

    Newton and Schulz's iteration with the coefficients of Jordan et al., Muon (2024); bfloat16 on GPUs, as there.

    Args:
        matrices: (N, rows, columns); a zero matrix stays zero.
    """
    a, b, c = _QUINTIC
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT).to(torch.bfloat16 if matrices.is_cuda else matrices.dtype)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = a * x + torch.baddbmm(square, square, square, beta=b, alpha=c) @ x
    return (x if wide else x.mT).to(matrices.dtype)
