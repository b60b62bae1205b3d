"""The mean of the weights over the last steps (Polyak and Juditsky, 1992): steadier than the weights of one step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """A copy of a network whose weights follow it slowly.

    The decay at step t is min(largest, (1 + t) / (10 + t)), where `largest` is at most `decay` and such that the mean
    reaches back over no more than `share` of the run: a short run's mean must not be full of its first steps.

    Args:
        network: What is followed; the copy is in evaluation mode and without gradients.
        total_steps: Steps of the whole run.
        decay: Largest decay.
        share: Share of the steps that the mean reaches back over.
    """

    def __init__(self, network: nn.Module, total_steps: int, *, decay: float = 0.9999, share: float = 0.05) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.num_updates = 0
        self._decay, self._share = decay, share
        self.largest = decay
        self.plan(total_steps)

    def plan(self, total_steps: int) -> None:
        """Size the mean to a run of so many steps."""
        self.largest = max(min(self._decay, 1 - 1 / max(self._share * total_steps, 1.0)), 0.0)

    def decay(self) -> float:
        """Return the decay of the next update."""
        return min(self.largest, (1 + self.num_updates) / (10 + self.num_updates))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take one step of the network in. Statistics of batch norm follow like weights; counters are copied."""
        decay = self.decay()
        self.num_updates += 1
        means: list[Tensor] = []
        values: list[Tensor] = []
        theirs = network.state_dict()
        for name, mean in self.network.state_dict().items():
            value = theirs[name].detach()
            if mean.is_floating_point():
                means.append(mean)
                values.append(value)
            else:
                mean.copy_(value)
        torch._foreach_lerp_(means, values, 1 - decay)
