"""Shapes of every value of a graph, inferred from the shapes of its inputs; nothing is run or allocated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph.dataflow import topological_order
from yolokkn.graph.onnx_file import DATA_TYPES, tensor_array
from yolokkn.graph.shape_moves import RULES
from yolokkn.graph.shape_rules import MAX_DATA, Value

_UNKNOWN = Value(None)
_SCALARS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}


def infer_shapes(
    graph: Any,
    input_shapes: Mapping[str, tuple[int, ...]],
    opset: int,
    too_large: dict[str, tuple[int, ...]] | None = None,
) -> dict[str, Value]:
    """Infer the shape of every value of a graph, following shape arithmetic (Shape, Gather, Concat, Reshape, ...).

    Args:
        graph: A GraphProto.
        input_shapes: Shape of each input; every other input's shape is unknown.
        opset: Version of the default operator set.
        too_large: Takes the shapes that are beyond all reason (a size of 2**40 or more, over 16 sizes); in the result
            they are unknown.

    Returns:
        Value by name. An operator without a rule, or one that its inputs do not fit, gives unknown shapes; there the
        shapes that the file itself declares are taken where they are complete.
    """
    values: dict[str, Value] = {name: Value(shape) for name, shape in input_shapes.items()}
    for tensor in graph.initializer:
        values[tensor.name] = constant_value(tensor)
    declared = _declared_shapes(graph)
    for place in topological_order(graph.node):
        node = graph.node[place]
        inputs = [values.get(name, _UNKNOWN) if name else None for name in node.input]
        outputs = _apply_rule(node, inputs, opset)
        for i, name in enumerate(node.output[: len(outputs)]):
            if not _is_sane(outputs[i]):
                if too_large is not None:
                    too_large[name] = outputs[i].dims
                outputs[i] = _UNKNOWN
        for name, value in zip(node.output, outputs + [_UNKNOWN] * len(node.output), strict=False):
            values[name] = value if value.shape is not None or name not in declared else Value(declared[name])
    return values


def constant_value(tensor: Any) -> Value:
    """Return the shape of a checked TensorProto, with its elements where they are few enough for shape arithmetic."""
    shape = tuple(tensor.dims)
    size = 1
    for d in shape:
        size *= d
    if size > MAX_DATA or DATA_TYPES[tensor.data_type][0] == "string":
        return Value(shape)
    try:
        return Value(shape, tensor_array(tensor))
    except (ModelError, ValueError):
        return Value(shape)


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name: numbers, bytes, lists, or TensorProto."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        field = _SCALARS.get(attribute.type)
        if field is not None:
            value = getattr(attribute, field)
            found[attribute.name] = list(value) if field in ("floats", "ints", "strings") else value
    return found


def _apply_rule(node: Any, inputs: list[Value | None], opset: int) -> list[Value]:
    rule = RULES.get(node.op_type)
    if node.op_type == "Constant":
        return [_constant_node(node)]
    if rule is None:
        return []
    attributes = attributes_of(node)
    attributes["__outputs__"] = len(node.output)
    attributes["__opset__"] = opset
    try:
        with np.errstate(all="ignore"):
            outputs = rule(attributes, *inputs)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, RecursionError):
        return []  # what does not fit has no shape; the caller learns of it where a shape is needed
    return list(outputs) if isinstance(outputs, list) else [outputs]


def _is_sane(value: Value) -> bool:
    return value.shape is None or (len(value.shape) <= 16 and all(0 <= d < 2**40 for d in value.shape))


def _constant_node(node: Any) -> Value:
    attributes = attributes_of(node)
    if "value" in attributes:
        return constant_value(attributes["value"])
    for key, dtype in (("value_int", "i8"), ("value_ints", "i8"), ("value_float", "f4"), ("value_floats", "f4")):
        if key in attributes:
            array = np.array(attributes[key], dtype)
            return Value(array.shape, array if array.size <= MAX_DATA else None)
    return _UNKNOWN


def _declared_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for info in graph.value_info:
        if info.type.tensor_type.HasField("shape"):
            dims = info.type.tensor_type.shape.dim
            if len(dims) <= 16 and all(0 < d.dim_value < 2**40 for d in dims):
                found[info.name] = tuple(int(d.dim_value) for d in dims)
    return found
