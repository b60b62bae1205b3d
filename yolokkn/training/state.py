"""Everything that a run must remember to go on as if it had never stopped."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from yolokkn.configuration import build
from yolokkn.errors import ConfigurationError, ModelError
from yolokkn.training.checkpoint import Checkpoint, pack_state, save_checkpoint, unpack_state
from yolokkn.training.distributed import World
from yolokkn.training.optimizer import optimizer_tensors, restore_optimizer
from yolokkn.training.progress import Progress
from yolokkn.training.stepper import Stepper


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        step: Steps taken.
        epoch: The epoch that is being trained, from 0.
        batch: Batches of it that are done.
        elapsed_s: Seconds that the run has taken, all its parts together.
        best: The best fitness; -1 before the first.
        best_epoch: When it was, from 1.
        sums: Sums of the terms over the epoch's steps.
        num_steps: Steps of the epoch that are in `sums`.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    elapsed_s: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    num_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("step", "epoch", "batch", "elapsed_s", "best_epoch", "num_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


def save_state(
    path: Path,
    stepper: Stepper,
    world: World,
    position: Position,
    progress: Progress,
    *,
    about: Mapping[str, Any],
    is_final: bool = False,
) -> None:
    """Write a checkpoint; every process must call it, the main one writes.

    Args:
        path: The `.safetensors` file.
        stepper: Network, mean, optimizer and scaler.
        world: The processes.
        position: Where the run stands.
        progress: How long the run is.
        about: What else the manifest says: "model" (the ModelSpec), "config", "metrics" ...
        is_final: Only the weights that detect: not to go on from, and a fraction of the size.
    """
    model = averaged_state(stepper.ema.network, world)
    train = {} if is_final else averaged_state(stepper.network, world)
    generators = [] if is_final else world.gather(_generators())
    if not world.is_main:
        return
    tensors = {f"model/{name}": value for name, value in model.items()}
    manifest = dict(about)
    if not is_final:
        rng_tensors, rng = pack_state("generators", generators)
        tensors |= {f"train/{name}": value for name, value in train.items()}
        tensors |= {f"optimizer/{name}": value for name, value in optimizer_tensors(stepper.optimizer).items()}
        tensors |= rng_tensors
        manifest["state"] = {
            "position": asdict(position),
            "progress": asdict(progress),
            "ema_updates": stepper.ema.num_updates,
            "scaler": {k: v for k, v in stepper.scaler.state_dict().items() if isinstance(v, (int, float))},
            "generators": rng,
        }
    save_checkpoint(path, tensors, manifest)


def restore_state(
    checkpoint: Checkpoint, stepper: Stepper, world: World, name: str = "checkpoint"
) -> tuple[Position, Progress]:
    """Put a run back to where a checkpoint was written.

    Raises:
        ModelError: The checkpoint holds only the weights that detect, or is of another network.
    """
    state: Any = checkpoint.manifest.get("state")
    if not isinstance(state, Mapping):
        raise ModelError(f"{name}: holds only the finished weights; a run goes on from its last.safetensors")
    try:
        position, progress = (
            build(Position, state["position"], "position"),
            build(Progress, state["progress"], "progress"),
        )
        num_updates = _at_least_0("ema_updates", state["ema_updates"])
        scaler = {str(k): v for k, v in dict(state["scaler"]).items()}
        generators = unpack_state(checkpoint.tensors, state["generators"])
        if not isinstance(generators, list) or len(generators) != world.size:
            had = len(generators) if isinstance(generators, list) else 0
            raise ValueError(f"the run had {had} processes, and now there are {world.size}")
        own = generators[world.rank]
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        raise ModelError(f"{name}: its state must be as this version writes it: {_line(error)}") from error
    _load(stepper.ema.network, checkpoint.select("model"), name)
    _load(stepper.network, checkpoint.select("train"), name)
    try:
        restore_optimizer(stepper.optimizer, checkpoint.select("optimizer"))
        stepper.ema.num_updates = num_updates
        if scaler:
            stepper.scaler.load_state_dict(scaler)
        _restore_generators(own)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{name}: its state must be as this version writes it: {_line(error)}") from error
    return position, progress


def read_figures(checkpoint: Checkpoint, name: str = "checkpoint") -> dict[str, float]:
    """Return the figures of the last measurement before a checkpoint was written.

    Raises:
        ModelError: They are no numbers.
    """
    figures = checkpoint.manifest.get("figures", {})
    if not isinstance(figures, Mapping) or not all(_is_number(v) for v in figures.values()):
        raise ModelError(f"{name}: its figures must be numbers by name, got {str(figures)[:80]}")
    return {key: float(value) for key, value in figures.items()}


def _at_least_0(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be an integer of 0 or more, got {str(value)[:40]!r}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def averaged_state(network: nn.Module, world: World) -> dict[str, Tensor]:
    """Return the state of a network with its statistics (not its weights, which are equal) averaged over the processes."""
    state = {name: value.detach() for name, value in network.state_dict().items()}
    if world.size > 1:
        for name, _ in network.named_buffers():
            if name in state and state[name].is_floating_point():
                state[name] = world.average(state[name])
    return state


def _load(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise ModelError(f"{name}: is of another network: {str(error).splitlines()[1].strip()[:160]}") from error


def _generators() -> dict[str, Any]:
    kind, keys, place, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - the state of whoever uses it
    found: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": {
            "kind": kind,
            "keys": np.asarray(keys).astype(np.int64),
            "place": place,
            "has_gauss": has_gauss,
            "gauss": gauss,
        },
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def _restore_generators(state: Mapping[str, Any]) -> None:
    random.setstate(state["python"])
    numpy = state["numpy"]
    keys = numpy["keys"].astype(np.uint32)
    np.random.set_state((numpy["kind"], keys, numpy["place"], numpy["has_gauss"], numpy["gauss"]))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def seed_everything(seed: int, rank: int) -> None:
    """Seed every generator; processes differ, for what they draw after the network is made."""
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)  # noqa: NPY002 - whoever uses it
    torch.manual_seed(seed + rank)
