"""Detection transformers: RT-DETR, D-FINE, DEIM and RF-DETR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolokkn import ops
from yolokkn.errors import LayoutError
from yolokkn.layouts.base import (
    IMAGENET,
    AnchorPlaces,
    DecodeOptions,
    DeviceOutputs,
    Extras,
    Layout,
    ModelSignature,
    Outputs,
    Preprocess,
    Recognition,
    sizes,
)
from yolokkn.layouts.metadata import ModelFacts
from yolokkn.layouts.tables import UNNAMED_CLASSES

_NUM_QUERIES = 300


@dataclass(frozen=True)
class RtDetrLayout(Layout):
    """labels, boxes, scores: finished, in the pixels of `orig_target_sizes`.

    The runtime gives the input's own size as `orig_target_sizes`, so boxes come in input pixels like everybody's.
    """

    name: ClassVar[str] = "rtdetr"
    summary: ClassVar[str] = "labels (B, 300), boxes (B, 300, 4), scores (B, 300), as RT-DETR, D-FINE and DEIM export"
    needs_nms: ClassVar[bool] = False

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> RtDetrLayout:
        """Fit a model by its output names; LayoutError where they differ."""
        if signature.output_names() != {"labels", "boxes", "scores"}:
            raise LayoutError("needs the outputs labels, boxes and scores")
        if "orig_target_sizes" not in {s.name for s in signature.inputs}:
            raise LayoutError("needs the input orig_target_sizes")
        return cls(facts.num_classes or UNNAMED_CLASSES, preprocess=Preprocess(rule="stretch"))

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Read the finished rows; see `yolokkn.ops.decode_final`."""
        return self.kernels.decode_final(
            outputs["boxes"][item],
            outputs["scores"][item],
            outputs["labels"][item].astype(np.int32),
            num_classes=self.num_classes,
            **self.limits(options),
        )

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition:
        """Say why the model, which fits, is this one."""
        return Recognition(True, "the inputs and outputs have RT-DETR's names")


@dataclass(frozen=True)
class RfDetrLayout(Layout):
    """dets (cxcywh, 0 to 1) and labels (logits), optionally masks (logits a query)."""

    name: ClassVar[str] = "rfdetr"
    summary: ClassVar[str] = (
        "dets (B, Q, 4) cx cy w h from 0 to 1, labels (B, Q, classes+1) of logits, as RF-DETR exports"
    )
    needs_nms: ClassVar[bool] = False

    masks: str = ""

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> RfDetrLayout:
        """Fit a model by its output names; LayoutError where they differ."""
        specs = {s.name: s for s in signature.outputs}
        if not {"dets", "labels"} <= set(specs) or not set(specs) <= {"dets", "labels", "masks"}:
            raise LayoutError("needs the outputs dets and labels (and masks); keypoints are not read yet")
        columns = sizes(specs["labels"])[-1]
        if facts.num_classes is not None and facts.num_classes not in (columns, columns - 1):
            raise LayoutError(f"{columns} logits a query do not fit {facts.num_classes} named classes")
        has_masks = "masks" in specs
        return cls(
            facts.num_classes or columns,
            "segment" if has_masks else "detect",
            preprocess=IMAGENET,
            masks="masks" if has_masks else "",
        )

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Take the best (query, class) pairs; see `yolokkn.ops.decode_queries`."""
        return self.kernels.decode_queries(
            outputs["dets"][item],
            outputs["labels"][item],
            num_classes=self.num_classes,
            input_hw=input_hw,
            top_k=min(_NUM_QUERIES, options.max_detections),
            **self.limits(options),
        )

    def places(self, outputs: DeviceOutputs, item: int) -> AnchorPlaces:
        """Return how many queries there are.

        Raises:
            LayoutError: There are masks, one picture of logits a query, which the CUDA kernels do not take.
        """
        if self.masks:
            raise LayoutError("the masks of queries are not assembled on the GPU")
        return AnchorPlaces(outputs["dets"][item].shape[0], multi_label=True)

    def extras(self, outputs: Outputs, item: int, anchor_index: np.ndarray) -> Extras:
        """Pick the masks of the chosen queries."""
        return Extras(mask_logits=outputs[self.masks][item][anchor_index]) if self.masks else Extras()

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition:
        """Say why the model, which fits, is this one."""
        return Recognition(True, "the outputs have RF-DETR's names")
