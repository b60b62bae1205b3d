"""What the families of this project share: a stem, four stages, a pooled top, a neck over three levels, a head."""

from __future__ import annotations

from torch import Tensor, nn

from yolokkn.models.blocks import initialise
from yolokkn.models.heads import AnchorHead, DistanceHead, Prototypes, initialise_outputs
from yolokkn.models.network import Network


class StagedNetwork(Network):
    """Base of YolovKKN and YolovKKN2; a family builds the first four parts and then calls `_finish`.

    Attributes:
        stem: The first convolution, stride 2.
        stages: Four, of stride 2 each; the last three feed the neck, the last through `pool`.
        pool: Spatial pyramid pooling over the last stage.
        neck: Takes and gives the features of the three levels, fine to coarse.
        prototypes: Of masks, from the finest level; None without segmentation.
        outputs: The head.
    """

    stem: nn.Module
    stages: nn.ModuleList
    pool: nn.Module
    neck: nn.Module
    prototypes: nn.Module | None
    outputs: AnchorHead | DistanceHead

    def _finish(self, widths: list[int], outputs: AnchorHead | DistanceHead) -> None:
        """Add prototypes and head to a neck of three widths, and draw all weights."""
        spec = self.spec
        self.prototypes = None
        if spec.has_masks:
            hidden = spec.scaled(spec.prototype_channels)
            self.prototypes = Prototypes(widths[0], hidden, spec.num_prototypes, activation=spec.activation)
        self.outputs = outputs
        initialise(self)
        initialise_outputs(self.outputs.level_outputs(), self.head, spec.imgsz)

    def levels(self, images: Tensor) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """See `Network.levels`."""
        x = self.stem(images)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        out = self.neck((features[1], features[2], self.pool(features[3])))
        prototypes = self.prototypes(out[0]) if self.prototypes is not None else None
        return self.outputs(out), prototypes
