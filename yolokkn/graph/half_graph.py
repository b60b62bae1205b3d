"""A float32 ONNX graph as one that computes in float16 between float32 inputs and outputs, its head in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph.dataflow import Dataflow, any_subgraph, names_in_subgraphs
from yolokkn.graph.head_nodes import find_head
from yolokkn.graph.onnx_file import FLOAT, HALF, MAX_HALF, Model, parse_model
from yolokkn.graph.precision import QUANTIZED_OPS

TURNED_BY = "to_half 1"  # goes up when to_half writes other graphs: engines of before are built anew
_MIN_HALF = 2.0**-25  # below it a number becomes 0

# Operators that may compute in float16, and which of their inputs are numbers (None: all).
HALF_INPUTS: dict[str, tuple[int, ...] | None] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "MatMul", "Gemm", "BatchNormalization", "PRelu", "Concat", "Clip"), None),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"), None),
    **dict.fromkeys(("Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh"), None),
    **dict.fromkeys(("Mish", "Softplus", "Softsign", "Softmax", "Gelu", "Erf", "Neg", "Abs", "Identity"), None),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Transpose", "Flatten"), None),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth", "ReduceMean", "Resize", "Upsample", "Slice", "Split"), (0,)),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Expand", "Tile"), (0,)),
    "Pad": (0, 2),
}


def to_half(content: bytes, name: str = "model") -> bytes:
    """Return a graph that computes in float16, with the inputs, outputs and metadata of the given one.

    The last layers before the outputs, and everything behind them (sigmoid, softmax, the mean of a distribution, box
    arithmetic, suppression), stay float32; so does a layer with a weight that float16 cannot hold, and an operator that is
    not known to compute well in it. A graph that computes in float16 already comes back as it is.

    Args:
        content: The bytes of an ONNX file.
        name: What error messages call it.

    Raises:
        ModelError: It is no ONNX model, it is an int8 one, or it has nothing that could compute in float16.

    Example:
        >>> from yolokkn.graph import GraphBuilder, parse_model
        >>> builder = GraphBuilder("two layers")
        >>> x = builder.input("images", "float32", (1, 3, 8, 8))
        >>> w = builder.initializer("w", np.ones((3, 3, 1, 1), np.float32))
        >>> first = builder.node("Conv", [x, w], output="first")
        >>> builder.output(builder.node("Conv", [first, w], output="boxes"), "float32", (1, 3, 8, 8))
        >>> [node.op_type for node in parse_model(to_half(builder.to_bytes())).graph.node]
        ['Cast', 'Conv', 'Cast', 'Conv']
    """
    model = parse_model(content, name)
    refuse_int8(model, "to_half")
    flow = Dataflow(model.graph)
    chosen = _choose(flow)
    if not chosen:
        if any(flow.kinds.get(n) == "float16" for node in model.graph.node for n in node.output):
            return content
        raise ModelError(
            f"to_half: {name} must have float32 layers before its last ones, got none that can compute in float16"
        )
    _Rewrite(model, flow, chosen).run()
    return parse_model(model.to_bytes(), name).to_bytes()


def can_be_half(model: Model) -> bool:
    """Tell whether `to_half` finds anything in a model that can compute in float16."""
    return bool(_choose(Dataflow(model.graph)))


def refuse_int8(model: Model, function: str) -> None:
    """Raise ModelError for a graph that is quantised already."""
    found = sorted({node.op_type for node in model.graph.node} & QUANTIZED_OPS)
    if found:
        raise ModelError(
            f"{function}: {model.name} must be a float32 model, got an int8 one ({', '.join(found)}); "
            "give the file that it was made from"
        )


def _choose(flow: Dataflow) -> set[int]:
    """Return the places of the float32 nodes that shall compute in float16."""
    head = find_head(flow).nodes
    return {place for place in flow.picture_nodes() - head if _may_be_half(flow, flow.graph.node[place])}


def _may_be_half(flow: Dataflow, node: Any) -> bool:
    if node.domain or node.op_type not in HALF_INPUTS or any_subgraph(node):
        return False
    names = _numbers(node)
    if not names or any(flow.kinds.get(name) != "float32" for name in names):
        return False
    return all(name not in flow.constants or _holds(flow.constant_array(name)) for name in names)


def _numbers(node: Any) -> list[str]:
    places = HALF_INPUTS[node.op_type]
    return [name for i, name in enumerate(node.input) if name and (places is None or i in places)]


def _holds(values: np.ndarray | None) -> bool:
    """Tell whether float16 can hold a constant: its largest number, and a lone one that is not to become 0."""
    if values is None:
        return True
    largest = float(np.abs(values).max(initial=0))
    return largest <= MAX_HALF and (values.size > 1 or largest == 0 or largest > _MIN_HALF)


class _Rewrite:
    """Gives every value that float16 nodes make or take a second name; a Cast joins the two where both are used."""

    def __init__(self, model: Model, flow: Dataflow, chosen: set[int]) -> None:
        self._model, self._graph, self._flow, self._chosen = model, model.graph, flow, chosen
        self._made = {name for place in chosen for name in flow.graph.node[place].output if name}
        self._taken = set(flow.kinds) | names_in_subgraphs(flow.graph)
        self._half_names: dict[str, str] = {}
        self._casts: dict[int, list[Any]] = {}  # behind the node of this place; -1: before all
        self._weights: list[Any] = []
        self._node_class = type(flow.graph.node[0])

    def run(self) -> None:
        graph = self._graph
        for place in sorted(self._chosen):
            node = graph.node[place]
            for name in dict.fromkeys([*_numbers(node), *node.output]):
                if name and name not in self._half_names:
                    self._half_names[name] = self._half_of(name)
        for name in sorted(self._made & self._still_float()):
            self._cast(self._half_names[name], name, FLOAT, self._flow.producers[name])
        nodes = list(self._casts.get(-1, ()))
        for place, node in enumerate(graph.node):
            copy = self._node_class.FromString(node.SerializeToString())
            if place in self._chosen:
                self._rename(copy)
            nodes += [copy, *self._casts.get(place, ())]
        del graph.node[:]
        graph.node.extend(nodes)
        graph.initializer.extend(self._weights)
        self._model.proto.ir_version = max(self._model.ir_version, 4)  # initializers need not be inputs from 4 on
        self._drop_unused()

    def _half_of(self, name: str) -> str:
        """Return the name of a value's float16 twin, made where there is none."""
        flow, producer = self._flow, self._flow.producers.get(name)
        if producer is not None and flow.graph.node[producer].op_type == "Cast":
            source = flow.graph.node[producer].input[0]
            if flow.kinds.get(source) == "float16":
                return source
        half = self._free_name(f"{name}.half")
        if name in flow.constants:
            values = np.asarray(flow.constant_array(name)).astype("<f2")
            tensor = type(flow.constants[name])(name=half, data_type=HALF, raw_data=values.tobytes())
            tensor.dims.extend(values.shape)
            self._weights.append(tensor)
        elif name not in self._made:
            self._cast(name, half, HALF, -1 if producer is None else producer)
        return half

    def _free_name(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _cast(self, source: str, target: str, kind: int, place: int) -> None:
        node = self._node_class(op_type="Cast", name=f"{target}.cast", input=[source], output=[target])
        node.attribute.add(name="to", i=kind, type=2)
        self._casts.setdefault(place, []).append(node)

    def _still_float(self) -> set[str]:
        """Return the names that something which stays float32 uses."""
        used = {value.name for value in self._graph.output} | names_in_subgraphs(self._graph)
        for place, node in enumerate(self._graph.node):
            own = set(_numbers(node)) if place in self._chosen else set()
            used.update(name for name in node.input if name not in own)
        return used

    def _rename(self, node: Any) -> None:
        places = HALF_INPUTS[node.op_type]
        for i, name in enumerate(node.input):
            if name and (places is None or i in places):
                node.input[i] = self._half_names[name]
        node.output[:] = [self._half_names[name] if name else name for name in node.output]

    def _drop_unused(self) -> None:
        """Take out what only the float32 nodes used: weights, constants, casts of weights."""
        graph = self._graph
        used = {value.name for value in graph.output} | names_in_subgraphs(graph)
        kept = []
        for node in reversed(graph.node):
            if node.op_type in ("Constant", "Cast", "Identity") and not used.intersection(node.output):
                continue
            used.update(node.input)
            kept.append(self._node_class.FromString(node.SerializeToString()))
        del graph.node[:]
        graph.node.extend(reversed(kept))
        outputs = {name for node in kept for name in node.output}
        dropped = {tensor.name for tensor in graph.initializer if tensor.name not in used}
        _keep(graph.initializer, lambda tensor: tensor.name in used)
        _keep(graph.input, lambda value: value.name not in dropped)
        _keep(graph.value_info, lambda value: value.name in outputs)


def _keep(field: Any, wanted: Any) -> None:
    kept = [thing for thing in field if wanted(thing)]
    copies = [type(thing).FromString(thing.SerializeToString()) for thing in kept]
    del field[:]
    field.extend(copies)
