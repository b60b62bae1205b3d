"""The parts that networks are made of. Shapes: (B, channels, rows, columns) in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "leaky": lambda: nn.LeakyReLU(0.1, inplace=True),
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "hardswish": nn.Hardswish,
    "logistic": nn.Sigmoid,
}


class ConvBnAct(nn.Module):
    """Convolution, batch normalization, activation; without the normalization it has a bias.

    Args:
        in_channels: Channels in.
        out_channels: Channels out.
        kernel: Side of the kernel.
        stride: Step of the kernel; one number, or (rows, columns).
        padding: Cells around the input; half the kernel by default.
        groups: Groups of channels that see one another alone.
        dilation: Distance of the kernel's taps.
        activation: Key of `ACTIVATIONS`.
        normalize: Whether there is a batch normalization.
        epsilon: Added to the variance.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        stride: int | tuple[int, int] = 1,
        *,
        padding: int | None = None,
        groups: int = 1,
        dilation: int = 1,
        activation: str = "silu",
        normalize: bool = True,
        epsilon: float = 1e-3,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2) if padding is None else padding
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=not normalize)
        self.norm: nn.Module = nn.Identity()
        if normalize:
            self.norm = nn.BatchNorm2d(out_channels, eps=epsilon, momentum=0.05)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the three in turn."""
        return self.activation(self.norm(self.conv(x)))


class DepthwiseConvBnAct(nn.Sequential):
    """A convolution of each channel alone, then one of all channels at each cell (Howard et al., MobileNets, 2017)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, *, activation: str = "silu"
    ) -> None:
        super().__init__(
            ConvBnAct(in_channels, in_channels, kernel, stride, groups=in_channels, activation=activation),
            ConvBnAct(in_channels, out_channels, activation=activation),
        )


class Bottleneck(nn.Module):
    """Two convolutions, added to the input where `shortcut` says so (He et al., 2015).

    Args:
        channels: Channels in, between and out.
        kernels: Sides of the two kernels.
        shortcut: Whether the input is added.
        activation: Key of `ACTIVATIONS`.
        depthwise: Take depthwise convolutions where the kernel is larger than 1.
    """

    def __init__(
        self,
        channels: int,
        kernels: tuple[int, int] = (3, 3),
        *,
        shortcut: bool = True,
        activation: str = "silu",
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        first, second = (
            DepthwiseConvBnAct(channels, channels, kernel, activation=activation)
            if depthwise and kernel > 1
            else ConvBnAct(channels, channels, kernel, activation=activation)
            for kernel in kernels
        )
        self.first, self.second, self.shortcut = first, second, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return the second convolution of the first, plus the input."""
        y = self.second(self.first(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """A cross stage partial block of three 1x1 convolutions (Wang et al., CSPNet, 2019; in YOLOv5's arrangement).

    Half of the channels go through the bottlenecks, half around them.
    """

    def __init__(
        self, in_channels: int, out_channels: int, depth: int, *, shortcut: bool = True, activation: str = "silu"
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.through = ConvBnAct(in_channels, hidden, activation=activation)
        self.around = ConvBnAct(in_channels, hidden, activation=activation)
        self.blocks = nn.Sequential(
            *(Bottleneck(hidden, (1, 3), shortcut=shortcut, activation=activation) for _ in range(depth))
        )
        self.join = ConvBnAct(2 * hidden, out_channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, rows, columns)."""
        return self.join(torch.cat((self.blocks(self.through(x)), self.around(x)), 1))


class C2f(nn.Module):
    """A partial block that keeps what every bottleneck gives (the ELAN of Wang et al., 2022; in YOLOv8's arrangement)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        depth: int,
        *,
        shortcut: bool = True,
        activation: str = "silu",
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        hidden = out_channels // 2
        self.split = ConvBnAct(in_channels, 2 * hidden, activation=activation)
        self.blocks = nn.ModuleList(
            Bottleneck(hidden, shortcut=shortcut, activation=activation, depthwise=depthwise) for _ in range(depth)
        )
        self.join = ConvBnAct((2 + depth) * hidden, out_channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, rows, columns)."""
        parts = list(self.split(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.join(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Pyramid pooling: windows of 5, 9 and 13 cells by pooling thrice by 5 (He et al., 2014; in YOLOv5's arrangement)."""

    def __init__(self, in_channels: int, out_channels: int, *, activation: str = "silu") -> None:
        super().__init__()
        hidden = in_channels // 2
        self.reduce = ConvBnAct(in_channels, hidden, activation=activation)
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.join = ConvBnAct(4 * hidden, out_channels, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, rows, columns)."""
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.join(torch.cat(parts, 1))


def upsample() -> nn.Module:
    """Return the module that doubles rows and columns by repeating cells."""
    return nn.Upsample(scale_factor=2.0, mode="nearest")


def initialise(module: nn.Module, nonlinearity: Literal["relu", "leaky_relu"] = "relu") -> None:
    """Draw the weights of every convolution by He et al. (2015), over the outputs; biases become 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and not part.weight.is_meta:
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity=nonlinearity)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
