"""Writes the sections of a darknet .cfg, for the families whose structure is given in Python."""

from __future__ import annotations

from yolokkn.models.spec import Anchors, ModelSpec


class Sections:
    """Sections one after the other; each method adds one and returns the index of its layer.

    Args:
        spec: Its imgsz, classes, anchors and scale_xy go into the sections.
        num_levels: How many levels the network has.

    Raises:
        ValueError: The spec's anchors are not those of so many levels.
    """

    def __init__(self, spec: ModelSpec, num_levels: int) -> None:
        if spec.anchors is None or len(spec.anchors) != num_levels:
            got = 0 if spec.anchors is None else len(spec.anchors)
            raise ValueError(
                f"ModelSpec: anchors must be one entry a level ({num_levels}) for {spec.family}, got {got}"
            )
        self._spec = spec
        self._anchors: Anchors = spec.anchors
        self._sections: list[str] = []
        self._add("net", channels=3, height=spec.imgsz[0], width=spec.imgsz[1])

    @property
    def text(self) -> str:
        """All that was written."""
        return "\n".join(self._sections)

    @property
    def last(self) -> int:
        """Index of the last layer."""
        return len(self._sections) - 2

    def conv(
        self,
        filters: int,
        size: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: str = "leaky",
        normalize: bool = True,
    ) -> int:
        """Add a convolution that keeps the size, but for its stride."""
        return self._add(
            "convolutional",
            batch_normalize=int(normalize),
            filters=filters,
            size=size,
            stride=stride,
            pad=1,
            groups=groups,
            activation=activation,
        )

    def maxpool(self, size: int, stride: int) -> int:
        """Add a max pooling."""
        return self._add("maxpool", size=size, stride=stride)

    def dropout(self, probability: float) -> int:
        """Add a dropout."""
        return self._add("dropout", probability=probability)

    def upsample(self) -> int:
        """Add a doubling of rows and columns."""
        return self._add("upsample", stride=2)

    def route(self, *layers: int) -> int:
        """Join the channels of layers, given by index."""
        return self._add("route", layers=", ".join(map(str, layers)))

    def shortcut(self, layer: int) -> int:
        """Add another layer, given by index, to the last one."""
        return self._add("shortcut", **{"from": layer}, activation="linear")

    def yolo(self, level: int) -> int:
        """Add the 1x1 convolution of a level's outputs and the level; 0 is the one of the smallest stride."""
        counts = [len(anchors) for anchors in self._anchors]
        first = sum(counts[:level])
        pairs = [repr(float(v)) for anchors in self._anchors for pair in anchors for v in pair]
        classes = self._spec.num_classes
        self.conv(counts[level] * (5 + classes), activation="linear", normalize=False)
        return self._add(
            "yolo",
            mask=", ".join(str(first + i) for i in range(counts[level])),
            anchors=", ".join(pairs),
            classes=classes,
            num=sum(counts),
            scale_x_y=self._spec.scale_xy[level] if self._spec.scale_xy else 1.0,
        )

    def _add(self, kind: str, **options: object) -> int:
        lines = "".join(f"{key}={value}\n" for key, value in options.items())
        self._sections.append(f"[{kind}]\n{lines}")
        return self.last
