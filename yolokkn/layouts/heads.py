"""Raw heads, one output a scale, decoded in the kernel: darknet's, YOLOv5's and this project's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from yolokkn import ops
from yolokkn.errors import LayoutError
from yolokkn.geometry import LetterboxRule
from yolokkn.layouts.base import (
    AnchorPlaces,
    DecodeOptions,
    DeviceOutputs,
    Extras,
    Layout,
    ModelSignature,
    Outputs,
    Preprocess,
    Recognition,
    count_classes,
    sizes,
)
from yolokkn.layouts.metadata import ModelFacts
from yolokkn.ops import cuda


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

    def places(self, outputs: DeviceOutputs, item: int) -> AnchorPlaces:
        """Return how many anchors there are."""
        heads = [outputs[name][item] for name in self.heads]
        return AnchorPlaces(sum(int(np.prod(head.shape)) // (5 + self.num_classes) for head in heads))

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


@dataclass(frozen=True)
class DistanceRawLayout(Layout):
    """(B, 4*bins+classes+extras, gy, gx) logits a scale, and prototypes where there are masks: this project's own."""

    name: ClassVar[str] = "kkn-raw"
    summary: ClassVar[str] = (
        "one (B, 4*bins+classes+32+K*3, gy, gx) of logits a scale, with masks prototypes, as yolokkn exports"
    )

    levels: tuple[str, ...] = ()
    strides: tuple[int, ...] = ()
    num_bins: int = 16
    prototypes: str = ""
    num_coeffs: int = 0

    @classmethod
    def build(cls, signature: ModelSignature, facts: ModelFacts) -> DistanceRawLayout:
        """Fit a model to the layout; LayoutError where it does not."""
        if not signature.outputs or any(len(s.shape) != 4 for s in signature.outputs):
            raise LayoutError("needs outputs of rank 4 alone, one a scale")
        if facts.num_bins is None or facts.strides is None:
            raise LayoutError("needs reg_max and strides, which the metadata does not give")
        task = facts.task or "detect"
        levels = [s for s in signature.outputs if s.name != "prototypes"]
        prototypes = [s for s in signature.outputs if s.name == "prototypes"]
        if len(prototypes) != ("segment" in task) or len(levels) != len(facts.strides):
            raise LayoutError(
                f"needs one output for each of {len(facts.strides)} strides, and prototypes with masks alone (task {task})"
            )
        num_coeffs = sizes(prototypes[0])[0] if prototypes else 0
        num_keypoints = 0
        if "pose" in task:
            if facts.keypoint_shape is None or facts.keypoint_shape[1] != 3:
                raise LayoutError("needs kpt_shape [number, 3], which the metadata does not give")
            num_keypoints = facts.keypoint_shape[0]
        channels = {sizes(level)[0] for level in levels}
        if len(channels) != 1:
            raise LayoutError("the levels have different numbers of channels")
        taken = 4 * facts.num_bins + num_coeffs + 3 * num_keypoints
        return cls(
            count_classes(channels.pop(), taken, facts, "channels"),
            task,
            num_keypoints,
            levels=tuple(level.name for level in levels),
            strides=facts.strides,
            num_bins=facts.num_bins,
            prototypes="prototypes" if prototypes else "",
            num_coeffs=num_coeffs,
        )

    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Decode every scale; see `yolokkn.ops.decode_distances`."""
        return self.kernels.decode_distances(
            [outputs[name][item] for name in self.levels],
            num_classes=self.num_classes,
            input_hw=input_hw,
            num_bins=self.num_bins,
            multi_label=options.multi_label,
            **self.limits(options),
        )

    def extras(self, outputs: Outputs, item: int, anchor_index: np.ndarray) -> Extras:
        """Gather mask coefficients and keypoints, and place the keypoints in the input."""
        if not self.num_coeffs + self.num_keypoints:
            return Extras()
        rows: np.ndarray = np.empty((len(anchor_index), self.num_coeffs + 3 * self.num_keypoints), np.float32)
        first = 0
        for name, stride in zip(self.levels, self.strides, strict=True):
            level = outputs[name][item]
            here = np.flatnonzero((anchor_index >= first) & (anchor_index < first + level[0].size))
            cells = anchor_index[here] - first
            rows[here] = self.kernels.gather_extras(
                level.reshape(len(level), -1),
                cells,
                first=4 * self.num_bins + self.num_classes,
                count=rows.shape[1],
                channel_major=True,
            )
            self._place_keypoints(rows, here, cells, level.shape[2], stride)
            first += level[0].size
        coeffs, keypoints = (np.ascontiguousarray(part) for part in np.split(rows, [self.num_coeffs], axis=1))
        return Extras(
            mask_coeffs=coeffs if self.num_coeffs else None,
            prototypes=outputs[self.prototypes][item] if self.num_coeffs else None,
            keypoints=keypoints if self.num_keypoints else None,
        )

    def places(self, outputs: DeviceOutputs, item: int) -> AnchorPlaces:
        """Return where extras and prototypes lie, level by level."""
        levels, first = [], 0
        taken = 4 * self.num_bins + self.num_classes
        for name, stride in zip(self.levels, self.strides, strict=True):
            values = outputs[name][item]
            _, grid_h, grid_w = values.shape
            cells = grid_h * grid_w
            levels.append(cuda.ExtraLevel(values, first, 1, cells, taken * cells, grid_w, float(stride)))
            first += cells
        if not self.num_coeffs and not self.num_keypoints:
            return AnchorPlaces(first)
        extras = cuda.AnchorExtras(tuple(levels), self.num_coeffs, self.num_keypoints, 3, raw_keypoints=True)
        return AnchorPlaces(first, extras, outputs[self.prototypes][item] if self.num_coeffs else None)

    def _place_keypoints(
        self, rows: np.ndarray, here: np.ndarray, cells: np.ndarray, columns: int, stride: int
    ) -> None:
        """Turn x and y, in strides from the cell's centre by halves, into input pixels, and visibility into 0 to 1."""
        points = rows[here, self.num_coeffs :].reshape(len(here), self.num_keypoints, 3)
        centres = np.stack([cells % columns, cells // columns], 1).astype(np.float32) + np.float32(0.5)
        with np.errstate(over="ignore"):
            points[..., :2] = (centres[:, None] + 2 * points[..., :2]) * np.float32(stride)
            points[..., 2] = 1 / (1 + np.exp(-points[..., 2]))
        rows[here, self.num_coeffs :] = points.reshape(len(here), 3 * self.num_keypoints)

    @classmethod
    def recognise(cls, signature: ModelSignature, facts: ModelFacts) -> Recognition | None:
        """Never: such a file says its layout."""
        return None
