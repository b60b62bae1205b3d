"""The optimizer: which parameters decay, which learn more slowly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from yolokkn.errors import did_you_mean
from yolokkn.training.config import OptimizerConfig
from yolokkn.training.muon import Muon


def group_parameters(
    network: nn.Module,
    weight_decay: float,
    lr_scale: Mapping[str, float] | None = None,
    *,
    split_filters: bool = False,
) -> list[dict[str, object]]:
    """Put the trained parameters into groups.

    Matrices and filters decay; biases, norms and other vectors do not (decay pulls a norm's scale to zero, which is
    not what it is for).

    Args:
        network: Its parameters with `requires_grad`.
        weight_decay: Decay of those that decay.
        lr_scale: Factor of the learning rate for the parameters whose names start with the key; the longest key wins.
        split_filters: Keep the filters that `Muon` makes orthogonal in groups of their own: those of convolutions over all
            channels whose numbers are normalised afterwards, which have no bias therefore.

    Returns:
        Groups as `torch.optim` takes them, with `lr_scale`, `orthogonal` and `names`; in the order of the network's parameters.

    Raises:
        ValueError: A key of `lr_scale` is the start of no parameter's name.
    """
    scales = lr_scale or {}
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    refuse_unknown_parts("lr_scale", scales, network)
    filters = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if split_filters and isinstance(module, nn.Conv2d) and module.bias is None and module.groups == 1
    }
    groups: dict[tuple[float, float, bool], dict[str, object]] = {}
    for name, parameter in trained.items():
        decay = weight_decay if parameter.ndim >= 2 else 0.0
        part = max((key for key in scales if name.startswith(key)), key=len, default=None)
        scale = 1.0 if part is None else scales[part]
        kind = (decay, scale, name in filters)
        empty = {"params": [], "names": [], "weight_decay": decay, "lr_scale": scale, "orthogonal": name in filters}
        group = groups.setdefault(kind, empty)
        group["params"].append(parameter)  # type: ignore[attr-defined]
        group["names"].append(name)  # type: ignore[attr-defined]
    return list(groups.values())


def refuse_unknown_parts(argument: str, parts: Mapping[str, float] | tuple[str, ...], network: nn.Module) -> None:
    """Raise ValueError unless each part is the start of some parameter's name."""
    names = [name for name, _ in network.named_parameters()]
    for part in parts:
        if not any(name.startswith(part) for name in names):
            top = sorted({name.split(".")[0] for name in names})
            hint = did_you_mean(part, top)
            raise ValueError(f"{argument}: must name parts of the network ({', '.join(top)}), got {part!r}{hint}")


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Make the optimizer of a network: SGD with Nesterov's momentum, AdamW (Loshchilov and Hutter, 2019) or Muon."""
    groups = group_parameters(network, config.base_decay, config.lr_scale, split_filters=config.optimizer == "muon")
    if not groups:
        raise ValueError("build_optimizer: network must have parameters to train, and freeze leaves none")
    momentum = config.base_momentum
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.base_lr, momentum=momentum, nesterov=momentum > 0, foreach=True)
    if config.optimizer == "muon":
        return Muon(groups, config.base_lr, momentum=momentum)
    return torch.optim.AdamW(groups, lr=config.base_lr, betas=(momentum, 0.999), foreach=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give each group the rate times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state by "parameter's name/quantity", fit for a checkpoint."""
    tensors: dict[str, Tensor] = {}
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            for quantity, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"{name}/{quantity}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the state back that `optimizer_tensors` gave.

    Raises:
        ValueError: A name is not one of the optimizer's parameters, or a tensor is not what it keeps of it.
    """
    by_name = {
        name: (parameter, _quantities(optimizer, group))
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    for key, value in tensors.items():
        name, _, quantity = key.rpartition("/")
        if name not in by_name:
            raise ValueError(f"restore_optimizer: tensors must be of the network's parameters, got {name!r}")
        parameter, quantities = by_name[name]
        wanted = torch.Size() if quantity == "step" else parameter.shape
        if quantity not in quantities or value.shape != wanted or not value.is_floating_point():
            raise ValueError(
                f"restore_optimizer: tensors must be {', '.join(quantities)} of each parameter in its shape, got {key} of "
                f"{tuple(value.shape)}, {value.dtype}"
            )
        place = value.device if quantity == "step" else parameter.device  # AdamW keeps its counters on the CPU
        optimizer.state[parameter][quantity] = value.to(place).clone()


def _quantities(optimizer: torch.optim.Optimizer, group: Mapping[str, object]) -> tuple[str, ...]:
    """Return what an optimizer keeps of each parameter of a group."""
    has_momentum = isinstance(optimizer, torch.optim.SGD) or group["orthogonal"]
    return ("momentum_buffer",) if has_momentum else ("step", "exp_avg", "exp_avg_sq")
