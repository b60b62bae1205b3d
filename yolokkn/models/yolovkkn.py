"""YolovKKN: the anchor-based family of this project, like YOLOv5 6.0.

A 6x6 stem, stages of a strided convolution and a C3 block, SPPF, a path aggregation neck (Liu et al., PANet, 2018) and
one 1x1 convolution a level with three anchors a cell. Strides 8, 16, 32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from yolokkn.models.blocks import C3, SPPF, ConvBnAct, upsample
from yolokkn.models.heads import AnchorHead, head_spec
from yolokkn.models.spec import Anchors, ModelSpec
from yolokkn.models.staged import StagedNetwork

# Redmon and Farhadi, YOLOv3 (2018): k-means over COCO's boxes.
COCO_ANCHORS: Anchors = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)

VARIANTS = {"n": (0.25, 1 / 3), "s": (0.5, 1 / 3), "m": (0.75, 2 / 3)}  # width, depth
DEFAULTS = {
    "imgsz": (640, 640),
    "anchors": COCO_ANCHORS,
    "channels": (64, 128, 256, 512, 1024),
    "depths": (3, 6, 9, 3),
    "neck_channels": (256, 512, 1024),
    "neck_depth": 3,
    "prototype_channels": 256,
}


class YolovKKN(StagedNetwork):
    """The network of a spec of family "yolovkkn"."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, head_spec(spec))
        channels = [spec.scaled(c) for c in spec.channels]
        neck = [spec.scaled(c) for c in spec.neck_channels]
        self.stem = ConvBnAct(3, channels[0], 6, 2, padding=2, activation=spec.activation)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvBnAct(a, b, 3, 2, activation=spec.activation),
                C3(b, b, spec.repeated(depth), activation=spec.activation) if depth else nn.Identity(),
            )
            for a, b, depth in zip(channels[:-1], channels[1:], spec.depths, strict=True)
        )
        self.pool = SPPF(channels[4], channels[4], activation=spec.activation)
        self.neck = _Neck(channels[2:], neck, spec.repeated(spec.neck_depth), spec.activation)
        self._finish(neck, AnchorHead(neck, self.head))


class _Neck(nn.Module):
    """Down from the coarse level to the fine one, and up again; what was reduced on the way down is met on the way up."""

    def __init__(self, inputs: list[int], outputs: list[int], depth: int, activation: str) -> None:
        super().__init__()
        c3, c4, c5 = outputs

        def block(channels_in: int, channels_out: int) -> C3:
            return C3(channels_in, channels_out, depth, shortcut=False, activation=activation)

        self.upsample = upsample()
        self.reduce5 = ConvBnAct(inputs[2], c4, activation=activation)
        self.down4 = block(inputs[1] + c4, c4)
        self.reduce4 = ConvBnAct(c4, c3, activation=activation)
        self.down3 = block(inputs[0] + c3, c3)
        self.stride3 = ConvBnAct(c3, c3, 3, 2, activation=activation)
        self.up4 = block(2 * c3, c4)
        self.stride4 = ConvBnAct(c4, c4, 3, 2, activation=activation)
        self.up5 = block(2 * c4, c5)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        f3, f4, f5 = features
        r5 = self.reduce5(f5)
        r4 = self.reduce4(self.down4(torch.cat((self.upsample(r5), f4), 1)))
        p3 = self.down3(torch.cat((self.upsample(r4), f3), 1))
        p4 = self.up4(torch.cat((self.stride3(p3), r4), 1))
        p5 = self.up5(torch.cat((self.stride4(p4), r5), 1))
        return p3, p4, p5
