"""Models that end with finished boxes: end-to-end heads, suppression inside the graph, EfficientNMS, DeepStream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolokkn import ops
from yolokkn.errors import LayoutError
from yolokkn.layouts.base import (
    DecodeOptions,
    HeadLayout,
    Layout,
    ModelSignature,
    Outputs,
    Recognition,
    anchor_counts,
    head_and_prototypes,
    masks_and_keypoints,
    single_output,
    sizes,
)
from yolokkn.layouts.metadata import ModelFacts

_MAX_ROWS = 1000  # of a table that no metadata vouches for
UNNAMED_CLASSES = 1000  # a table does not tell how many classes there are; ids above this are garbage


@dataclass(frozen=True)
class TableLayout(HeadLayout):
    """(B, M, 6 + extras): x1 y1 x2 y2 score class, then mask coefficients or keypoints; nothing to suppress."""

    name: ClassVar[str] = "end2end"
    summary: ClassVar[str] = "(B, M, 6): x1 y1 x2 y2 score class, as YOLOv10, 26 or an export with NMS inside gives"
    needs_nms: ClassVar[bool] = False

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> TableLayout:
        """Fit a detection model to the layout; LayoutError where it does not."""
        head = single_output(signature, 3)
        _table(signature, sizes(head), 6, per_cell=False, is_stated=facts.layout == cls.name)
        return cls(facts.num_classes or UNNAMED_CLASSES, head=head.name)

    @property
    def first_extra(self) -> int:
        """Behind the box, the score and the class."""
        return 6

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Read the table; see `yolokkn.ops.decode_table`."""
        return self.kernels.decode_table(
            outputs[self.head][item],
            self.num_classes,
            **self.limits(options),
        )

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition | None:
        """Say why the model, which fits, is this one."""
        if facts.end2end or facts.nms_inside:
            word = "end2end" if facts.end2end else "nms"
            return Recognition(True, f"the metadata says {word} and the rows are finished boxes")
        rows = sizes(next(s for s in signature.outputs if len(s.shape) == 3))[0]
        if facts.end2end is False or rows > _MAX_ROWS:
            return None
        return Recognition(False, "a short table whose length is not the number of anchors")


class TableSegLayout(TableLayout):
    """The same with mask coefficients and prototypes."""

    name = "end2end-seg"
    summary = "(B, M, 6+32) and prototypes (B, 32, H/4, W/4): finished boxes with mask coefficients"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> TableSegLayout:
        """Fit a segmentation model to the layout; LayoutError where it does not."""
        head, prototypes = head_and_prototypes(signature)
        num_prototypes = sizes(prototypes)[0]
        _table(signature, sizes(head), 6 + num_prototypes, per_cell=False, is_stated=facts.layout == cls.name)
        return cls(
            facts.num_classes or UNNAMED_CLASSES,
            "segment",
            head=head.name,
            prototypes=prototypes.name,
            num_extras=num_prototypes,
        )


class TablePoseLayout(TableLayout):
    """The same with keypoints."""

    name = "end2end-pose"
    summary = "(B, M, 6+K*3): finished boxes with x y visibility of each keypoint"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> TablePoseLayout:
        """Fit a keypoint model to the layout; LayoutError where it does not."""
        head = single_output(signature, 3)
        count, values = facts.keypoint_shape or (17, 3)
        _table(signature, sizes(head), 6 + count * values, per_cell=False, is_stated=facts.layout == cls.name)
        return cls(facts.num_classes or UNNAMED_CLASSES, "pose", count, head=head.name, num_extras=count * values)


class TableSegPoseLayout(TableLayout):
    """The same with mask coefficients, prototypes and keypoints."""

    name = "end2end-seg-pose"
    summary = "(B, M, 6+32+K*3) and prototypes (B, 32, H/4, W/4): finished boxes with masks and keypoints"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> TableSegPoseLayout:
        """Fit a model of masks and keypoints to the layout; LayoutError where it does not."""
        shape, count, extras = masks_and_keypoints(signature, facts)
        _table(signature, shape, 6 + extras["num_extras"], per_cell=False, is_stated=facts.layout == cls.name)
        return cls(facts.num_classes or UNNAMED_CLASSES, "segment-pose", count, **extras)


class DeepStreamLayout(TableLayout):
    """The export for NVIDIA DeepStream: one finished box an anchor, not suppressed."""

    name = "deepstream"
    summary = "(B, A, 6): x1 y1 x2 y2 score class of each anchor, as DeepStream-Yolo exports"
    needs_nms = True

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> DeepStreamLayout:
        """Fit a detection model to the layout; LayoutError where it does not."""
        head = single_output(signature, 3)
        _table(signature, sizes(head), 6, per_cell=True, is_stated=facts.layout == cls.name)
        return cls(facts.num_classes or UNNAMED_CLASSES, head=head.name)

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition | None:
        """Say why the model, which fits, is this one."""
        if signature.op_types is None:
            return Recognition(False, "six columns an anchor")
        if signature.op_types.isdisjoint({"ArgMax", "TopK"}):
            return None
        return Recognition(True, "six columns an anchor, and the graph takes the best class itself")


@dataclass(frozen=True)
class EfficientNmsLayout(Layout):
    """The outputs of TensorRT's EfficientNMS plugin."""

    name: ClassVar[str] = "efficientnms"
    summary: ClassVar[str] = "num_dets, det_boxes (B, M, 4), det_scores, det_classes, as EfficientNMS_TRT gives"
    needs_nms: ClassVar[bool] = False

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> EfficientNmsLayout:
        """Fit a model by its output names; LayoutError where they differ."""
        wanted = {"num_dets", "det_boxes", "det_scores", "det_classes"}
        if signature.output_names() != wanted:
            raise LayoutError(f"needs the outputs {', '.join(sorted(wanted))}")
        return cls(facts.num_classes or UNNAMED_CLASSES)

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Read the first `num_dets` rows; see `yolokkn.ops.decode_final`."""
        boxes = outputs["det_boxes"][item]
        count = int(np.clip(outputs["num_dets"].reshape(-1)[item], 0, len(boxes)))
        return self.kernels.decode_final(
            boxes,
            outputs["det_scores"][item],
            outputs["det_classes"][item].astype(np.int32),
            num_classes=self.num_classes,
            count=count,
            **self.limits(options),
        )

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition:
        """Say why the model, which fits, is this one."""
        return Recognition(True, "the outputs have the names of EfficientNMS")


def _table(
    signature: ModelSignature, table: tuple[int, ...], columns: int, per_cell: bool, is_stated: bool = False
) -> None:
    """Hold a table's shape against the layout; a file that states its layout may have as many rows as it likes."""
    rows, found = table
    if found != columns:
        raise LayoutError(f"needs {columns} columns, has {found}")
    if is_stated:
        return
    is_per_cell = rows in anchor_counts(signature.input_hw)
    if is_per_cell is not per_cell:
        raise LayoutError(f"{rows} rows are {'' if is_per_cell else 'not '}one for each cell of the input")
