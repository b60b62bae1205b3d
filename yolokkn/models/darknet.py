"""One network for every darknet .cfg: its sections as a torch module, its .weights read and written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from yolokkn.errors import ModelError
from yolokkn.graph import find_names
from yolokkn.graph.darknet_cfg import MAX_CFG_BYTES, parse_cfg, read_text
from yolokkn.graph.darknet_layers import plan_network
from yolokkn.graph.darknet_network import Layer
from yolokkn.graph.darknet_network import Network as Plan
from yolokkn.graph.darknet_weights import EPSILON, RawConvolution, read_convolutions, weights_bytes
from yolokkn.models.blocks import ACTIVATIONS, ConvBnAct, initialise
from yolokkn.models.heads import initialise_outputs
from yolokkn.models.network import Network
from yolokkn.models.outputs import HeadSpec
from yolokkn.models.spec import ModelSpec


class DarknetNetwork(Network):
    """The layers of a .cfg file, each a module.

    Args:
        spec: What is built; its class names must be as many as the classes of the file.
        cfg: Text of the file.

    Attributes:
        cfg: Text of the file.
        plan: Its layers with their shapes.

    Raises:
        ModelError: The text is no network that yolokkn knows.
        ValueError: The classes are not as many as the names.
    """

    def __init__(self, spec: ModelSpec, cfg: str) -> None:
        plan = plan_network(parse_cfg(cfg, f"{spec.family}.cfg"))
        super().__init__(spec, _head_spec(spec, plan))
        self.cfg, self.plan = cfg, plan
        self.layers = nn.ModuleList(
            _MODULES[layer.kind](layer, [plan.layers[s].shape[0] if s >= 0 else 3 for s in layer.sources])
            for layer in plan.layers
        )
        last_use = {source: i for i, layer in enumerate(plan.layers) for source in layer.sources}
        self._done_after = [[s for s, i in last_use.items() if i == index] for index in range(len(plan.layers))]
        initialise(self)
        outputs = [self.layers[plan.layers[i].sources[0]] for i in plan.heads]
        if all(isinstance(module, ConvBnAct) and module.conv.bias is not None for module in outputs):
            initialise_outputs([[module.conv] for module in outputs], self.head, spec.imgsz)

    def levels(self, images: Tensor) -> tuple[tuple[Tensor, ...], None]:
        """See `Network.levels`; the levels are in the file's order."""
        values = {-1: images}
        heads = []
        for i, (layer, module) in enumerate(zip(self.plan.layers, self.layers, strict=True)):
            values[i] = module(*(values[source] for source in layer.sources))
            if layer.kind == "yolo":
                heads.append(values[i])
            for source in self._done_after[i]:
                del values[source]
        return tuple(heads), None


def from_darknet(cfg: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> DarknetNetwork:
    """Build the network of a darknet .cfg file.

    Args:
        cfg: The file. Its classes are called as `yolokkn.graph.find_names` finds them, else by their numbers.
        weights: The .weights file; None leaves the weights as they are drawn.

    Returns:
        The network; its spec, of family "darknet", holds the text of the file and rebuilds it. Its pictures are
        stretched to the input, as darknet does.

    Raises:
        ModelError: A file is missing or damaged, does not fit the other one, or needs what yolokkn lacks.

    Example:
        >>> from_darknet("yolov4-tiny.cfg")
        Traceback (most recent call last):
        yolokkn.errors.ModelError: darknet_to_onnx: cfg_path must name a darknet .cfg file, got no such file: ...
    """
    text = read_text(cfg, MAX_CFG_BYTES, "cfg_path", "a darknet .cfg file")
    plan = plan_network(parse_cfg(text, Path(cfg).name))
    num_classes = plan.layers[plan.heads[0]].settings.num_classes
    names = find_names(cfg) or tuple(str(i) for i in range(num_classes))
    if len(names) != num_classes:
        raise ModelError(
            f"from_darknet: the names beside {os.fspath(cfg)} must be as many as its classes ({num_classes}), "
            f"got {len(names)}"
        )
    _, height, width = plan.input_shape
    spec = ModelSpec(
        "darknet", names, variant=Path(cfg).stem[:40], imgsz=(height, width), letterbox="stretch", cfg=text
    )
    network = DarknetNetwork(spec, text)
    if weights is not None:
        load_darknet_weights(network, weights)
    return network


def load_darknet_weights(network: DarknetNetwork, weights: str | os.PathLike[str]) -> None:
    """Put the numbers of a .weights file into a network of the same layers.

    Raises:
        ModelError: The file is missing or damaged, or does not hold as many numbers as the network has.
    """
    for i, raw in read_convolutions(weights, network.plan):
        module = network.layers[i]
        _copy(module.conv.weight, raw.weights)
        if raw.scales is None:
            _copy(module.conv.bias, raw.biases)
            continue
        _copy(module.norm.weight, raw.scales)
        _copy(module.norm.bias, raw.biases)
        _copy(module.norm.running_mean, raw.means)
        _copy(module.norm.running_var, raw.variances)


def to_darknet(network: DarknetNetwork) -> tuple[str, bytes]:
    """Return the content of the .cfg and of the .weights file of a network.

    Raises:
        ValueError: Its normalizations have been folded, so the file would not fit its cfg.
    """
    raws = []
    for layer, module in zip(network.plan.layers, network.layers, strict=True):
        if layer.kind != "convolutional":
            continue
        norm = module.norm
        if layer.settings.batch_normalize and not hasattr(norm, "running_mean"):
            raise ValueError("to_darknet: network must have its batch normalizations, got a fused one")
        weights = _array(module.conv.weight)
        if layer.settings.batch_normalize:
            parts = (_array(t) for t in (norm.weight, norm.running_mean, norm.running_var))
            raws.append(RawConvolution(_array(norm.bias), weights, *parts))
        else:
            raws.append(RawConvolution(_array(module.conv.bias), weights))
    return network.cfg, weights_bytes(raws)


def _head_spec(spec: ModelSpec, plan: Plan) -> HeadSpec:
    heads = [plan.layers[i].settings for i in plan.heads]
    if plan.input_shape[0] != 3:
        raise ModelError(f"DarknetNetwork: the input must have 3 channels, got {plan.input_shape[0]}")
    if heads[0].num_classes != spec.num_classes:
        raise ValueError(
            f"DarknetNetwork: class_names must be as many as the classes of the cfg ({heads[0].num_classes}), "
            f"got {spec.num_classes}"
        )
    return HeadSpec(
        num_classes=spec.num_classes,
        strides=tuple(plan.input_shape[1] // plan.layers[i].shape[1] for i in plan.heads),
        formula=spec.formula or "darknet",
        anchors=tuple(head.anchors for head in heads),
        scale_xy=tuple(head.scale_xy for head in heads),
    )


def _copy(target: Tensor, values: np.ndarray | None) -> None:
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()


class _MaxPool(nn.MaxPool2d):
    """Pooling whose window begins padding // 2 before the edge and may end one cell further behind it."""

    def __init__(self, size: int, strides_yx: tuple[int, int], padding: int) -> None:
        before = padding // 2
        self.behind = padding - 2 * before
        # two cells by two: the cell behind an odd edge counts, and that is what ceil_mode does
        halves = (size, strides_yx, padding) == (2, (2, 2), 1)
        super().__init__(size, strides_yx, 0 if self.behind else before, ceil_mode=halves)
        self.pads = (before, before + self.behind) * 2 if self.behind and not halves else None

    def forward(self, x: Tensor) -> Tensor:
        if self.pads is not None:
            x = nn.functional.pad(x, self.pads, value=float("-inf"))
        return super().forward(x)


class _Route(nn.Module):
    """Joins the channels of layers, or one group of the channels of each."""

    def __init__(self, channels: list[int], groups: int, group_id: int) -> None:
        super().__init__()
        parts = [n // groups for n in channels]
        self.slices = None if groups == 1 else [(group_id * n, (group_id + 1) * n) for n in parts]

    def forward(self, *inputs: Tensor) -> Tensor:
        parts = list(inputs)
        if self.slices is not None:
            parts = [x[:, first:last] for x, (first, last) in zip(inputs, self.slices, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


class _Shortcut(nn.Module):
    """Adds to the first layer the channels that each other one has as well."""

    def __init__(self, activation: str, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels
        self.activation = ACTIVATIONS[activation]()

    def forward(self, *inputs: Tensor) -> Tensor:
        total, own = inputs[0], self.channels[0]
        for x, channels in zip(inputs[1:], self.channels[1:], strict=True):
            if channels > own:
                x = x[:, :own]
            elif channels < own:
                x = nn.functional.pad(x, (0, 0, 0, 0, 0, own - channels))
            total = total + x
        return self.activation(total)


class _Product(nn.Module):
    """Multiplies two layers: attention by channels or by cells."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.activation(x * other)


def _convolution(layer: Layer, channels: list[int]) -> nn.Module:
    conv = layer.settings
    return ConvBnAct(
        conv.channels,
        conv.filters,
        conv.size,
        conv.strides_yx,
        padding=conv.padding * conv.dilation,
        groups=conv.groups,
        dilation=conv.dilation,
        activation=conv.activation,
        normalize=conv.batch_normalize,
        epsilon=EPSILON,
    )


def _dropout(layer: Layer, channels: list[int]) -> nn.Module:
    return nn.Dropout(layer.section.real("probability", 0.5, 0.0, 1.0))


_MODULES: dict[str, Callable[[Layer, list[int]], nn.Module]] = {
    "convolutional": _convolution,
    "maxpool": lambda layer, channels: _MaxPool(layer.settings.size, layer.settings.strides_yx, layer.settings.padding),
    "avgpool": lambda layer, channels: nn.AdaptiveAvgPool2d(1),
    "upsample": lambda layer, channels: nn.Upsample(scale_factor=float(layer.settings), mode="nearest"),
    "route": lambda layer, channels: _Route(channels, *layer.settings),
    "shortcut": lambda layer, channels: _Shortcut(layer.settings, channels),
    "product": lambda layer, channels: _Product(layer.settings),
    "dropout": _dropout,
    "yolo": lambda layer, channels: nn.Identity(),
}
