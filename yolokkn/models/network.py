"""What every network is: a module that gives HeadOutputs, in training and in evaluation alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from yolokkn.models.outputs import AnchorGrid, HeadOutputs, HeadSpec
from yolokkn.models.spec import ModelSpec

_MAX_GRIDS = 32  # input sizes whose anchors are kept; multi-scale training has about ten


class Network(nn.Module):
    """Base of all families; a family implements `levels`.

    Attributes:
        spec: What was built.
        head: What the numbers of the outputs mean.
    """

    def __init__(self, spec: ModelSpec, head: HeadSpec) -> None:
        super().__init__()
        self.spec = spec
        self.head = head
        self._grids: dict[tuple[tuple[tuple[int, int], ...], torch.device], AnchorGrid] = {}

    def levels(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Run the network up to its raw feature maps.

        Args:
            images: (B, 3, H, W) float32 RGB, 0 to 1.

        Returns:
            Per level (B, anchors a cell * head.num_channels, H / stride, W / stride) logits; prototypes
            (B, P, H/4, W/4) or None.
        """
        raise NotImplementedError

    def forward(self, images: Tensor) -> HeadOutputs:
        """Run the network.

        Args:
            images: (B, 3, H, W) float RGB, 0 to 1; H and W are multiples of the largest stride.

        Raises:
            ValueError: The shape is another one.
        """
        self._check(images)
        levels, prototypes = self.levels(images)
        level_hw = tuple((int(level.shape[2]), int(level.shape[3])) for level in levels)
        return HeadOutputs.from_levels(levels, self.head, self.grid(level_hw, images.device), prototypes)

    def grid(self, level_hw: tuple[tuple[int, int], ...], device: torch.device) -> AnchorGrid:
        """Return where the anchors lie; laid out once for each size of the input."""
        if torch.compiler.is_compiling():  # the compiler folds it into its graph
            return AnchorGrid.build(self.head, level_hw, device)
        key = (level_hw, device)
        if key not in self._grids:
            if len(self._grids) >= _MAX_GRIDS:
                self._grids.pop(next(iter(self._grids)))
            with torch.inference_mode(False):  # else training could not use what validation had laid out
                self._grids[key] = AnchorGrid.build(self.head, level_hw, device)
        return self._grids[key]

    @property
    def num_parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.parameters())

    def _check(self, images: Tensor) -> None:
        stride = max(self.head.strides)
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"forward: images must have the shape (B, 3, H, W), got {tuple(images.shape)}")
        if images.shape[2] % stride or images.shape[3] % stride:
            size = f"{images.shape[2]}x{images.shape[3]}"
            raise ValueError(f"forward: height and width of images must be multiples of {stride}, got {size}")
