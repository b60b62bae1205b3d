"""A model ready for pictures: a backend, a layout, and what to keep of the outputs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from yolokkn import ops
from yolokkn.coco_names import default_names
from yolokkn.errors import LayoutError, ModelError
from yolokkn.geometry import LETTERBOX_RULES, Letterbox, LetterboxRule
from yolokkn.layouts import (
    DecodeOptions,
    ModelFacts,
    ModelSignature,
    TensorSpec,
    choose_layout,
    parse_names,
    read_facts,
)
from yolokkn.layouts.verify import contradiction
from yolokkn.runtime.backends import Backend, open_backend
from yolokkn.runtime.postprocess import postprocess
from yolokkn.types import Detections

if TYPE_CHECKING:
    from yolokkn.layouts import Layout

_DEFAULT_HW = (640, 640)
_SIZE_INPUT = "orig_target_sizes"


@dataclass(frozen=True)
class Model:
    """A loaded model. Call it with a picture; made by `yolokkn.load`.

    Safe to call from several threads.

    Attributes:
        name: The file's name.
        backend: What runs the network.
        layout: What its outputs mean.
        reason: Why this layout was chosen.
        options: What is kept of the outputs.
        class_names: Names by class id; numbers as text where the file names none.
        names_reason: Where the names come from.
        input_hw: Height and width of the input; the limit of both where `rectangular`.
        rectangular: The input follows the frame's aspect, padded to the stride (models of dynamic size).
        stride: Multiple that the sizes of a dynamic input must be.
        batch: Pictures in one run of the network.
    """

    name: str
    backend: Backend
    layout: Layout
    reason: str
    options: DecodeOptions
    class_names: tuple[str, ...]
    names_reason: str
    input_hw: tuple[int, int]
    rectangular: bool
    stride: int
    batch: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_workspaces", threading.local())

    @overload
    def __call__(self, image: np.ndarray) -> Detections: ...
    @overload
    def __call__(self, image: Sequence[np.ndarray]) -> list[Detections]: ...
    def __call__(self, image: np.ndarray | Sequence[np.ndarray]) -> Detections | list[Detections]:
        """Detect in a picture or in each of a list.

        Args:
            image: (H, W, 3) uint8 BGR, as OpenCV gives; or a sequence of such.

        Returns:
            Detections in pixels of that picture, or a list of them.

        Raises:
            TypeError: An image is no uint8 array.
            ValueError: An image has another shape.
        """
        if isinstance(image, (list, tuple)):
            return [self.workspace().process(one) for one in image]
        return self.workspace().process(image)  # type: ignore[arg-type]

    def workspace(self) -> Workspace:
        """Return this thread's workspace, made at its first call."""
        local = self._workspaces  # type: ignore[attr-defined]
        if not hasattr(local, "workspace"):
            local.workspace = Workspace(self)
        return local.workspace

    def letterbox_for(self, image_hw: tuple[int, int]) -> Letterbox:
        """Return how a frame of this height and width lies in the input."""
        if self.rectangular:
            return Letterbox.fit_rectangle(image_hw, self.input_hw, self.stride)
        return Letterbox.fit(image_hw, self.input_hw, self.layout.preprocess.rule)

    def with_options(self, **changes: Any) -> Model:
        """Return the same network with other DecodeOptions, such as `score_threshold=0.5`."""
        return replace(self, options=replace(self.options, **changes))

    @property
    def input_spec(self) -> TensorSpec:
        """The picture's input."""
        return picture_input(self.backend.inputs, self.name)


class Workspace:
    """The buffers that one thread needs to take frames through a model. Not thread-safe."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._spec = model.input_spec
        self._blob: np.ndarray = np.zeros((0, 0, 0, 0), np.float32)
        self._letterbox: Letterbox | None = None
        self._is_padded = False

    def process(self, image: np.ndarray, gate: AbstractContextManager[Any] | None = None) -> Detections:
        """Preprocess, run the network and postprocess one frame.

        Args:
            image: (H, W, 3) uint8 BGR.
            gate: Held while the network runs, to bound how many run at once.

        Returns:
            The detections, with the milliseconds of each stage.
        """
        check_image(image)
        started = time.perf_counter()
        letterbox = self._prepare(image)
        feeds = self._feeds(letterbox)
        prepared = time.perf_counter()
        with gate or nullcontext():
            admitted = time.perf_counter()
            outputs = self._model.backend.run(feeds)
            inferred = time.perf_counter()
        model = self._model
        detections = postprocess(model.layout, as_float(outputs), 0, letterbox, model.options, model.class_names)
        done = time.perf_counter()
        return replace(
            detections,
            timing_ms=MappingProxyType(
                {
                    "preprocess": (prepared - started) * 1e3,
                    "inference": (inferred - admitted) * 1e3,
                    "postprocess": (done - inferred) * 1e3,
                }
            ),
        )

    def _prepare(self, image: np.ndarray) -> Letterbox:
        hw = (image.shape[0], image.shape[1])
        letterbox = self._letterbox
        if letterbox is None or letterbox.image_hw != hw:
            letterbox = self._letterbox = self._model.letterbox_for(hw)
            self._is_padded = False
        shape = (self._model.batch, 3, *letterbox.input_hw)
        if self._blob.shape != shape:
            self._blob = np.zeros(shape, np.float32)
            self._is_padded = False
        rule = self._model.layout.preprocess
        ops.letterbox(
            image, letterbox, swap_rb=rule.swap_rb, scale=rule.scale, offset=rule.offset, pad_value=rule.pad_value,
            out=self._blob[0], keep_padding=self._is_padded,
        )  # fmt: skip
        self._is_padded = True
        return letterbox

    def _feeds(self, letterbox: Letterbox) -> dict[str, np.ndarray]:
        blob = self._blob if self._spec.dtype == "float32" else self._blob.astype(self._spec.dtype)
        feeds = {self._spec.name: blob}
        if len(self._model.backend.inputs) > 1:
            h, w = letterbox.input_hw
            feeds[_SIZE_INPUT] = np.array([[w, h]] * self._model.batch, np.int64)
        return feeds


def load(
    model: str | Path | bytes | Any,
    *,
    device: str = "cpu",
    backend: str = "onnxruntime",
    layout: str | None = None,
    imgsz: int | tuple[int, int] | None = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
    anchors: Sequence[Sequence[Sequence[float]]] | None = None,
    letterbox: str | None = None,
    threads: int | None = None,
    num_requests: int = 1,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.7,
    max_detections: int = 300,
    multi_label: bool = False,
    agnostic: bool = False,
    classes: Sequence[int] | None = None,
) -> Model:
    """Load anybody's YOLO-family model.

    Args:
        model: An .onnx file (a path or its bytes), darknet's .cfg or .weights, or a `torch.nn.Module`.
        device: "cpu", or what the backend offers.
        backend: "onnxruntime" or "openvino".
        layout: What the outputs mean, where the file does not say; `yolokkn info MODEL` lists the names.
        imgsz: Input size for a model of dynamic size: one side, or height and width.
        names: Class names; by default the file's own, or COCO's where there are 80.
        anchors: For raw heads whose file carries none: per head, (width, height) pairs in input pixels.
        letterbox: "letterbox", "topleft" or "stretch" instead of the layout's rule.
        threads: Threads of the network; None takes every core.
        num_requests: Runs at once among which the threads are shared; `yolokkn.track` sets it as the source wants it.
        score_threshold: A detection needs a score above it.
        iou_threshold: A box is suppressed by a better one when their IoU is above it.
        max_detections: At most so many a picture.
        multi_label: Several classes for one box.
        agnostic: Suppress across classes.
        classes: Class ids to keep.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The file cannot be read or run.
        LayoutError: What its outputs mean is unknown or ambiguous.

    Example:
        >>> import yolokkn
        >>> model = yolokkn.load("yolox_nano.onnx")  # doctest: +SKIP
        >>> model(cv2.imread("street.jpg")).class_ids  # doctest: +SKIP
        array([0, 0, 2], dtype=int32)
    """
    options = DecodeOptions(
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        max_detections=max_detections,
        multi_label=multi_label,
        agnostic=agnostic,
        classes=None if classes is None else tuple(int(c) for c in classes),
    )

    def open_engine(content: str | Path | bytes) -> Backend:
        return open_backend(backend, content, device=device, threads=threads, num_requests=num_requests)

    name, engine = _open(model, open_engine, device, imgsz)
    facts = read_facts(engine.metadata)
    if names is not None:
        facts = replace(facts, class_names=parse_names(names))
    if anchors is not None:
        facts = replace(facts, anchors=tuple(tuple((float(w), float(h)) for w, h in head) for head in anchors))
    if letterbox is not None and letterbox not in LETTERBOX_RULES:
        raise ValueError(f"letterbox: must be one of {', '.join(LETTERBOX_RULES)}, got {letterbox!r}")
    return _assemble(name, engine, facts, options, imgsz, layout, letterbox)


def _open(model: Any, open_engine: Callable[..., Backend], device: str, imgsz: Any) -> tuple[str, Backend]:
    if isinstance(model, bytes):
        return "<bytes>", open_engine(model)
    if not isinstance(model, (str, Path)):
        if not hasattr(model, "eval") or not hasattr(model, "parameters"):
            raise TypeError(f"load: model must be a path, bytes or a torch.nn.Module, got {type(model).__name__}")
        from yolokkn.runtime.backends.torch import TorchBackend

        return type(model).__name__, TorchBackend(model, input_hw=_pair(imgsz) or _DEFAULT_HW, device=device)
    path = Path(model)
    if not path.exists():
        raise FileNotFoundError(f"model: no such file: {path}")
    if path.is_dir():
        raise ModelError(f"{path}: is a folder, not a model file")
    suffix = path.suffix.lower()
    if suffix in (".cfg", ".weights"):
        from yolokkn.graph import darknet_to_onnx

        content = darknet_to_onnx(path.with_suffix(".cfg"), path.with_suffix(".weights"))
        return path.name, open_engine(content)
    if suffix in (".pt", ".pth"):
        raise ModelError(
            f"{path.name}: PyTorch checkpoints are not run (loading one executes code); export it to ONNX with its own tool"
        )
    if suffix in (".engine", ".plan"):
        raise ModelError(f"{path.name}: TensorRT engines are not run by this version; give the .onnx file")
    return path.name, open_engine(path)


def _assemble(
    name: str,
    engine: Backend,
    facts: ModelFacts,
    options: DecodeOptions,
    imgsz: int | tuple[int, int] | None,
    layout_name: str | None,
    letterbox: str | None,
) -> Model:
    spec = picture_input(engine.inputs, name)
    stride = facts.stride or 32
    input_hw = _input_hw(spec, facts, imgsz, stride, name)
    batch = spec.shape[0] or 1
    is_dynamic = spec.shape[2] is None and spec.shape[3] is None
    outputs = engine.outputs
    probe: dict[str, np.ndarray] | None = None
    if any(None in s.shape[1:] for s in outputs):
        probe = _probe(engine, spec, batch, input_hw, name)
        outputs = tuple(TensorSpec(s.name, s.dtype, tuple(probe[s.name].shape)) for s in outputs)
    signature = ModelSignature(name, engine.inputs, outputs, input_hw, engine.op_types)
    choice = choose_layout(signature, facts, layout_name)
    if layout_name is None and facts.layout is None and facts.task is None:
        probe = probe or _probe(engine, spec, batch, input_hw, name)
        problem = contradiction(choice.layout, probe, input_hw)
        if problem:
            raise LayoutError(
                f"{name}: its names and shapes say layout {choice.layout.name} ({choice.reason}), but its values do not: "
                f"{problem}; choose a layout with --layout NAME (layout=NAME)"
            )
    layout = choice.layout
    if letterbox is not None:
        layout = replace(layout, preprocess=replace(layout.preprocess, rule=cast(LetterboxRule, letterbox)))
    if options.classes is not None:
        layout.class_mask(options)
    class_names, names_reason = _names(facts, layout.num_classes)
    rectangular = is_dynamic and layout.preprocess.rule == "letterbox"
    return Model(
        name, engine, layout, choice.reason, options, class_names, names_reason, input_hw, rectangular, stride, batch
    )


def _names(facts: ModelFacts, num_classes: int) -> tuple[tuple[str, ...], str]:
    are_numbers = facts.class_names == tuple(str(i) for i in range(num_classes))
    if facts.class_names is not None and not are_numbers:
        return facts.class_names, "named by the file or the caller"
    names = default_names(num_classes)
    if names:
        return names, f"{num_classes} classes without names: COCO's are assumed"
    return (), "none: class numbers are shown"


def picture_input(inputs: tuple[TensorSpec, ...], name: str) -> TensorSpec:
    """Return the input that takes the picture: the one of rank 4 with three channels.

    Raises:
        LayoutError: The inputs are not those of a detector, with what was seen.
    """
    seen = "; ".join(str(s) for s in inputs)
    pictures = [s for s in inputs if len(s.shape) == 4]
    others = [s for s in inputs if len(s.shape) != 4]
    if len(pictures) != 1 or any(s.name != _SIZE_INPUT for s in others):
        raise LayoutError(
            f"{name}: not a model that yolokkn reads: needs one picture input (B, 3, H, W), "
            f"and orig_target_sizes beside it at most; seen: {seen}"
        )
    spec = pictures[0]
    if spec.shape[1] not in (3, None):
        hint = "; it looks like channels last (NHWC): export it with channels first" if spec.shape[3] == 3 else ""
        raise LayoutError(f"{name}: needs a picture input (B, 3, H, W); seen: {seen}{hint}")
    if spec.dtype not in ("float32", "float16"):
        raise LayoutError(f"{name}: needs a float32 or float16 picture input; seen: {seen}")
    return spec


def check_image(image: object) -> None:
    """Raise TypeError or ValueError unless the image is (H, W, 3) uint8 with H, W >= 1."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"model: image must be a NumPy array (H, W, 3) uint8 BGR, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise TypeError(f"model: image must have dtype uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"model: image must have shape (H, W, 3) with H, W >= 1, got {image.shape}")


def as_float(outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Widen half and double outputs to float32; everything else passes as it is."""
    return {
        name: value.astype(np.float32) if value.dtype in (np.float16, np.float64) else value
        for name, value in outputs.items()
    }


def _pair(imgsz: int | Sequence[int] | None) -> tuple[int, int] | None:
    if imgsz is None:
        return None
    pair = (imgsz, imgsz) if isinstance(imgsz, int) else tuple(int(v) for v in imgsz)
    if len(pair) != 2 or min(pair) < 1 or max(pair) > 16384:
        raise ValueError(f"imgsz: must be one size or height and width, each within 1 and 16384, got {imgsz}")
    return pair[0], pair[1]


def _input_hw(spec: TensorSpec, facts: ModelFacts, imgsz: Any, stride: int, name: str) -> tuple[int, int]:
    asked = _pair(imgsz)
    wanted = asked or facts.input_hw or _DEFAULT_HW
    h, w = spec.shape[2], spec.shape[3]
    fixed = (h or wanted[0], w or wanted[1])
    if asked is not None and fixed != asked:
        raise ValueError(
            f"imgsz: {name} takes height {h or 'any'} and width {w or 'any'} only, got {asked[0]} x {asked[1]}"
        )
    for side, size in zip((h, w), fixed, strict=True):
        if side is None and size % stride:
            near = max(round(size / stride), 1) * stride
            raise ValueError(
                f"imgsz: must be a multiple of {name}'s stride {stride}, got {size}; the nearest is {near}"
            )
    return fixed


def _probe(
    engine: Backend, spec: TensorSpec, batch: int, input_hw: tuple[int, int], name: str
) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = {spec.name: np.full((batch, 3, *input_hw), 0.45, spec.dtype)}
    if len(engine.inputs) > 1:
        feeds[_SIZE_INPUT] = np.array([[input_hw[1], input_hw[0]]] * batch, np.int64)
    try:
        return as_float(engine.run(feeds))
    except Exception as error:
        raise ModelError(
            f"{name}: does not run at {input_hw[0]} x {input_hw[1]} (height x width): {str(error).strip()[:300]}"
        ) from error
