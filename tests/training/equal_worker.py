"""One of the processes of `test_distributed.py`: trains its share of the same batches in every case, and writes the weights."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.training.overfitting import batch_of, draw_pictures, tiny_config, tiny_network
from yolokkn.data.batch import Batch
from yolokkn.training.distributed import World, join_world, synchronise_batch_norm
from yolokkn.training.losses import build_loss
from yolokkn.training.stepper import Stepper


def share_of(batch: Batch, world: World) -> Batch:
    """Return this process's run of pictures."""
    count = len(batch.images) // world.size
    first = world.rank * count
    targets = batch.targets
    kept = (targets.image_index >= first) & (targets.image_index < first + count)
    values = {f.name: getattr(targets, f.name) for f in fields(targets)}
    chosen = replace(targets, **{k: None if v is None else v[kept] for k, v in values.items()})
    chosen = replace(chosen, image_index=chosen.image_index - first)
    return Batch(batch.images[first : first + count], chosen, batch.image_ids[first : first + count])


CASES = {  # norm, loss, reduction, accumulate, steps
    "synced-yolofive-sum": ("synced", "yolofive", "sum", 1, 3),
    "frozen-kkn-mean": ("frozen", "kkn20230730", "mean", 2, 3),
    "synced-task_aligned-targets": ("synced", "task_aligned", "targets", 1, 3),
}


def train(world: World, norm: str, loss_name: str, reduction: str, accumulate: int, steps: int) -> dict[str, Tensor]:
    """Train in float64, so that what rounding adds stays far below what a mistake would."""
    torch.manual_seed(0)
    network = tiny_network("yolovkkn2-p").double()
    config = tiny_config(
        optimizer="sgd", lr0=0.01, clip=1.0, sync_bn=norm == "synced", freeze="" if norm == "synced" else "stem",
        weight_decay=0.0005,
    )  # fmt: skip
    loss = build_loss(loss_name, network.head, reduction=reduction, average=world.average, num_processes=world.size)
    stepper = Stepper(network, loss, config, world, Path(tempfile.gettempdir()), 10)
    stepper.train_mode()
    if norm == "frozen":
        for module in stepper.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    state = {f"before/{k}": v.clone() for k, v in stepper.network.named_parameters()}
    terms = {}
    for step in range(steps):
        batches = [batch_of(draw_pictures(4, seed=10 * step + i)) for i in range(accumulate)]
        terms = stepper.step([share_of(b, world) for b in batches], 1.0, number=step, epoch=0).terms
    state |= {f"train/{k}": v for k, v in stepper.network.state_dict().items()}
    return state | {f"terms/{k}": torch.tensor(v, dtype=torch.float64) for k, v in terms.items()}


def run_cases(world: World, target: Path) -> None:
    """Write what each case gives in this process."""
    found = {case: train(world, *arguments) for case, arguments in CASES.items()}
    for case, state in {**found, "norm": norm_alone(world)}.items():
        save_file({k: v.clone().contiguous() for k, v in state.items()}, target / f"{case}.{world.rank}of{world.size}")


def norm_alone(world: World) -> dict[str, Tensor]:
    """Run a batch norm in float64 over this process's share; gradients of the weights are summed over the processes."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(6, 5, 4, 3, generator=generator, dtype=torch.float64) * 3 + 50
    weights = torch.randn(6, 5, 4, 3, generator=generator, dtype=torch.float64)
    count = 6 // world.size
    rows = slice(world.rank * count, world.rank * count + count)
    network = nn.Sequential(nn.BatchNorm2d(5, dtype=torch.float64))
    with torch.no_grad():
        network[0].weight.copy_(torch.linspace(0.5, 2, 5))
    norm = synchronise_batch_norm(network, world.device)[0] if world.size > 1 else network[0]
    given = values[rows].clone().requires_grad_(True)
    output = norm(given)
    (output.square() * weights[rows]).sum().backward()
    gradients = {name: world.average(p.grad) * world.size for name, p in norm.named_parameters()}
    found = {"output": output.detach(), "input_grad": given.grad, "running_mean": norm.running_mean}
    return found | {"running_var": norm.running_var} | {f"{name}_grad": g for name, g in gradients.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_world("cpu") as joined:
        run_cases(joined, Path(sys.argv[1]))
