"""Several processes as one: who we are, and the few things that processes tell each other.

One process is the case of a world of one: nothing is sent, and the code is the same. `torchrun` starts the processes, on one
machine or several, and says by environment variables who is who.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

_T = TypeVar("_T")


@dataclass(frozen=True)
class World:
    """The processes of a run.

    Attributes:
        rank: Number of this process, from 0.
        size: How many there are.
        device: Where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def average(self, value: Tensor) -> Tensor:
        """Return the mean over the processes, without gradient."""
        if self.size == 1:
            return value.detach()
        mean = value.detach().clone()
        dist.all_reduce(mean)
        return mean / self.size

    def largest(self, value: Tensor) -> Tensor:
        """Return the largest over the processes, elementwise."""
        if self.size > 1:
            dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return value

    def gather(self, value: _T) -> list[_T]:
        """Return what each process gave, in the order of ranks; any picklable value, in the main process only."""
        if self.size == 1:
            return [value]
        found: list[Any] | None = [None] * self.size if self.is_main else None
        dist.gather_object(value, found)
        return cast("list[_T]", found or [])

    def from_main(self, value: _T) -> _T:
        """Return what the main process gave."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=self.device if self.device.type == "cuda" else None)
        return box[0]


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that torchrun started, or be alone.

    Args:
        device: "cpu", "cuda", "cuda:1" or "auto". With several processes on GPUs each takes the one of its local rank.

    Raises:
        ValueError: There is no such device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = pick_device(device, local if size > 1 else None)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if size == 1:
        yield World(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    try:
        yield World(rank, size, chosen)
    finally:
        dist.destroy_process_group()


def pick_device(device: str, local_rank: int | None = None) -> torch.device:
    """Return the device of a name; "auto" is a GPU where there is one.

    Raises:
        ValueError: There is no such device, or fewer GPUs than processes.
    """
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device in ("auto", ""):
        device = "cuda" if num_gpus else "cpu"
    if device.isdecimal():
        device = f"cuda:{device}"
    name, _, index = device.partition(":")
    if name not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ValueError(f"device: must be auto, cpu, cuda or cuda:N, got {device!r}")
    if name == "cpu":
        return torch.device("cpu")
    number = int(index) if index else (local_rank or 0)
    if local_rank is not None:
        if index:
            raise ValueError("device: must be cuda, without a number, for several processes: each takes its own")
        number = local_rank
    if number >= num_gpus:
        if not num_gpus:
            raise ValueError("device: must be cpu where torch sees no GPU (its build for CPUs never does), got cuda")
        raise ValueError(f"device: must be one of the {num_gpus} GPUs that torch sees, got cuda:{number}")
    return torch.device("cuda", number)


class AllReducedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, on any device: torch's own needs GPUs.

    The mean is taken first, then the mean of squares around it, so that no digits cancel; both in float32 at least.
    Gradients flow through both exchanges. Every process must have the same number of values, as the loader's equal batches give.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W) with the statistics of all processes; in evaluation as `nn.BatchNorm2d`."""
        if not self.training or not dist.is_initialized():
            return super().forward(input)
        size = dist.get_world_size()
        given, input = input.dtype, input if input.dtype == torch.float64 else input.float()
        mean = _all_reduce(input.mean((0, 2, 3))) / size
        centered = input - mean[:, None, None]
        variance = _all_reduce(centered.square().mean((0, 2, 3))) / size
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                count = input.numel() / input.shape[1] * size
                factor = self.momentum if self.momentum is not None else 0.1
                self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), factor)
                unbiased = variance.detach() * (count / max(count - 1, 1))
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), factor)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        normal = centered * (variance + self.eps).rsqrt()[:, None, None]
        normal = normal * self.weight[:, None, None] + self.bias[:, None, None] if self.affine else normal
        return normal.to(given)


def _all_reduce(value: Tensor) -> Tensor:
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(value)


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network with batch norm over all processes: torch's SyncBatchNorm on GPUs, `AllReducedBatchNorm2d` on CPUs."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _as_all_reduced(child))
    return network


def _as_all_reduced(norm: nn.BatchNorm2d) -> AllReducedBatchNorm2d:
    other = AllReducedBatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    other.weight, other.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        other.register_buffer(name, buffer)
    return other.train(norm.training)
