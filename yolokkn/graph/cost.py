"""What a model costs: its weights and its floating-point operations, counted along the graph without running it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from yolokkn.graph.onnx_file import DATA_TYPES
from yolokkn.graph.shapes import attributes_of, infer_shapes

if TYPE_CHECKING:
    from yolokkn.graph.onnx_file import Model, TensorInfo
    from yolokkn.graph.shape_rules import Value

# position of the weight (or second factor) among the inputs of each operator that multiplies and adds
_WEIGHT_INPUT = {
    "Conv": 1,
    "FusedConv": 1,
    "ConvInteger": 1,
    "QLinearConv": 3,
    "ConvTranspose": 1,
    "MatMul": 1,
    "MatMulInteger": 1,
    "QLinearMatMul": 3,
    "Gemm": 1,
}
_SCALE_INPUTS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
}
_OTHERS_WITH_WEIGHTS = ("BatchNormalization", "PRelu", "LayerNormalization", "InstanceNormalization")
_WEIGHT_TYPES = {"float32", "float64", "float16", "bfloat16", "int8", "uint8", "int4", "uint4"}


@dataclass(frozen=True)
class ModelCost:
    """Cost of one pass of a model over one image.

    Attributes:
        parameters: Number of weights.
        gflops: Billions of floating-point operations, two for each multiply-add of Conv, ConvTranspose, MatMul and
            Gemm; None where it cannot be known.
        reason: Why gflops is None; empty otherwise.
    """

    parameters: int
    gflops: float | None
    reason: str = ""


def model_cost(model: Model, input_hw: tuple[int, int] | None = None) -> ModelCost:
    """Count the weights and the operations of a model; nothing is run.

    Args:
        model: From `read_model`.
        input_hw: Height and width of the image, for models whose input leaves them open.

    Returns:
        The cost for a batch of one. Takes milliseconds.
    """
    parameters = count_parameters(model.graph)
    shapes: dict[str, tuple[int, ...]] = {}
    for info in model.inputs:
        shape = _concrete_shape(info, input_hw)
        if isinstance(shape, str):
            return ModelCost(parameters, None, shape)
        shapes[info.name] = shape
    values = infer_shapes(model.graph, shapes, model.opset)
    macs = 0
    for index, node in enumerate(model.graph.node):
        try:
            macs += _node_macs(node, values)
        except (ValueError, LookupError, KeyError):
            what = f"the shapes at node {index} ({node.op_type} {node.name!r}) cannot be inferred"
            return ModelCost(parameters, None, what)
    return ModelCost(parameters, 2 * macs / 1e9)


def count_parameters(graph: Any) -> int:
    """Count the weights of a GraphProto: float and small-integer initializers, and constants used as weights.

    Scales and zero points are none; a stored tensor behind a DequantizeLinear is, biases of int32 among them.
    """
    constants = {node.output[0]: node for node in graph.node if node.op_type == "Constant" and node.output}
    dequantized = {node.input[0] for node in graph.node if node.op_type == "DequantizeLinear" and node.input}
    around = {node.input[i] for node in graph.node for i in _scales_of(node)}  # scales and zero points
    total = sum(
        int(prod(tensor.dims)) if tensor.name in dequantized else _num_weights(tensor)  # int32 biases among them
        for tensor in graph.initializer
        if tensor.name not in around
    )
    counted: set[str] = set()
    for node in graph.node:
        if node.op_type in _WEIGHT_INPUT or node.op_type in _OTHERS_WITH_WEIGHTS:
            counted.update(name for name in node.input[1:] if name in constants)
    return total + sum(
        _num_weights(attribute.t)
        for name in counted
        for attribute in constants[name].attribute
        if attribute.name == "value"
    )


def _scales_of(node: Any) -> list[int]:
    """Return which inputs of a node are scales and zero points: numbers of the quantisation, no weights."""
    places = _SCALE_INPUTS.get(node.op_type, ())
    return [i for i in places if i < len(node.input) and node.input[i]]


def _num_weights(tensor: Any) -> int:
    is_weight = DATA_TYPES.get(tensor.data_type, ("",))[0] in _WEIGHT_TYPES
    return int(prod(tensor.dims)) if is_weight else 0


def _concrete_shape(info: TensorInfo, input_hw: tuple[int, int] | None) -> tuple[int, ...] | str:
    shape = list(info.shape)
    if len(shape) == 4:
        h_axis = 1 if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4) else 2
        for axis, size in zip((h_axis, h_axis + 1), input_hw or (), strict=False):
            if isinstance(shape[axis], int) and shape[axis] != size:
                fixed = f"{info.shape[h_axis]}x{info.shape[h_axis + 1]}"
                return f"the input {info.name!r} is fixed at {fixed}, so its cost at {size} does not exist"
            shape[axis] = size
    if shape and not isinstance(shape[0], int):
        shape[0] = 1
    if not all(isinstance(d, int) for d in shape):
        return f"the input {info.name!r} has open sizes {info.shape}; give input_hw"
    batch_of_one = [1, *shape[1:]] if len(shape) == 4 else shape
    return tuple(int(d) for d in batch_of_one if d is not None)


def _node_macs(node: Any, values: dict[str, Value]) -> int:
    position = _WEIGHT_INPUT.get(node.op_type)
    if position is None:
        if any(a.HasField("g") and _has_products(a.g) for a in node.attribute):
            raise ValueError("products inside a subgraph")
        return 0
    weight = values[node.input[position]].dims
    if node.op_type == "ConvTranspose":
        return prod(values[node.input[0]].dims) * prod(weight[1:])
    output = prod(values[node.output[0]].dims)
    if node.op_type == "Gemm":
        return output * weight[1 if attributes_of(node).get("transB") else 0]
    if "MatMul" in node.op_type:
        return output * weight[max(len(weight) - 2, 0)]
    return output * prod(weight[1:])


def _has_products(graph: Any) -> bool:
    return any(
        node.op_type in _WEIGHT_INPUT or any(a.HasField("g") and _has_products(a.g) for a in node.attribute)
        for node in graph.node
    )
