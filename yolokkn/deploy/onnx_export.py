"""A network as an ONNX file that says what it is, proven equal to the network before anybody sees it."""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from yolokkn.deploy.onnx_check import check_onnx
from yolokkn.deploy.onnx_verify import INPUT, Trace, largest, pictures, run, verify_export
from yolokkn.errors import MissingDependencyError, ModelError
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.graph import Model, model_cost, parse_model, read_model
from yolokkn.graph.onnx_rewrite import forget_origin, remove_identities, set_metadata, set_sizes, store_half
from yolokkn.layouts import ExportLayout
from yolokkn.models import Deployable, Network
from yolokkn.models.finished import BestClassTable, Suppression

OPSETS = range(11, 19)
MAX_IR_VERSION = 10
_MAX_SUMMARY = 100_000  # characters


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how well it agrees.

    Attributes:
        path: The file; None while it is bytes.
        num_bytes: Its size.
        layout: Name of the runtime's layout.
        input_shape: Sizes of the input; text where they are free.
        outputs: Sizes of each output.
        opset: Version of the operators.
        ir_version: Version of the format.
        parameters: Weights in it.
        gflops: Of one picture; None where they cannot be counted.
        num_half: Weights stored as float16.
        differences: Per output the largest difference between ONNX Runtime and the network, over random pictures; of layouts
            with tables of finished boxes: of the decoded head before them.
        rounding: Per output the largest difference that storing weights as float16 makes; empty without.
        keeps: What of the network's detections the layout's tables keep, in words; empty where all of them.
    """

    path: Path | None
    num_bytes: int
    layout: str
    input_shape: tuple[int | str, ...]
    outputs: Mapping[str, tuple[int | str, ...]]
    opset: int
    ir_version: int
    parameters: int
    gflops: float | None
    num_half: int
    differences: Mapping[str, float]
    rounding: Mapping[str, float]
    keeps: str = ""

    def text(self) -> str:
        """Return the report as lines for people."""
        outputs = ", ".join(f"{name} {_sizes(shape)}" for name, shape in self.outputs.items())
        cost = f", {self.gflops:.2f} GFLOPs" if self.gflops is not None else ""
        of = ", in the decoded head before the table" if self.keeps else ""
        lines = [
            f"{self.path or 'model'}: {self.num_bytes / 1e6:.2f} MB, {self.parameters:,} parameters{cost}, "
            f"opset {self.opset}, IR {self.ir_version}",
            f"input {INPUT} {_sizes(self.input_shape)}; layout {self.layout}: {outputs}",
            f"largest difference to the network{of}: {_differences(self.differences)}",
            *([f"{self.keeps}; AP measured of this file is lower than the network's for it"] if self.keeps else []),
        ]
        if self.num_half:
            lines.append(
                f"{self.num_half} tensors stored as float16, which changes at most {_differences(self.rounding)}"
            )
        return "\n".join(lines)


def _sizes(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(str(n) for n in shape) + ")"


def _differences(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2g}" for name, value in values.items())


def export_onnx(
    network: Network,
    path: Path,
    *,
    imgsz: tuple[int, int] | None = None,
    batch: int | None = 1,
    dynamic_hw: bool = False,
    opset: int = 17,
    half: bool = False,
    layout: ExportLayout | None = None,
    suppression: Suppression | None = None,
    summary: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a network as an ONNX file that `yolokkn.load` reads, and prove that it gives the same numbers.

    Args:
        network: What to export; it is not changed.
        path: The `.onnx` file; its folder must exist.
        imgsz: Height and width of the input, or the default of a free one; the network's own by default.
        batch: Pictures in one run; None leaves it free.
        dynamic_hw: Leave height and width free (multiples of the network's stride).
        opset: Version of the operators, 11 to 18.
        half: Store the convolutions' weights as float16, computing in float32: half the file.
        layout: What the file gives, see `Deployable`; "raw" for detection with anchors and "decoded" else, by default.
        suppression: What layouts that suppress inside the graph keep.
        summary: What the file shall say of its training, as JSON values.
        overwrite: Replace a file that is there.

    Returns:
        Sizes, cost and the largest differences found.

    Raises:
        FileExistsError: The file is there and may not be replaced.
        ValueError: An argument breaks its rule.
        MissingDependencyError: The package onnx, which torch exports with, is not installed.
        ModelError: The exported model does not give the network's numbers; nothing is written then.
    """
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise ValueError(f"export_onnx: path must end in .onnx, got {path.name}")
    refuse_existing(path, overwrite)
    content, report = build_onnx(
        network,
        imgsz=imgsz,
        batch=batch,
        dynamic_hw=dynamic_hw,
        opset=opset,
        half=half,
        layout=layout,
        suppression=suppression,
        summary=summary,
    )
    write_atomically(path, content)
    if read_model(path).to_bytes() != parse_model(content).to_bytes():
        raise ModelError(f"export_onnx: {path} must read back as it was written; is the disk failing?")
    return ExportReport(**{**report.__dict__, "path": path})


def build_onnx(
    network: Network,
    *,
    imgsz: tuple[int, int] | None = None,
    batch: int | None = 1,
    dynamic_hw: bool = False,
    opset: int = 17,
    half: bool = False,
    layout: ExportLayout | None = None,
    suppression: Suppression | None = None,
    summary: Mapping[str, Any] | None = None,
    verify: bool = True,
) -> tuple[bytes, ExportReport]:
    """Make the bytes of `export_onnx`'s file.

    Args:
        network: See `export_onnx`, also for the rest.
        imgsz: Height and width.
        batch: Pictures in one run, or None.
        dynamic_hw: Leave height and width free.
        opset: Version of the operators.
        half: Store weights as float16.
        layout: What the file gives.
        suppression: What the graph keeps.
        summary: What the file shall say of its training.
        verify: Run it and compare; without, the differences stay empty.
    """
    if opset not in OPSETS:
        raise ValueError(f"export_onnx: opset must be {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    if batch is not None and not 1 <= batch <= 1024:
        raise ValueError(f"export_onnx: batch must be 1 to 1024, or None for a free one, got {batch}")
    size = imgsz or network.spec.imgsz
    exact = Deployable(network, None if dynamic_hw else size, layout, suppression).eval().cpu()
    rounded = _with_half_weights(exact) if half else exact
    trace = _tracer(batch, dynamic_hw, opset)
    model = parse_model(trace(rounded, torch.zeros(batch or 2, 3, *size)), "exported model")
    remove_identities(model)
    forget_origin(model, f"yolokkn {network.spec.family}")
    shapes = _name_sizes(model, rounded, size, batch, dynamic_hw)
    num_half = store_half(model) if half else 0
    set_metadata(model, {**rounded.metadata(), "imgsz": json.dumps(list(size)), **_summary(summary)})
    content = model.to_bytes()
    model = parse_model(content, "exported model")
    if model.ir_version > MAX_IR_VERSION or model.opset != opset:
        raise ModelError(
            f"export_onnx: must give IR {MAX_IR_VERSION} or less and opset {opset}, got {model.ir_version}, {model.opset}"
        )
    if verify:
        check_onnx(content, "export_onnx")
    cost = model_cost(model, size)
    report = ExportReport(
        None, len(content), rounded.layout, shapes.pop(INPUT), shapes, model.opset, model.ir_version, cost.parameters,
        cost.gflops, num_half, _verify(content, rounded, trace, size, batch, dynamic_hw) if verify else {},
        _rounding(exact, rounded, size) if half else {}, "" if rounded.finish is None else rounded.finish.keeps,
    )  # fmt: skip
    return content, report


def _summary(summary: Mapping[str, Any] | None) -> dict[str, str]:
    if not summary:
        return {}
    text = json.dumps(summary, allow_nan=False)
    if len(text) > _MAX_SUMMARY:
        raise ValueError(f"export_onnx: summary must have at most {_MAX_SUMMARY} characters as JSON, got {len(text)}")
    return {"training": text}


def _with_half_weights(deployable: Deployable) -> Deployable:
    """Return a copy whose convolutions have weights that float16 holds exactly; those it cannot hold stay."""
    rounded = copy.deepcopy(deployable)
    for module in rounded.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            half = module.weight.detach().half().float()
            if torch.isfinite(half).all():
                module.weight = nn.Parameter(half, requires_grad=False)
    return rounded


def _tracer(batch: int | None, dynamic_hw: bool, opset: int) -> Trace:
    """Return what turns a module into an ONNX file; pictures keep the sizes free that the arguments say."""

    def trace(module: nn.Module, example: torch.Tensor) -> bytes:
        names = list(getattr(module, "output_names", ()))
        free: dict[str, dict[int, str]] = {}
        if batch is None:
            free = {name: {0: "batch"} for name in (INPUT, *names)}
        if dynamic_hw and example.ndim == 4:
            free.setdefault(INPUT, {}).update({2: "height", 3: "width"})
        return _export(module, example, names, free, opset)

    return trace


def _export(
    module: nn.Module, example: torch.Tensor, names: list[str], free: dict[str, dict[int, str]], opset: int
) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's remarks on constants; what it gave is compared below
        try:
            torch.onnx.export(
                module, (example,), buffer, dynamo=False, opset_version=opset, input_names=[INPUT],
                output_names=names, dynamic_axes=free, do_constant_folding=True,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            if "onnx is not installed" in str(error):
                raise MissingDependencyError(
                    "export_onnx: the package onnx must be installed; run: pip install 'yolokkn[train]'"
                ) from error
            raise
    return buffer.getvalue()


def _name_sizes(
    model: Model, deployable: Deployable, size: tuple[int, int], batch: int | None, dynamic_hw: bool
) -> dict[str, tuple[int | str, ...]]:
    """Write the sizes of the input and the outputs into the model, for the tracer's are partly guesses."""
    first: int | str = "batch" if batch is None else batch
    height_width: tuple[int | str, ...] = ("height", "width") if dynamic_hw else size
    shapes: dict[str, tuple[int | str, ...]] = {INPUT: (first, 3, *height_width)}
    for name, output in run(deployable, torch.zeros(1, 3, *size)).items():
        sizes: list[int | str] = [first, *output.shape[1:]]
        if dynamic_hw and output.ndim == 4:
            sizes[2:] = [f"{name}_rows", f"{name}_columns"]
        elif dynamic_hw and deployable.finish is None:
            sizes[2] = "anchors"
        elif dynamic_hw and isinstance(deployable.finish, BestClassTable):
            sizes[1] = "anchors"
        shapes[name] = tuple(sizes)
    for name, shape in shapes.items():
        set_sizes(model, name, shape)
    return shapes


def _verify(
    content: bytes, deployable: Deployable, trace: Trace, size: tuple[int, int], batch: int | None, dynamic_hw: bool
) -> dict[str, float]:
    stride = max(deployable.head.strides)
    sizes = [size, (size[0], max(size[1] // 2 // stride, 1) * stride)] if dynamic_hw else [size]
    return verify_export(content, deployable, trace, sizes, [1, 2] if batch is None else [batch])


def _rounding(exact: Deployable, rounded: Deployable, size: tuple[int, int]) -> dict[str, float]:
    images = pictures(1, size)
    return largest(run(exact.without_finish(), images), run(rounded.without_finish(), images))
