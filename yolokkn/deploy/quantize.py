"""A float32 ONNX graph as an int8 one: static quantisation by Q/DQ nodes, calibrated on real pictures."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.deploy.calibration import METHODS, ValueHistogram, calibration_feeds, collect_histograms
from yolokkn.deploy.onnx_check import check_onnx
from yolokkn.deploy.onnx_package import import_onnx
from yolokkn.errors import ModelError, did_you_mean
from yolokkn.graph.dataflow import Dataflow
from yolokkn.graph.half_graph import refuse_int8
from yolokkn.graph.head_nodes import LAYERS, find_head
from yolokkn.graph.onnx_file import FLOAT, Model, parse_model
from yolokkn.graph.onnx_rewrite import fold_constants, name_nodes, sort_nodes, unfold_constants

__all__ = ["METHODS", "LayerPlan", "calibration_feeds", "plan_layers", "quantize_int8"]

TARGETS: tuple[str, ...] = ("tensorrt", "cpu")
_LEAST_OPSET, _LEAST_IR = 13, 7  # of scales per channel
_MAX_OPSET, _MAX_IR = 18, 10
_CHAIN = ("Relu", "MaxPool", "Concat", "Resize", "Add")  # what CPUs compute in 8 bits between convolutions


@dataclass(frozen=True)
class LayerPlan:
    """Which layers of a graph become int8.

    Attributes:
        quantized: Names of the convolutions that do.
        kept: Names of the layers with weights that stay float32, and why.
    """

    quantized: tuple[str, ...]
    kept: Mapping[str, str]

    def text(self) -> str:
        """Return the plan as lines for people, the layers of one reason together."""
        lines = [f"{len(self.quantized)} layers in int8, {len(self.kept)} left in float32"]
        for reason in dict.fromkeys(self.kept.values()):
            names = [name for name, why in self.kept.items() if why == reason]
            more = f" and {len(names) - 4} more" if len(names) > 5 else ""
            lines.append(f"  {len(names)}: {reason}: {', '.join(names[: 4 if more else 5])}{more}")
        return "\n".join(lines)


def plan_layers(
    content: bytes, *, protect: Sequence[str] = (), depthwise: bool = False, name: str = "model"
) -> LayerPlan:
    """Say which layers `quantize_int8` makes int8 and which it leaves.

    Args:
        content: The bytes of an ONNX file.
        protect: Names of layers that shall stay.
        depthwise: Take depthwise convolutions, too.
        name: What error messages call the model.

    Raises:
        ModelError: The file is no float32 ONNX model, or has no layer to quantise.
        ValueError: There is no layer of a name to protect.
    """
    return _plan(_prepare(content, name), protect, depthwise)


def quantize_int8(
    content: bytes,
    feeds: Iterable[Mapping[str, np.ndarray]],
    *,
    target: str = "tensorrt",
    method: str = "mse",
    protect: Sequence[str] = (),
    depthwise: bool = False,
    name: str = "model",
) -> bytes:
    """Return a graph whose convolutions compute in int8, with the inputs, outputs and metadata of the given one.

    Weights have one scale for each output channel. The last layers before the outputs and everything behind them stay
    float32, and so do depthwise convolutions, whose channels differ too much for the one scale of their input. The graph
    runs on every backend. Opsets below 13, which have no scales for channels, become 13.

    Args:
        content: The bytes of a float32 ONNX file.
        feeds: What the model takes for each of some pictures (see `calibration_feeds`); 64 to 128 are enough.
        target: "tensorrt": symmetric int8 at the inputs of convolutions, which is all that TensorRT takes. "cpu": uint8 with
            a zero point, of which all but outliers use 7 bits, so that sums do not overflow on a CPU without VNNI
            (OpenVINO gives nonsense there with the other kind); where ReLU follows the convolutions, all between them is
            in 8 bits, too.
        method: How the range of each value is chosen, one of METHODS: see `ValueHistogram.value_range`.
        protect: Names of layers that shall stay float32.
        depthwise: Quantise depthwise convolutions, too.
        name: What error messages call the model.

    Raises:
        ModelError: The file is no float32 ONNX model, has nothing to quantise, or cannot be converted.
        MissingDependencyError: The package onnx is not installed.
        ValueError: There are no pictures, or an argument breaks its rule.

    Example:
        >>> import yolokkn
        >>> model = yolokkn.load("yolox_nano.onnx")  # doctest: +SKIP
        >>> feeds = calibration_feeds(model, "photos/")  # doctest: +SKIP
        >>> int8 = quantize_int8(Path("yolox_nano.onnx").read_bytes(), feeds)  # doctest: +SKIP
    """
    for argument, value, legal in (("target", target, TARGETS), ("method", method, METHODS)):
        if value not in legal:
            raise ValueError(
                f"quantize_int8: {argument} must be one of {', '.join(legal)}, got {value!r}{did_you_mean(value, legal)}"
            )
    onnx = import_onnx("quantize_int8")
    model = _prepare(content, name)
    plan = _plan(model, protect, depthwise)
    if model.opset < _LEAST_OPSET:
        model = _with_opset(onnx, model)
    chain = _chained(model, plan) if target == "cpu" else []
    nodes = [node for node in model.graph.node if node.name in {*plan.quantized, *chain}]
    histograms = collect_histograms(model.to_bytes(), _values_of(model, nodes, bool(chain)), feeds, name)
    for value in histograms:  # the quantiser goes by declared types
        model.graph.value_info.add(name=value).type.tensor_type.elem_type = FLOAT
    symmetric = target == "tensorrt"
    choose = _symmetric_range if symmetric else _seven_bits_of_eight
    ranges = {value: choose(histogram, method) for value, histogram in histograms.items()}
    return _finish(_insert(onnx, model, nodes, ranges, symmetric, bool(chain)), parse_model(content, name))


def _prepare(content: bytes, name: str) -> Model:
    """Return the model with its weights as initializers, every node named, and no declared shapes."""
    model = parse_model(content, name)
    refuse_int8(model, "quantize_int8")
    if not 7 <= model.opset <= _MAX_OPSET:
        raise ModelError(f"quantize_int8: {name} must have opset 7 to {_MAX_OPSET}, got {model.opset}; export it anew")
    fold_constants(model)
    name_nodes(model)
    del model.graph.value_info[:]
    return parse_model(model.to_bytes(), name)


def _plan(model: Model, protect: Sequence[str], depthwise: bool) -> LayerPlan:
    flow = Dataflow(model.graph)
    head = find_head(flow)
    quantized: list[str] = []
    kept: dict[str, str] = {}
    for place in sorted(flow.picture_nodes()):
        node = model.graph.node[place]
        if node.domain or node.op_type not in LAYERS:
            continue
        reason = _reason_to_keep(flow, node, depthwise)
        if place in head.layers:
            reason = "a last layer before the outputs"
        elif place in head.after:
            reason = "arithmetic after the last layers"
        elif node.name in protect:
            reason = "asked for"
        if reason:
            kept[node.name] = reason
        else:
            quantized.append(node.name)
    unknown = [name for name in protect if name not in kept]
    if unknown:
        raise ValueError(
            f"quantize_int8: protect must name layers of {model.name}, got {unknown[0]!r}"
            f"{did_you_mean(unknown[0], [*quantized, *kept])}"
        )
    if not quantized:
        raise ModelError(f"quantize_int8: {model.name} must have float32 convolutions before its last layers, got none")
    return LayerPlan(tuple(quantized), kept)


def _reason_to_keep(flow: Dataflow, node: Any, depthwise: bool) -> str:
    if node.op_type != "Conv":
        return f"a {node.op_type}, not a convolution"
    weights = flow.constant_array(node.input[1])
    if weights is None or flow.kinds.get(node.input[0]) != "float32":
        return "weights or input not in float32, or weights computed in the graph"
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    if groups > 1 and groups == weights.shape[0] and not depthwise:
        return "a depthwise convolution"
    return ""


def _with_opset(onnx: Any, model: Model) -> Model:
    try:
        converted = onnx.version_converter.convert_version(onnx.load_model_from_string(model.to_bytes()), _LEAST_OPSET)
    except (RuntimeError, ValueError) as error:  # whatever the converter has no rule for
        raise ModelError(
            f"quantize_int8: {model.name} has opset {model.opset}, which onnx cannot raise to {_LEAST_OPSET}: "
            f"{str(error).strip()[:200]}; export it with opset {_LEAST_OPSET} or more"
        ) from error
    return parse_model(converted.SerializeToString(), model.name)


def _chained(model: Model, plan: LayerPlan) -> list[str]:
    """Return the names of the nodes that can stay in 8 bits between convolutions on a CPU.

    Empty where a convolution is followed by anything else, such as SiLU: 8 bits before it cost much accuracy and, with the
    conversions around it, time.
    """
    flow = Dataflow(model.graph)
    chosen = set(plan.quantized)
    given = {name for node in model.graph.node if node.name in chosen for name in node.output}
    users = {node.op_type for node in model.graph.node if given.intersection(node.input)}
    if users - {"Conv", *_CHAIN}:
        return []
    between = flow.picture_nodes() - find_head(flow).nodes
    nodes = [model.graph.node[place] for place in sorted(between)]
    return [node.name for node in nodes if node.op_type in _CHAIN and flow.kinds.get(node.output[0]) == "float32"]


def _symmetric_range(histogram: ValueHistogram, method: str) -> tuple[float, float]:
    return histogram.value_range(method, symmetric=True)


def _seven_bits_of_eight(histogram: ValueHistogram, method: str) -> tuple[float, float]:
    """Return a range whose lower half holds the numbers: two products with weights of 8 bits then fit into 16 bits."""
    low, high = histogram.value_range(method, symmetric=False, bits=7)
    return low, low + (high - low) * 255 / 127


def _values_of(model: Model, nodes: Sequence[Any], with_outputs: bool) -> list[str]:
    """Return the names of the float32 values that the nodes take, and give, weights left out."""
    flow = Dataflow(model.graph)
    names: list[str] = []
    for node in nodes:
        names += node.input[:1] if node.op_type == "Resize" else node.input
        names += node.output if with_outputs else ()
    return [n for n in dict.fromkeys(names) if n and not flow.is_constant(n) and flow.kinds.get(n) == "float32"]


def _insert(
    onnx: Any,
    model: Model,
    nodes: Sequence[Any],
    ranges: Mapping[str, tuple[float, float]],
    symmetric: bool,
    with_outputs: bool,
) -> Model:
    """Let ONNX Runtime's quantiser put the Q/DQ nodes and the int8 weights in."""
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ops = sorted({node.op_type for node in nodes})
    ends = {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}
    options: dict[str, Any] = {
        "ActivationSymmetric": symmetric,
        "WeightSymmetric": True,
        "QuantizeBias": with_outputs,  # TensorRT-RTX reads no int32 biases
        "OpTypesToExcludeOutputQuantization": [] if with_outputs else ops,
    }
    with contextlib.redirect_stdout(io.StringIO()), _quiet_root_logger():
        quantizer = QDQQuantizer(
            onnx.load_model_from_string(model.to_bytes()),
            True,  # weights by channel
            False,  # of 8 bits
            QuantType.QInt8,
            QuantType.QInt8 if symmetric else QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, ends),
            [node.name for node in nodes],
            [],
            ops,
            options,
        )
        quantizer.quantize_model()
    return parse_model(quantizer.model.model.SerializeToString(), model.name)


@contextlib.contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Keep the quantiser's remarks, which go through the root logger, from the user."""
    root = logging.getLogger()
    root.addFilter(_drop)
    try:
        yield
    finally:
        root.removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _finish(model: Model, original: Model) -> bytes:
    """Give the quantised graph what the original says of itself."""
    proto = model.proto
    del proto.metadata_props[:]
    proto.metadata_props.extend(original.proto.metadata_props)
    proto.producer_name, proto.producer_version = original.proto.producer_name, original.proto.producer_version
    proto.ir_version = min(max(original.ir_version, _LEAST_IR), _MAX_IR)
    domains = {node.domain for node in model.graph.node} | {""}
    for i in reversed(range(len(proto.opset_import))):
        if proto.opset_import[i].domain not in domains:
            del proto.opset_import[i]
    del model.graph.value_info[:]
    unfold_constants(model, {name for n in original.graph.node if n.op_type == "Constant" for name in n.output})
    sort_nodes(model)
    content = parse_model(model.to_bytes(), original.name).to_bytes()
    check_onnx(content, "quantize_int8", original.to_bytes())
    return content
