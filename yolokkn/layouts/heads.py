"""Raw heads, one output a scale, decoded in the kernel: darknet's, YOLOv5's and this project's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolokkn import ops
from yolokkn.errors import LayoutError
from yolokkn.geometry import LetterboxRule
from yolokkn.layouts.base import DecodeOptions, Layout, ModelSignature, Outputs, Preprocess, Recognition, sizes
from yolokkn.layouts.metadata import ModelFacts


@dataclass(frozen=True)
class DarknetLayout(Layout):
    """(B, anchors*(5+classes), gy, gx) logits a scale, YOLOv3's and v4's box formula."""

    name: ClassVar[str] = "darknet"
    summary: ClassVar[str] = (
        "one (B, anchors*(5+classes), gy, gx) of logits a scale, as darknet's YOLOv3, v4, Yolo-Fastest"
    )
    formula: ClassVar[str] = "darknet"
    default_rule: ClassVar[LetterboxRule] = "stretch"

    heads: tuple[str, ...] = ()
    anchors: tuple[np.ndarray, ...] = ()
    scale_xy: tuple[float, ...] = ()

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> DarknetLayout:
        """Fit a model to the layout; LayoutError where it does not."""
        if not signature.outputs or any(len(s.shape) != 4 for s in signature.outputs):
            raise LayoutError("needs outputs of rank 4 alone, one a scale")
        if facts.anchors is None:
            raise LayoutError("needs anchors, which neither the metadata nor the caller gives")
        if len(facts.anchors) != len(signature.outputs):
            raise LayoutError(f"has {len(signature.outputs)} heads, but anchors for {len(facts.anchors)}")
        classes = {_classes(sizes(s)[0], len(a)) for s, a in zip(signature.outputs, facts.anchors, strict=True)}
        if len(classes) != 1 or min(classes) < 1:
            raise LayoutError("the channels of the heads do not fit anchors*(5+classes) with one number of classes")
        num_classes = classes.pop()
        if facts.num_classes is not None and facts.num_classes != num_classes:
            raise LayoutError(f"the heads mean {num_classes} classes, but {facts.num_classes} are named")
        scale_xy = facts.scale_xy or (1.0,) * len(facts.anchors)
        if len(scale_xy) != len(facts.anchors):
            raise LayoutError(f"scale_xy must be one number a head ({len(facts.anchors)}), got {len(scale_xy)}")
        return cls(
            num_classes,
            preprocess=Preprocess(rule=cls.default_rule),
            heads=tuple(s.name for s in signature.outputs),
            anchors=tuple(np.array(a, np.float32) for a in facts.anchors),
            scale_xy=scale_xy,
        )

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Decode every scale; see `yolokkn.ops.decode_heads`."""
        return self.kernels.decode_heads(
            [outputs[name][item] for name in self.heads],
            num_classes=self.num_classes,
            anchors=self.anchors,
            input_hw=input_hw,
            formula=self.formula,
            scale_xy=self.scale_xy,
            multi_label=options.multi_label,
            **self.limits(options),
        )

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition:
        """Say why the model, which fits, is this one."""
        return Recognition(False, "heads of rank 4 with anchors")


class V5RawLayout(DarknetLayout):
    """The same shape with YOLOv5's box formula."""

    name = "v5-raw"
    summary = "one (B, anchors*(5+classes), gy, gx) of logits a scale, YOLOv5's box formula"
    formula = "v5"
    default_rule = "letterbox"


def _classes(channels: int, num_anchors: int) -> int:
    return channels // num_anchors - 5 if channels % num_anchors == 0 else -1
