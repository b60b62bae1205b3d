"""YOLOv8 and its descendants (v9, 11, 12, 26): one anchor-free head, channels first, sigmoid done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from yolokkn import ops
from yolokkn.errors import LayoutError
from yolokkn.layouts.base import (
    DecodeOptions,
    HeadLayout,
    ModelSignature,
    Outputs,
    Recognition,
    anchor_counts,
    count_classes,
    head_and_prototypes,
    masks_and_keypoints,
    single_output,
    sizes,
)
from yolokkn.layouts.metadata import ModelFacts


@dataclass(frozen=True)
class ChannelsLayout(HeadLayout):
    """(B, 4 + classes + extras, A): cx cy w h, class scores, then mask coefficients or keypoints."""

    name: ClassVar[str] = "v8"
    channel_major: ClassVar[bool] = True
    summary: ClassVar[str] = "(B, 4+classes, A): cx cy w h and class scores, as YOLOv8, v9, 11, 12 and 26 export"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> ChannelsLayout:
        """Fit a detection model to the layout; LayoutError where it does not."""
        head = single_output(signature, 3)
        rows = _rows(signature, sizes(head), facts.layout == cls.name)
        return cls(count_classes(rows, 4, facts, "rows"), head=head.name)

    @property
    def first_extra(self) -> int:
        """Behind the box and the class scores."""
        return 4 + self.num_classes

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Decode the head; see `yolokkn.ops.decode_channels`."""
        return self.kernels.decode_channels(
            outputs[self.head][item],
            self.num_classes,
            multi_label=options.multi_label,
            **self.limits(options),
        )

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition:
        """Say why the model, which fits, is this one."""
        if facts.task:
            return Recognition(True, f"the metadata says task {facts.task} and the head is channels first")
        return Recognition(False, "the last size is the number of anchors of this input, one a cell")


class ChannelsSegLayout(ChannelsLayout):
    """The same with 32 mask coefficients and prototypes."""

    name = "v8-seg"
    summary = "(B, 4+classes+32, A) and prototypes (B, 32, H/4, W/4), as YOLOv8-seg and its descendants export"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> ChannelsSegLayout:
        """Fit a segmentation model to the layout; LayoutError where it does not."""
        head, prototypes = head_and_prototypes(signature)
        num_prototypes = sizes(prototypes)[0]
        num_classes = count_classes(
            _rows(signature, sizes(head), facts.layout == cls.name), 4 + num_prototypes, facts, "rows"
        )
        return cls(num_classes, "segment", head=head.name, prototypes=prototypes.name, num_extras=num_prototypes)


class ChannelsPoseLayout(ChannelsLayout):
    """The same with keypoints."""

    name = "v8-pose"
    summary = (
        "(B, 4+classes+K*3, A): cx cy w h, class scores, x y visibility, as YOLOv8-pose and its descendants export"
    )

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> ChannelsPoseLayout:
        """Fit a keypoint model to the layout; LayoutError where it does not."""
        head = single_output(signature, 3)
        rows = _rows(signature, sizes(head), facts.layout == cls.name)
        if facts.keypoint_shape is None and rows != 56:
            raise LayoutError(
                "the number of keypoints is not in the metadata, and 56 rows (17 of a person) are not there"
            )
        count, values = facts.keypoint_shape or (17, 3)
        num_classes = count_classes(rows, 4 + count * values, facts, "rows")
        return cls(num_classes, "pose", count, head=head.name, num_extras=count * values)


class ChannelsSegPoseLayout(ChannelsLayout):
    """The same with mask coefficients, prototypes and keypoints: one model for all."""

    name = "v8-seg-pose"
    summary = "(B, 4+classes+32+K*3, A) and prototypes (B, 32, H/4, W/4): masks and keypoints, as yolokkn exports"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> ChannelsSegPoseLayout:
        """Fit a model of masks and keypoints to the layout; LayoutError where it does not."""
        shape, count, extras = masks_and_keypoints(signature, facts)
        rows = _rows(signature, shape, facts.layout == cls.name)
        num_classes = count_classes(rows, 4 + extras["num_extras"], facts, "rows")
        return cls(num_classes, "segment-pose", count, **extras)


def _rows(signature: ModelSignature, head: tuple[int, ...], is_stated: bool) -> int:
    rows, anchors = head
    if not is_stated and anchors not in anchor_counts(signature.input_hw):  # our own files may have several a cell
        raise LayoutError(f"the last size {anchors} is not the number of anchors of a {signature.input_hw} input")
    return rows
