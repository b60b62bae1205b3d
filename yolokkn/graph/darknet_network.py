"""The types that describe a darknet network: its layers, their settings and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from yolokkn.graph.darknet_cfg import Section

Shape = tuple[int, ...]  # channels, height, width


@dataclass(frozen=True)
class Layer:
    """One layer: `kind` says which of the settings' types it has, `sources` which layers it reads (-1 is the image)."""

    kind: str
    section: Section
    sources: tuple[int, ...]
    shape: Shape
    settings: Any = None


@dataclass(frozen=True)
class Convolution:
    """Settings of a convolution: square kernel, the same padding on every side."""

    channels: int
    filters: int
    size: int
    strides_yx: tuple[int, int]
    padding: int
    dilation: int
    groups: int
    batch_normalize: bool
    activation: str

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights as the file and ONNX order them."""
        return self.filters, self.channels // self.groups, self.size, self.size

    @property
    def num_floats(self) -> int:
        """Numbers that the layer takes from the weights file."""
        return prod(self.weight_shape) + self.filters * (4 if self.batch_normalize else 1)


@dataclass(frozen=True)
class MaxPool:
    """Settings of a max pooling: the window begins padding // 2 before the edge."""

    size: int
    strides_yx: tuple[int, int]
    padding: int


@dataclass(frozen=True)
class YoloHead:
    """Settings of a [yolo] layer: what its raw outputs mean."""

    anchors: tuple[tuple[float, float], ...]
    num_classes: int
    scale_xy: float
    nms_kind: str
    beta_nms: float


@dataclass(frozen=True)
class Network:
    """All layers and the input's shape."""

    input_shape: Shape
    layers: tuple[Layer, ...]

    @property
    def heads(self) -> tuple[int, ...]:
        """Indices of the [yolo] layers in the file's order."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.kind == "yolo")
