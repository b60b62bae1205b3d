"""What a Layout is: the meaning of a model's outputs, and how its input wants to be prepared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from yolokkn import ops
from yolokkn.errors import LayoutError, printable
from yolokkn.geometry import LetterboxRule
from yolokkn.layouts.metadata import ModelFacts
from yolokkn.ops import cuda

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model: its name, dtype and shape (None where the size is free)."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sizes = ", ".join("?" if n is None else str(n) for n in self.shape)
        name = printable(self.name).replace("\n", "\\n")
        return f"{name} {self.dtype} ({sizes})"


@dataclass(frozen=True)
class ModelSignature:
    """What a model says of itself.

    Attributes:
        name: The file's name, for messages.
        inputs: In the model's order; the picture is the one of rank 4.
        outputs: In the model's order, with the shapes that they have at `input_hw`.
        input_hw: Height and width at which the output shapes hold.
        op_types: Kinds of the graph's nodes; None where the graph cannot be seen (a torch module).
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_hw: tuple[int, int]
    op_types: frozenset[str] | None = None

    def output_names(self) -> set[str]:
        """Return the names of the outputs."""
        return {spec.name for spec in self.outputs}


@dataclass(frozen=True)
class Preprocess:
    """How a frame becomes the model's input: `value = pixel * scale + offset`, per channel of the input.

    Attributes:
        rule: Where the frame lies in the input; see `Letterbox.fit`.
        swap_rb: Turn OpenCV's BGR into RGB.
        scale: Factor of each input channel.
        offset: Added to each input channel.
        pad_value: Grey level around the content, 0 to 255, before scale and offset.
    """

    rule: LetterboxRule = "letterbox"
    swap_rb: bool = True
    scale: tuple[float, float, float] = (1 / 255, 1 / 255, 1 / 255)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pad_value: int = 114

    def __str__(self) -> str:
        order = "RGB" if self.swap_rb else "BGR"
        if self.offset != (0.0, 0.0, 0.0):
            values = "ImageNet mean and deviation"
        else:
            values = "0 to 1" if self.scale[0] < 1 else "0 to 255"
        pad = "" if self.rule == "stretch" else f", padded with {self.pad_value}"
        return f"{self.rule}{pad}, {order}, {values}"


IMAGENET = Preprocess(
    rule="stretch",
    scale=(1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
    offset=(-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
)


@dataclass(frozen=True)
class DecodeOptions:
    """What is kept of a model's outputs.

    Attributes:
        score_threshold: A detection needs a score above it.
        iou_threshold: A box is suppressed by a better one of the same class when their IoU is above it.
        max_detections: At most so many detections a frame.
        max_candidates: At most so many boxes go into the suppression, the best ones.
        multi_label: Several classes for one box (evaluation) or the best one only.
        agnostic: Suppress across classes.
        classes: Class ids to keep; None keeps all.
    """

    score_threshold: float = 0.25
    iou_threshold: float = 0.7
    max_detections: int = 300
    max_candidates: int = 30000
    multi_label: bool = False
    agnostic: bool = False
    classes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"DecodeOptions: {name} must be within 0 and 1, got {value}")
        for name in ("max_detections", "max_candidates"):
            if getattr(self, name) < 1:
                raise ValueError(f"DecodeOptions: {name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True)
class Extras:
    """What a model gives beside boxes, for chosen anchors.

    Attributes:
        mask_coeffs: (N, P) float32, with `prototypes` (P, h, w) float32.
        mask_logits: (N, h, w) float32, one picture of logits per detection, over the whole input.
        keypoints: (N, K*3) or (N, K*2) float32 in input pixels.
    """

    mask_coeffs: np.ndarray | None = None
    prototypes: np.ndarray | None = None
    mask_logits: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    def finite_rows(self, count: int) -> np.ndarray:
        """Return (count,) bool: the detections whose coefficients and keypoints are neither NaN nor infinite."""
        finite: np.ndarray = np.ones(count, bool)
        for values in (self.mask_coeffs, self.keypoints):
            if values is not None:
                finite &= np.isfinite(values).all(1)
        return finite


DeviceOutputs = Mapping[str, cuda.DeviceArray]


@dataclass(frozen=True)
class AnchorPlaces:
    """Where a layout's anchors have their values, in outputs that stay on a GPU.

    Attributes:
        num_anchors: How many anchors the outputs have.
        extras: Mask coefficients and keypoints.
        prototypes: (P, h, w) that the coefficients weigh; None without masks.
        multi_label: An anchor may be several candidates, whatever the options say.
    """

    num_anchors: int
    extras: cuda.AnchorExtras = field(default_factory=cuda.AnchorExtras)
    prototypes: cuda.DeviceArray | None = None
    multi_label: bool = False


@dataclass(frozen=True)
class Layout(ABC):
    """The meaning of a model's outputs.

    Attributes:
        num_classes: Number of class scores.
        task: "detect", "segment", "pose" or "segment-pose".
        num_keypoints: Keypoints a detection, 0 without.
        preprocess: How the input is prepared.
        kernels: What decodes and postprocesses: `yolokkn.ops`, its slow specification `yolokkn.ops.reference`, or what has
            the same names and queues the work on a GPU.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    needs_nms: ClassVar[bool] = True

    num_classes: int
    task: str = "detect"
    num_keypoints: int = 0
    preprocess: Preprocess = field(default_factory=Preprocess)
    kernels: Any = field(default=ops, repr=False, compare=False)

    @abstractmethod
    def decode(self, outputs: Outputs, item: int, input_hw: tuple[int, int], options: DecodeOptions) -> ops.Candidates:
        """Turn one item of the batch into candidates in input pixels.

        Args:
            outputs: Raw outputs by name, float32, with the batch first.
            item: Which item of the batch.
            input_hw: Height and width of the input that gave them.
            options: Thresholds and limits.
        """

    def extras(self, outputs: Outputs, item: int, anchor_index: np.ndarray) -> Extras:
        """Return masks and keypoints of chosen anchors: (N,) int64 as `decode` numbered them."""
        return Extras()

    def places(self, outputs: DeviceOutputs, item: int) -> AnchorPlaces:
        """Return where the anchors' values lie in outputs that stay on a GPU.

        Raises:
            LayoutError: The CUDA kernels do not take this layout.
        """
        raise LayoutError(f"{self.name} is not decoded on the GPU")

    def limits(self, options: DecodeOptions) -> dict[str, Any]:
        """Return the arguments that every decoder of `yolokkn.ops` takes."""
        return {
            "score_threshold": options.score_threshold,
            "max_candidates": options.max_candidates,
            "class_mask": self.class_mask(options),
        }

    def class_mask(self, options: DecodeOptions) -> np.ndarray | None:
        """Return (num_classes,) bool, the classes to keep; None keeps all."""
        if options.classes is None:
            return None
        mask: np.ndarray = np.zeros(self.num_classes, bool)
        for class_id in options.classes:
            if not 0 <= class_id < self.num_classes:
                raise ValueError(f"classes: each must be within 0 and {self.num_classes - 1}, got {class_id}")
            mask[class_id] = True
        return mask


@dataclass(frozen=True)
class HeadLayout(Layout):
    """A layout of one head, whose rows or channels end with mask coefficients, then keypoints, where the model has them.

    Attributes:
        head: Name of the output.
        prototypes: Name of the output that the mask coefficients weigh; empty without masks.
        num_extras: Coefficients and keypoint values a detection.
    """

    channel_major: ClassVar[bool] = False

    head: str = ""
    prototypes: str = ""
    num_extras: int = 0

    @property
    @abstractmethod
    def first_extra(self) -> int:
        """Column or channel of the first extra."""

    def extras(self, outputs: Outputs, item: int, anchor_index: np.ndarray) -> Extras:
        """Gather mask coefficients and keypoints."""
        if not self.num_extras:
            return Extras()
        rows = self.kernels.gather_extras(
            outputs[self.head][item],
            anchor_index,
            first=self.first_extra,
            count=self.num_extras,
            channel_major=self.channel_major,
        )
        if not self.prototypes:
            return Extras(keypoints=rows)
        prototypes = outputs[self.prototypes][item]
        if not self.num_keypoints:
            return Extras(mask_coeffs=rows, prototypes=prototypes)
        coeffs, keypoints = (np.ascontiguousarray(part) for part in np.split(rows, [len(prototypes)], axis=1))
        return Extras(mask_coeffs=coeffs, prototypes=prototypes, keypoints=keypoints)

    def places(self, outputs: DeviceOutputs, item: int) -> AnchorPlaces:
        """Return where extras and prototypes lie."""
        head = outputs[self.head][item]
        rows, columns = head.shape
        num_anchors, steps = (columns, (1, columns)) if self.channel_major else (rows, (columns, 1))
        if not self.num_extras:
            return AnchorPlaces(num_anchors)
        prototypes = outputs[self.prototypes][item] if self.prototypes else None
        num_coeffs = 0 if prototypes is None else prototypes.shape[0]
        level = cuda.ExtraLevel(head, 0, *steps, self.first_extra * steps[1])
        width = (self.num_extras - num_coeffs) // max(self.num_keypoints, 1)
        extras = cuda.AnchorExtras((level,), num_coeffs, self.num_keypoints, width if self.num_keypoints else 3)
        return AnchorPlaces(num_anchors, extras, prototypes)


@dataclass(frozen=True)
class Recognition:
    """Why a layout fits a model. `certain` beats all that are merely possible."""

    certain: bool
    reason: str


STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))


def anchor_counts(input_hw: tuple[int, int]) -> dict[int, tuple[int, ...]]:
    """Return the anchors of an input, one a cell, for each customary set of strides: count -> strides."""
    h, w = input_hw
    return {sum((h // s) * (w // s) for s in strides): strides for strides in reversed(STRIDES)}


def single_output(signature: ModelSignature, rank: int) -> TensorSpec:
    """Return the only output, if it has this rank; else raise LayoutError."""
    if len(signature.outputs) != 1 or len(signature.outputs[0].shape) != rank:
        raise LayoutError(f"needs one output of rank {rank}")
    return signature.outputs[0]


def head_and_prototypes(signature: ModelSignature) -> tuple[TensorSpec, TensorSpec]:
    """Return the head (rank 3) and the prototypes (rank 4, a quarter of the input); else raise LayoutError."""
    heads = [s for s in signature.outputs if len(s.shape) == 3]
    prototypes = [s for s in signature.outputs if len(s.shape) == 4]
    if len(signature.outputs) != 2 or len(heads) != 1 or len(prototypes) != 1:
        raise LayoutError("needs a head of rank 3 and prototypes of rank 4")
    return heads[0], prototypes[0]


def masks_and_keypoints(signature: ModelSignature, facts: ModelFacts) -> tuple[tuple[int, ...], int, dict[str, Any]]:
    """Return the head's sizes, the number of keypoints, and the fields of a `HeadLayout` with masks and keypoints.

    Raises:
        LayoutError: The outputs are others, or the file does not tell the keypoints.
    """
    head, prototypes = head_and_prototypes(signature)
    if facts.keypoint_shape is None:
        raise LayoutError("the number of keypoints (kpt_shape) is not in the metadata")
    count, values = facts.keypoint_shape
    num_extras = sizes(prototypes)[0] + count * values
    return sizes(head), count, {"head": head.name, "prototypes": prototypes.name, "num_extras": num_extras}


def sizes(spec: TensorSpec) -> tuple[int, ...]:
    """Return the sizes behind the batch; LayoutError where one is free."""
    rest = tuple(n for n in spec.shape[1:] if n is not None)
    if len(rest) != len(spec.shape) - 1:
        raise LayoutError(f"output {spec} has sizes that the file leaves open")
    return rest


def count_classes(values: int, taken: int, facts: ModelFacts, what: str) -> int:
    """Return the number of classes among `values` columns of which `taken` are something else.

    Raises:
        LayoutError: Nothing is left, or the file names another number of classes.
    """
    num_classes = values - taken
    if num_classes < 1:
        raise LayoutError(f"{values} {what} leave no class beside the {taken} others")
    if facts.num_classes is not None and facts.num_classes != num_classes:
        raise LayoutError(
            f"{values} {what} mean {num_classes} classes, but the metadata or the caller names {facts.num_classes}"
        )
    return num_classes
