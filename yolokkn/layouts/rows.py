"""Heads with one row an anchor: YOLOv5, v7, v6 and YOLOX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from yolokkn import ops
from yolokkn.errors import LayoutError
from yolokkn.layouts.base import (
    DecodeOptions,
    HeadLayout,
    ModelSignature,
    Outputs,
    Preprocess,
    Recognition,
    anchor_counts,
    count_classes,
    head_and_prototypes,
    single_output,
    sizes,
)
from yolokkn.layouts.metadata import ModelFacts

if TYPE_CHECKING:
    from typing_extensions import Self

YOLOX_INPUT = Preprocess(rule="topleft", swap_rb=False, scale=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class RowsLayout(HeadLayout):
    """(B, rows, 5 + classes + extras): box, objectness, class scores."""

    box_format: ClassVar[str] = "cxcywh"
    anchors_per_cell: ClassVar[int] = 1

    strides: tuple[int, ...] = (8, 16, 32)

    @classmethod
    def fit(cls, signature: ModelSignature, facts: ModelFacts, preprocess: Preprocess | None = None) -> Self:
        """Fit a detection model to the layout; LayoutError where it does not."""
        head = single_output(signature, 3)
        rows, columns = sizes(head)
        return cls(
            count_classes(columns, 5, facts, "columns"),
            preprocess=preprocess or Preprocess(),
            head=head.name,
            strides=_strides(signature, rows, cls.anchors_per_cell),
        )

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> Self:
        """Fit a detection model to the layout; LayoutError where it does not."""
        return cls.fit(signature, facts)

    @property
    def first_extra(self) -> int:
        """Behind the box, the objectness and the class scores."""
        return 5 + self.num_classes

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Decode the head; see `yolokkn.ops.decode_rows`."""
        return self.kernels.decode_rows(
            outputs[self.head][item],
            self.num_classes,
            objectness=True,
            box_format=self.box_format,
            strides=self.strides,
            input_hw=input_hw,
            multi_label=options.multi_label,
            **self.limits(options),
        )


class V5Layout(RowsLayout):
    """YOLOv5 and YOLOv7."""

    name = "v5"
    summary = "(B, 3*A, 5+classes): cx cy w h objectness and class scores, as YOLOv5 and YOLOv7 export"
    anchors_per_cell = 3

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition:
        """Say why the model, which fits, is this one."""
        return Recognition(True, "three anchors a cell, one row each")


class V5SegLayout(V5Layout):
    """YOLOv5-seg."""

    name = "v5-seg"
    summary = "(B, 3*A, 5+classes+32) and prototypes (B, 32, H/4, W/4), as YOLOv5-seg exports"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> Self:
        """Fit a segmentation model to the layout; LayoutError where it does not."""
        head, prototypes = head_and_prototypes(signature)
        rows, columns = sizes(head)
        num_prototypes = sizes(prototypes)[0]
        return cls(
            count_classes(columns, 5 + num_prototypes, facts, "columns"),
            "segment",
            head=head.name,
            prototypes=prototypes.name,
            num_extras=num_prototypes,
            strides=_strides(signature, rows, 3),
        )


class V6Layout(RowsLayout):
    """YOLOv6: the objectness column is 1."""

    name = "v6"
    summary = "(B, A, 5+classes): cx cy w h 1 and class scores, as YOLOv6 exports"

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition | None:
        """Say why the model, which fits, is this one."""
        if signature.output_names() == {"outputs"}:
            return Recognition(True, "one row a cell, and the output is called outputs as YOLOv6's")
        return None if _is_yolox_name(signature) else Recognition(False, "one row a cell")


class YoloxDecodedLayout(RowsLayout):
    """YOLOX exported with --decode_in_inference."""

    name = "yolox-decoded"
    summary = "(B, A, 5+classes): as yolox, boxes decoded in the graph"

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> Self:
        """Fit a detection model to the layout; LayoutError where it does not."""
        return cls.fit(signature, facts, YOLOX_INPUT)

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition | None:
        """Say why the model, which fits, is this one."""
        return _recognise_yolox(signature, decoded=True)


class YoloxLayout(YoloxDecodedLayout):
    """YOLOX as its export gives it."""

    name = "yolox"
    summary = "(B, A, 5+classes): grid offsets, objectness and class scores, as YOLOX exports (boxes not decoded)"
    box_format = "grid"

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition | None:
        """Say why the model, which fits, is this one."""
        return _recognise_yolox(signature, decoded=False)


def _is_yolox_name(signature: ModelSignature) -> bool:
    return signature.output_names() == {"output"}


def _recognise_yolox(signature: ModelSignature, decoded: bool) -> Recognition | None:
    if signature.output_names() == {"outputs"}:
        return None
    if signature.op_types is None:
        return Recognition(False, "one row a cell; whether boxes are decoded cannot be seen")
    takes_best_class = not signature.op_types.isdisjoint({"ArgMax", "TopK"})
    if takes_best_class or ("Exp" in signature.op_types) is not decoded:
        return None
    box = "an Exp in the graph decodes the boxes" if decoded else "no Exp in the graph: boxes are not decoded"
    return Recognition(_is_yolox_name(signature), f"one row a cell, output called output, {box}")


def _strides(signature: ModelSignature, rows: int, anchors_per_cell: int) -> tuple[int, ...]:
    counts = anchor_counts(signature.input_hw)
    if rows % anchors_per_cell or rows // anchors_per_cell not in counts:
        raise LayoutError(
            f"{rows} rows are not {anchors_per_cell} for each cell of a {signature.input_hw} input's strides"
        )
    return counts[rows // anchors_per_cell]
