"""Which precision a model file has, read from its graph."""

from __future__ import annotations

from yolokkn.graph.onnx_file import DATA_TYPES, FLOAT, Model, walk_nodes, walk_tensors

PRECISIONS = ("fp32", "fp16", "int8")  # from the most exact to the least

QUANTIZED_OPS = frozenset(
    "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul QLinearAdd ConvInteger "
    "MatMulInteger QGemm".split()
)
_HALVES = ("float16", "bfloat16")


def graph_precision(model: Model) -> tuple[str, str]:
    """Tell the precision of a model and how it was seen.

    Args:
        model: From `read_model`.

    Returns:
        One of "fp32", "fp16", "int8"; and the reason for messages. A graph of float16 weights is "fp16" whether it
        computes in float16 or only stores them so (`computing_precision` tells these apart); one with any quantized node is
        "int8".

    Example:
        >>> from yolokkn.graph import GraphBuilder, parse_model
        >>> builder = GraphBuilder("half")
        >>> x = builder.input("x", "float32", (1, 4))
        >>> builder.output(builder.node("Relu", [x], output="y"), "float32", (1, 4))
        >>> graph_precision(parse_model(builder.to_bytes()))
        ('fp32', 'no float16 weights, nothing quantized')
    """
    quantized = sum(node.op_type in QUANTIZED_OPS for node in walk_nodes(model.proto))
    if quantized:
        return "int8", f"{quantized} quantized nodes (QuantizeLinear and the like)"
    weights = [DATA_TYPES[t.data_type][0] for t in walk_tensors(model.proto) if len(t.dims) > 1]
    halves = sum(kind in _HALVES for kind in weights)
    if halves:
        return "fp16", f"{halves} of {len(weights)} weights are float16"
    if any(info.dtype in _HALVES for info in (*model.inputs, *model.outputs)):
        return "fp16", "its inputs or outputs are float16"
    return "fp32", "no float16 weights, nothing quantized"


def computing_precision(model: Model) -> str:
    """Tell the precision of a model's arithmetic: "fp32" where float16 weights are only stored, each behind a Cast.

    Args:
        model: From `read_model`.
    """
    precision, _ = graph_precision(model)
    if precision != "fp16" or any(info.dtype in _HALVES for info in (*model.inputs, *model.outputs)):
        return precision
    halves = {t.name for t in model.graph.initializer if DATA_TYPES[t.data_type][0] in _HALVES}
    users = [n for n in walk_nodes(model.proto) if halves.intersection(n.input)]
    widened = [any(a.name == "to" and a.i == FLOAT for a in n.attribute) for n in users if n.op_type == "Cast"]
    return "fp32" if users and len(widened) == len(users) and all(widened) else "fp16"


def must_turn(model: Model, precision: str) -> bool:
    """Tell whether a graph must be turned into a precision: it may be there already.

    Raises:
        ValueError: There is no such precision, or the graph has another one already that does not turn into it.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    present = computing_precision(model)
    if present == precision:
        return False
    if present == "int8" or precision == "fp32":
        raise ValueError(
            f"precision: {model.name} computes in {present} already, got {precision}; say {present}, or give the file that it "
            "was made from"
        )
    return True


def less_exact(*precisions: str) -> str:
    """Return the least exact of some precisions.

    Example:
        >>> less_exact("fp32", "int8", "fp16")
        'int8'
    """
    return max(precisions, key=PRECISIONS.index)
