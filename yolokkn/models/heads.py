"""Heads: the last convolutions, which give the raw levels, and the branch that makes mask prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log

import torch
from torch import Tensor, nn

from yolokkn.models.blocks import ConvBnAct, DepthwiseConvBnAct, upsample
from yolokkn.models.outputs import BoxFormula, HeadSpec
from yolokkn.models.spec import ModelSpec

_OBJECTS = 8.0  # expected in a picture, for the prior of an untrained head
_WEIGHT_DEVIATION = 0.01  # of the last convolution: at the start the biases alone speak (Lin et al., RetinaNet, 2017)


def head_spec(spec: ModelSpec, strides: tuple[int, ...] = (8, 16, 32)) -> HeadSpec:
    """Say what the head of a network means.

    Args:
        spec: The network.
        strides: Of its levels, in its order; the spec's anchors are in ascending order of the strides.
    """
    order = [sorted(strides).index(stride) for stride in strides]
    anchored = spec.anchors is not None
    if spec.anchors is not None and len(spec.anchors) != len(strides):
        raise ValueError(f"head_spec: anchors must be one entry a level ({len(strides)}), got {len(spec.anchors)}")
    default: BoxFormula = "v5" if spec.family == "yolovkkn" else "darknet"
    return HeadSpec(
        num_classes=spec.num_classes,
        strides=strides,
        formula=(spec.formula or default) if anchored else "distance",
        anchors=tuple(spec.anchors[i] for i in order) if spec.anchors is not None else None,
        scale_xy=tuple(spec.scale_xy[i] for i in order) if spec.scale_xy is not None else None,
        reg_max=spec.reg_max,
        num_prototypes=spec.num_prototypes if spec.has_masks else 0,
        num_keypoints=spec.num_keypoints,
    )


def prior_bias(head: HeadSpec, level: int, input_hw: tuple[int, int]) -> Tensor:
    """Return the biases (head.num_channels,) of an untrained anchor.

    Boxes begin as their anchor, or as evenly weighed distances; objectness begins at the chance that an anchor has one
    of a handful of objects in a picture, the classes at an even chance each (without objectness at both together), so
    that the first steps need not unlearn the background (Lin et al., RetinaNet, 2017, section 3.3).
    """
    stride = head.strides[level]
    a_cell = len(head.anchors[level]) if head.anchors is not None else 1
    anchors = max(1.0, input_hw[0] * input_hw[1] / stride**2 * a_cell)
    some = min(0.5, _OBJECTS / anchors)
    one_class = 0.6 / head.num_classes
    box = 1.0 if head.formula == "distance" else 0.0
    bias = torch.zeros(head.num_channels, device="cpu")
    bias[: head.num_box_channels] = box
    first = head.num_box_channels
    if head.has_objectness:
        bias[first] = _logit(some)
        first += 1
    bias[first : first + head.num_classes] = _logit(one_class if head.has_objectness else some * one_class)
    return bias


def initialise_outputs(levels: Sequence[Sequence[nn.Conv2d]], head: HeadSpec, input_hw: tuple[int, int]) -> None:
    """Set the last convolutions of a network: small weights, and the biases of `prior_bias` for each anchor of a cell.

    Args:
        levels: Per level its last convolutions, whose outputs one after the other are the level's channels.
        head: What the channels mean.
        input_hw: Height and width that the priors are meant for.
    """
    for level, convs in enumerate(levels):
        sizes = [conv.out_channels for conv in convs]
        bias = prior_bias(head, level, input_hw).repeat(sum(sizes) // head.num_channels)
        for conv, part in zip(convs, bias.split(sizes), strict=True):
            nn.init.normal_(conv.weight, std=_WEIGHT_DEVIATION)
            if conv.bias is not None:
                with torch.no_grad():
                    conv.bias.copy_(part)


class AnchorHead(nn.Module):
    """One 1x1 convolution a level, several anchors a cell.

    Args:
        in_channels: Per level.
        head: What its numbers mean.
    """

    def __init__(self, in_channels: Sequence[int], head: HeadSpec) -> None:
        super().__init__()
        counts = [len(anchors) for anchors in head.anchors or ()]
        self.outputs = nn.ModuleList(
            nn.Conv2d(channels, count * head.num_channels, 1)
            for channels, count in zip(in_channels, counts, strict=True)
        )

    def level_outputs(self) -> list[list[nn.Conv2d]]:
        """Return each level's last convolutions."""
        return [[conv] for conv in self.outputs]

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the raw levels."""
        return tuple(conv(x) for conv, x in zip(self.outputs, features, strict=True))


class DistanceHead(nn.Module):
    """Towers of 3x3 convolutions a level, then 1x1 ones; one anchor a cell (after Ge et al., YOLOX, 2021).

    Args:
        in_channels: Per level.
        head: What its numbers mean.
        spec: Its head_kind, head_channels, head_depth, activation and imgsz are read.
    """

    def __init__(self, in_channels: Sequence[int], head: HeadSpec, spec: ModelSpec) -> None:
        super().__init__()
        extras = [head.num_prototypes, 3 * head.num_keypoints]
        groups = [head.num_box_channels, head.num_classes, *(n for n in extras if n)]
        if spec.head_kind == "shared":
            groups = [sum(groups)]
        hidden = spec.scaled(spec.head_channels)
        light = [spec.head_kind == "light" and i > 0 for i in range(len(groups))]
        self.towers = nn.ModuleList(
            nn.ModuleList(_tower(channels, hidden, spec, depthwise=each) for each in light) for channels in in_channels
        )
        self.outputs = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(hidden, count, 1) for count in groups) for _ in in_channels
        )

    def level_outputs(self) -> list[list[nn.Conv2d]]:
        """Return each level's last convolutions."""
        return [list(convs) for convs in self.outputs]

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the raw levels."""
        levels = []
        for x, towers, outputs in zip(features, self.towers, self.outputs, strict=True):
            parts = [conv(tower(x)) for tower, conv in zip(towers, outputs, strict=True)]
            levels.append(parts[0] if len(parts) == 1 else torch.cat(parts, 1))
        return tuple(levels)


class Prototypes(nn.Sequential):
    """Mask prototypes at a quarter of the input from features at an eighth (Bolya et al., YOLACT, 2019)."""

    def __init__(self, in_channels: int, hidden: int, num_prototypes: int, *, activation: str = "silu") -> None:
        super().__init__(
            ConvBnAct(in_channels, hidden, 3, activation=activation),
            upsample(),
            ConvBnAct(hidden, hidden, 3, activation=activation),
            ConvBnAct(hidden, num_prototypes, activation=activation),
        )


def _tower(in_channels: int, hidden: int, spec: ModelSpec, *, depthwise: bool) -> nn.Sequential:
    kind = DepthwiseConvBnAct if depthwise else ConvBnAct
    sizes = [in_channels, *[hidden] * spec.head_depth]
    return nn.Sequential(*(kind(a, b, 3, activation=spec.activation) for a, b in pairwise(sizes)))


def _logit(probability: float) -> float:
    return log(probability / (1 - probability))
