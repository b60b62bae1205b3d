"""What each ONNX operator does to shapes, and to the small integer tensors that shapes are computed with.

A rule takes the node's attributes and its input values (None for an absent one) and returns one value or a list. It may
raise ValueError, TypeError, LookupError, ArithmeticError or AttributeError where the inputs do not fit or are unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import numpy as np

MAX_DATA = 4096  # elements of a tensor whose values are followed


@dataclass(frozen=True)
class Value:
    """What is known of a tensor: its shape, and its elements where they are few and follow from shapes."""

    shape: tuple[int, ...] | None
    data: np.ndarray | None = None

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape; raises ValueError where it is unknown."""
        if self.shape is None:
            raise ValueError("unknown shape")
        return self.shape

    def ints(self) -> list[int]:
        """The elements as a flat list of int; raises ValueError where they are unknown."""
        if self.data is None:
            raise ValueError("unknown values")
        return [int(v) for v in self.data.reshape(-1)]

    def floats(self) -> list[float]:
        """The elements as a flat list of float; raises ValueError where they are unknown."""
        if self.data is None:
            raise ValueError("unknown values")
        return [float(v) for v in self.data.reshape(-1)]


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}


def rule_for(*op_types: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(op_types, function))
        return function

    return register


def value_of(array: Any) -> Value:
    """Return an array as a value; its elements are kept where they are few."""
    array = np.asarray(array)
    return Value(array.shape, array if array.size <= MAX_DATA else None)


@rule_for(
    *"Relu LeakyRelu PRelu Elu Selu Celu Gelu Mish Sigmoid HardSigmoid HardSwish Swish Tanh Softplus Softsign".split(),
    *"Exp Log Sqrt Abs".split(),
    *"Reciprocal Erf Sin Cos Tan Atan Clip Dropout Softmax LogSoftmax Not Sign Round ThresholdedRelu CumSum".split(),
    *"InstanceNormalization GroupNormalization LpNormalization QuickGelu BiasGelu LRN".split(),
    *"QuantizeLinear DequantizeLinear IsNaN IsInf Trilu ScatterND ScatterElements BitwiseNot Hardmax".split(),
)
def _same(attributes: dict[str, Any], x: Value, *rest: Value) -> list[Value]:
    return [Value(x.shape)] * attributes["__outputs__"]


@rule_for("BatchNormalization", "LayerNormalization")
def _first_same(attributes: dict[str, Any], x: Value, *rest: Value) -> Value:
    return Value(x.shape)


@rule_for("Identity", "Cast", "CastLike")
def _identity(attributes: dict[str, Any], x: Value, *rest: Value) -> Value:
    if x.data is not None and attributes.get("to") in (6, 7):
        return Value(x.shape, x.data.astype(np.int64))
    if x.data is not None and attributes.get("to") in (1, 10, 11):
        return Value(x.shape, x.data.astype(np.float64))
    return x


def _elementwise(function: Callable[..., Any]) -> Rule:
    def rule(attributes: dict[str, Any], *inputs: Value) -> Value:
        shape = np.broadcast_shapes(*(v.dims for v in inputs))
        if prod(shape) <= MAX_DATA and all(v.data is not None for v in inputs) and not attributes.get("fmod"):
            return value_of(function(*(v.data for v in inputs)))
        return Value(tuple(int(d) for d in shape))

    return rule


def _variadic(function: Callable[[Any, Any], Any]) -> Rule:
    return _elementwise(lambda *arrays: reduce(function, arrays))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind == "f":
        return a / b
    return (np.sign(a) * np.sign(b)) * (np.abs(a) // np.abs(b))  # integers truncate towards zero


for _name, _function in {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Mod": np.mod, "Pow": np.power,
    "Equal": np.equal, "Greater": np.greater, "Less": np.less, "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "Where": np.where, "Floor": np.floor, "Ceil": np.ceil, "Neg": np.negative,
}.items():  # fmt: skip
    RULES[_name] = _elementwise(_function)
for _name, _function in {"Min": np.minimum, "Max": np.maximum, "Sum": np.add}.items():
    RULES[_name] = _variadic(_function)


def _windows(
    attributes: dict[str, Any], spatial: tuple[int, ...], kernel: tuple[int, ...], *, ceil_mode: bool = False
) -> tuple[int, ...]:
    rank = len(spatial)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * (2 * rank)
    auto = attributes.get("auto_pad", b"NOTSET")
    sizes = []
    for i in range(rank):
        if auto in (b"SAME_UPPER", b"SAME_LOWER"):
            sizes.append(-(-spatial[i] // strides[i]))
            continue
        padding = 0 if auto == b"VALID" else pads[i] + pads[i + rank]
        room = spatial[i] + padding - dilations[i] * (kernel[i] - 1) - 1
        size = (-(-room // strides[i]) if ceil_mode else room // strides[i]) + 1
        if ceil_mode and (size - 1) * strides[i] >= spatial[i] + pads[i]:
            size -= 1  # a window may not begin in the padding at the end
        sizes.append(size)
    return tuple(sizes)


def _conv(attributes: dict[str, Any], x: Value, weight: Value) -> Value:
    kernel = tuple(attributes.get("kernel_shape") or weight.dims[2:])
    return Value((x.dims[0], weight.dims[0], *_windows(attributes, x.dims[2:], kernel)))


RULES["Conv"] = RULES["FusedConv"] = RULES["ConvInteger"] = lambda attributes, x, w, *rest: _conv(attributes, x, w)
RULES["QLinearConv"] = lambda attributes, x, xs, xz, w, *rest: _conv(attributes, x, w)


@rule_for("ConvTranspose")
def _conv_transpose(attributes: dict[str, Any], x: Value, weight: Value, *rest: Value) -> Value:
    spatial = x.dims[2:]
    rank = len(spatial)
    channels = weight.dims[1] * attributes.get("group", 1)
    if attributes.get("output_shape"):
        return Value((x.dims[0], channels, *attributes["output_shape"][-rank:]))
    kernel = attributes.get("kernel_shape") or weight.dims[2:]
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    extra = attributes.get("output_padding") or [0] * rank
    pads = attributes.get("pads") or [0] * (2 * rank)
    if attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        return Value((x.dims[0], channels, *(spatial[i] * strides[i] for i in range(rank))))
    sizes = (
        (spatial[i] - 1) * strides[i] + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - pads[i] - pads[i + rank]
        for i in range(rank)
    )
    return Value((x.dims[0], channels, *sizes))


@rule_for("MaxPool", "AveragePool", "LpPool")
def _pool(attributes: dict[str, Any], x: Value) -> list[Value]:
    spatial = _windows(
        attributes, x.dims[2:], tuple(attributes["kernel_shape"]), ceil_mode=bool(attributes.get("ceil_mode"))
    )
    return [Value((*x.dims[:2], *spatial))] * attributes["__outputs__"]


@rule_for("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(attributes: dict[str, Any], x: Value) -> Value:
    return Value((*x.dims[:2], *(1 for _ in x.dims[2:])))


def _matmul(a: Value, b: Value) -> Value:
    left, right = a.dims, b.dims
    if len(left) == 1 or len(right) == 1:
        outer = left[:-1] if len(right) == 1 else (*right[:-2], right[-1])
        return Value(outer)
    if left[-1] != right[-2]:
        raise ValueError("inner sizes differ")
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    return Value((*(int(d) for d in batch), left[-2], right[-1]))


RULES["MatMul"] = RULES["MatMulInteger"] = lambda attributes, a, b, *rest: _matmul(a, b)
RULES["QLinearMatMul"] = lambda attributes, a, a_scale, a_zero, b, *rest: _matmul(a, b)


@rule_for("Gemm")
def _gemm(attributes: dict[str, Any], a: Value, b: Value, *rest: Value) -> Value:
    rows = a.dims[1 if attributes.get("transA") else 0]
    return Value((rows, b.dims[0 if attributes.get("transB") else 1]))
