"""YolovKKN2: the anchor-free family of this project.

A 3x3 stem, stages of a strided convolution and a C2f block, SPPF, a path aggregation neck (Liu et al., PANet, 2018), and
a head that gives each cell's distances to the box's four sides as distributions (Li et al., Generalized Focal Loss,
2020). Strides 8, 16, 32. Variant p is made for one core of a CPU: dense 3x3 convolutions with ReLU, narrow where the
pictures are large, one tower a level.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from yolokkn.models.blocks import SPPF, C2f, ConvBnAct, upsample
from yolokkn.models.heads import DistanceHead, head_spec
from yolokkn.models.spec import ModelSpec
from yolokkn.models.staged import StagedNetwork

VARIANTS: dict[str, dict[str, Any]] = {
    "p": {
        "imgsz": (384, 384),
        "channels": (16, 24, 64, 128, 224),
        "depths": (0, 2, 2, 1),
        "neck_channels": (64, 64, 64),
        "head_channels": 64,
        "activation": "relu",
        "reg_max": 8,
        "prototype_channels": 48,
    },
    "n": {
        "channels": (16, 32, 64, 128, 256),
        "depths": (1, 2, 2, 1),
        "neck_channels": (64, 128, 192),
        "head_kind": "light",
        "head_channels": 64,
        "head_depth": 2,
        "prototype_channels": 64,
    },
    "s": {
        "channels": (32, 64, 128, 256, 512),
        "depths": (1, 2, 2, 1),
        "neck_channels": (128, 256, 384),
        "head_kind": "light",
        "head_channels": 96,
        "head_depth": 2,
        "prototype_channels": 128,
    },
    "m": {
        "channels": (48, 96, 192, 384, 576),
        "depths": (2, 4, 4, 2),
        "neck_channels": (192, 384, 512),
        "neck_depth": 2,
        "head_kind": "light",
        "head_channels": 192,
        "head_depth": 2,
        "prototype_channels": 192,
    },
}


class YolovKKN2(StagedNetwork):
    """The network of a spec of family "yolovkkn2"."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, head_spec(spec))
        channels = [spec.scaled(c) for c in spec.channels]
        neck = [spec.scaled(c) for c in spec.neck_channels]
        self.stem = ConvBnAct(3, channels[0], 3, 2, activation=spec.activation)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvBnAct(a, b, 3, 2, activation=spec.activation),
                _block(b, b, spec.repeated(depth), spec, shortcut=True) if depth else nn.Identity(),
            )
            for a, b, depth in zip(channels[:-1], channels[1:], spec.depths, strict=True)
        )
        self.pool = SPPF(channels[4], neck[2], activation=spec.activation)
        self.neck = _Neck((channels[2], channels[3]), neck, spec)
        self._finish(neck, DistanceHead(neck, self.head, spec))


class _Neck(nn.Module):
    """Brings the levels to the neck's widths, then down from the coarse level to the fine one, and up again."""

    def __init__(self, inputs: tuple[int, int], outputs: list[int], spec: ModelSpec) -> None:
        super().__init__()
        c3, c4, c5 = outputs
        depth = spec.repeated(spec.neck_depth)
        self.upsample = upsample()
        self.lateral3 = ConvBnAct(inputs[0], c3, activation=spec.activation)
        self.lateral4 = ConvBnAct(inputs[1], c4, activation=spec.activation)
        self.down4 = _block(c5 + c4, c4, depth, spec)
        self.down3 = _block(c4 + c3, c3, depth, spec)
        self.stride3 = ConvBnAct(c3, c3, 3, 2, activation=spec.activation)
        self.up4 = _block(c3 + c4, c4, depth, spec)
        self.stride4 = ConvBnAct(c4, c4, 3, 2, activation=spec.activation)
        self.up5 = _block(c4 + c5, c5, depth, spec)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        f3, f4, f5 = features
        d4 = self.down4(torch.cat((self.upsample(f5), self.lateral4(f4)), 1))
        p3 = self.down3(torch.cat((self.upsample(d4), self.lateral3(f3)), 1))
        p4 = self.up4(torch.cat((self.stride3(p3), d4), 1))
        p5 = self.up5(torch.cat((self.stride4(p4), f5), 1))
        return p3, p4, p5


def _block(inputs: int, outputs: int, depth: int, spec: ModelSpec, *, shortcut: bool = True) -> C2f:
    depthwise = spec.block == "depthwise"
    return C2f(inputs, outputs, depth, shortcut=shortcut, activation=spec.activation, depthwise=depthwise)
