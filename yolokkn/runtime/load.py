"""Loading a model: which backend runs the file, which layout its outputs have, which size and names it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from yolokkn.coco_names import COCO80, default_names
from yolokkn.errors import LayoutError, ModelError
from yolokkn.geometry import DEFAULT_SIDE, DEFAULT_STRIDE, LETTERBOX_RULES, LetterboxRule
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
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import ENGINE_SUFFIXES, Backend, open_backend
from yolokkn.runtime.model import SIZE_INPUT, Model, as_float, size_input

_DEFAULT_HW = (DEFAULT_SIDE, DEFAULT_SIDE)


def load(
    model: str | Path | bytes | Any = None,
    *,
    device: str | None = None,
    backend: str | None = None,
    layout: str | None = None,
    imgsz: int | tuple[int, int] | None = None,
    names: Sequence[str] | Mapping[int, str] | str | None = None,
    anchors: Sequence[Sequence[Sequence[float]]] | None = None,
    letterbox: str | None = None,
    threads: int | None = None,
    num_requests: int = 1,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.7,
    max_detections: int = 300,
    multi_label: bool = False,
    agnostic: bool = False,
    classes: Sequence[int | str] | None = None,
    trust_engine: bool = False,
    precision: str | None = None,
    rect: bool = False,
) -> Model:
    """Load anybody's YOLO-family model.

    Args:
        model: An .onnx file (a path or its bytes), a TensorRT .engine with its manifest beside it, darknet's .cfg or
            .weights, a `torch.nn.Module`, a `Backend` that runs already (device, backend and threads are then its own), or
            the name of a model that comes with the package (`yolokkn info` lists them); None: the default of those.
        device: What the backend offers; None: "cpu", or "cuda" for engines.
        backend: "onnxruntime", "openvino" or "tensorrt", which builds an engine of an .onnx file and keeps it in the cache;
            "auto": the fastest on this CPU with the same outputs, measured once in some seconds and remembered
            (`model.backend.choice` says why); None: "tensorrt" for engines, else "onnxruntime".
        layout: What the outputs mean, where the file does not say; `yolokkn info MODEL` lists the names.
        imgsz: Input size for a model of dynamic size: one side, or height and width.
        names: Class names, or "coco"; by default the file's own, or COCO's where there are 80.
        anchors: For raw heads whose file carries none: per head, (width, height) pairs in input pixels.
        letterbox: "letterbox", "topleft" or "stretch" instead of the layout's rule.
        threads: Threads of the network; None takes every core.
        num_requests: Runs at once among which the threads are shared; `yolokkn.track` sets it as the source wants it.
        score_threshold: A detection needs a score above it.
        iou_threshold: A box is suppressed by a better one when their IoU is above it.
        max_detections: At most so many a picture.
        multi_label: Several classes for one box.
        agnostic: Suppress across classes.
        classes: Classes to keep, by id or name.
        trust_engine: Run an engine that yolokkn did not write. Engines are machine code: it may do what you may.
        precision: "fp32", "fp16" or "int8", where the backend tensorrt builds an engine of an .onnx file. None: float16 but
            for the head if the file computes in float32, else what it has. "int8" takes a file that is int8 already.
        rect: The input follows the frame's aspect, as it does anyhow where the file's sizes are free: less is computed, and
            the results differ a little. A file of fixed size is opened with free ones, where its graph allows it.

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
    )

    model = resolve_model(model)
    given = {
        "layout": layout, "imgsz": imgsz, "names": names, "anchors": anchors, "letterbox": letterbox, "threads": threads,
        "num_requests": num_requests, "classes": classes, "score_threshold": score_threshold,
        "iou_threshold": iou_threshold, "max_detections": max_detections, "multi_label": multi_label, "agnostic": agnostic,
    }  # fmt: skip
    if rect:
        from yolokkn.runtime.rectangular import load_rectangular

        others = {"device": device, "backend": backend, "trust_engine": trust_engine, "precision": precision}
        return load_rectangular(model, given | others)
    if backend == "auto" and isinstance(model, (str, Path, bytes)) and not _is_engine(model):
        if device not in (None, "cpu"):
            raise ValueError(f"backend: auto chooses among those that run on the CPU, got device {device!r}")
        return _load_fastest(model, threads, imgsz, given)
    chosen = backend or ("tensorrt" if _is_engine(model) else "onnxruntime")
    if _is_engine(model) and chosen != "tensorrt":
        raise ValueError(f"backend: must be tensorrt for an engine, got {chosen!r}; give the .onnx file")
    if precision is not None and not isinstance(model, (str, Path, bytes)):
        raise ValueError(f"precision: must be left out for a {type(model).__name__}, got {precision!r}")

    def open_network(content: str | Path | bytes) -> Backend:
        return open_backend(
            chosen, content, device=device, threads=threads, num_requests=num_requests, trust_engine=trust_engine,
            imgsz=_pair(imgsz), precision=precision,
        )  # fmt: skip

    name, engine = _open(model, open_network, device or "cpu", imgsz)
    facts = read_facts(engine.metadata)
    if names is not None:
        facts = replace(facts, class_names=COCO80 if names == "coco" else parse_names(names))
    if anchors is not None:
        facts = replace(facts, anchors=tuple(tuple((float(w), float(h)) for w, h in head) for head in anchors))
    loaded = _assemble(name, engine, facts, options, imgsz, layout, letterbox)
    return loaded if classes is None else loaded.with_options(classes=classes)


def _load_fastest(model: str | Path | bytes, threads: int | None, imgsz: Any, given: dict[str, Any]) -> Model:
    """Load a model on the backend that is the fastest for it here."""
    from yolokkn.runtime.backend_choice import choice_key, choose_backend

    if not isinstance(model, bytes) and not Path(model).is_file():
        return load(model, **given)  # says what is wrong
    choice, loaded = choose_backend(
        lambda name: load(model, backend=name, **given), choice_key(model, threads, _pair(imgsz))
    )
    loaded.backend.choice = f"{choice.backend}: {choice.reason}"
    return loaded


def _is_engine(model: Any) -> bool:
    return isinstance(model, (str, Path)) and Path(model).suffix.lower() in ENGINE_SUFFIXES


def _open(model: Any, open_network: Callable[..., Backend], device: str, imgsz: Any) -> tuple[str, Backend]:
    if isinstance(model, bytes):
        return "<bytes>", open_network(model)
    if isinstance(model, Backend):
        return model.name, model
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
        return path.name, open_network(content)
    if suffix == ".safetensors":
        raise ModelError(
            f"{path.name}: a checkpoint is opened by yolokkn.deploy.load_checkpoint_model, which needs torch"
        )
    if suffix in (".pt", ".pth"):
        raise ModelError(
            f"{path.name}: PyTorch checkpoints are not run (loading one executes code); export it to ONNX with its own tool"
        )
    return path.name, open_network(path)


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
    stride = facts.stride or DEFAULT_STRIDE
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
    is_stated = layout_name is not None or facts.layout is not None or (choice.is_certain and facts.task is not None)
    if not is_stated:
        probe = probe or _probe(engine, spec, batch, input_hw, name)
        problem = contradiction(choice.layout, probe, input_hw)
        if problem:
            raise LayoutError(
                f"{name}: its names and shapes say layout {choice.layout.name} ({choice.reason}), but its values do not: "
                f"{problem}; choose a layout with --layout NAME (layout=NAME)"
            )
    layout = choice.layout
    letterbox = letterbox or facts.letterbox
    if letterbox is not None and letterbox not in LETTERBOX_RULES:
        raise ValueError(f"letterbox: must be one of {', '.join(LETTERBOX_RULES)}, got {letterbox!r}")
    if letterbox is not None:
        layout = replace(layout, preprocess=replace(layout.preprocess, rule=cast(LetterboxRule, letterbox)))
    class_names, names_reason = _names(facts, layout.num_classes)
    rectangular = is_dynamic and layout.preprocess.rule == "letterbox"
    return Model(
        name,
        engine,
        spec,
        layout,
        choice.reason,
        options,
        class_names,
        names_reason,
        input_hw,
        rectangular,
        stride,
        batch,
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
    if len(pictures) != 1 or any(s.name != SIZE_INPUT for s in others):
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
    try:
        return as_float(engine.run(feeds | size_input(engine, batch, input_hw)))
    except Exception as error:
        raise ModelError(
            f"{name}: does not run at {input_hw[0]} x {input_hw[1]} (height x width): {str(error).strip()[:300]}"
        ) from error
