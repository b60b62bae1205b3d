"""Who makes and who uses each value of an ONNX graph, of which type it is, and which are constants."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from yolokkn.graph.onnx_file import DATA_TYPES, tensor_array

_FOLLOWED = ("Cast", "Identity")  # between a stored constant and its user
_SAME_AS_SECOND = ("Where",)
_FIXED_KINDS = {
    "Shape": "int64",
    "Size": "int64",
    "NonZero": "int64",
    "ArgMax": "int64",
    "ArgMin": "int64",
    "NonMaxSuppression": "int64",
    "Equal": "bool",
    "Greater": "bool",
    "GreaterOrEqual": "bool",
    "Less": "bool",
    "LessOrEqual": "bool",
    "And": "bool",
    "Or": "bool",
    "Not": "bool",
    "IsNaN": "bool",
    "IsInf": "bool",
}
_SECOND_IS_INDEX = ("TopK", "MaxPool", "Unique")


def topological_order(nodes: Sequence[Any]) -> list[int]:
    """Return the places of a graph's nodes so that each stands behind those that make its inputs, else as they stand.

    Nodes of a circle, and those behind it, come last as they stand. Values that subgraphs take from outside count.

    Args:
        nodes: NodeProtos of one graph.

    """
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    wanted = [{makers[name] for name in _names_taken(node) if name in makers} for node in nodes]
    users: list[list[int]] = [[] for _ in nodes]
    for place, needed in enumerate(wanted):
        for maker in needed:
            users[maker].append(place)
    missing = [len(needed) for needed in wanted]
    ready = [place for place, count in enumerate(missing) if not count]  # ascending, so a heap already
    order: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for user in users[place]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    return order if len(order) == len(nodes) else [*order, *sorted(set(range(len(nodes))) - set(order))]


def _names_taken(node: Any) -> Iterator[str]:
    """Yield the names of the values that a node takes, and that the graphs inside it name (their own ones among them)."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in graph.node:
                yield from _names_taken(inner)
            yield from (value.name for value in graph.output)


class Dataflow:
    """The values of a graph.

    Attributes:
        graph: The GraphProto, whose nodes are named by their places below.
        producers: Place of the node that makes each value.
        constants: Tensors of initializers and Constant nodes by name.
        kinds: Dtype of each value, such as "float32"; best knowledge where an operator is unknown.
    """

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.producers: dict[str, int] = {}
        self.constants: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
        self.kinds: dict[str, str] = {name: _kind(tensor.data_type) for name, tensor in self.constants.items()}
        for value in graph.input:
            self.kinds.setdefault(value.name, _kind(value.type.tensor_type.elem_type))
        self._steady = set(self.constants)
        for place, node in enumerate(graph.node):
            self._add(place, node)

    def _add(self, place: int, node: Any) -> None:
        for name in node.output:
            self.producers[name] = place
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant":
            if "value" in attributes:
                self.constants[node.output[0]] = attributes["value"].t
                self.kinds[node.output[0]] = _kind(attributes["value"].t.data_type)
            else:
                is_int = "value_int" in attributes or "value_ints" in attributes
                self.kinds[node.output[0]] = "int64" if is_int else "float32"
        else:
            for i, name in enumerate(node.output):
                self.kinds[name] = self._kind_of_output(node, attributes, i)
        if all(not name or name in self._steady for name in node.input) and not any_subgraph(node):
            self._steady.update(node.output)

    def _kind_of_output(self, node: Any, attributes: dict[str, Any], index: int) -> str:
        if node.op_type in _FIXED_KINDS:
            return _FIXED_KINDS[node.op_type]
        if node.op_type == "Cast":
            return _kind(attributes["to"].i) if "to" in attributes else "unknown"
        if node.op_type == "ConstantOfShape":
            return _kind(attributes["value"].t.data_type) if "value" in attributes else "float32"
        if index == 1 and node.op_type in _SECOND_IS_INDEX:
            return "int64"
        if index > 0 and node.op_type != "Split":
            return "unknown"
        source = node.input[1 if node.op_type in _SAME_AS_SECOND else 0] if node.input else ""
        return self.kinds.get(source, "unknown") if not node.domain else "unknown"

    def is_constant(self, name: str) -> bool:
        """Tell whether a value follows from constants alone."""
        return name in self._steady

    def constant_array(self, name: str) -> np.ndarray | None:
        """Return a stored constant, also through the Cast behind a weight of half the size; None for another value."""
        while name not in self.constants:
            place = self.producers.get(name)
            if place is None or self.graph.node[place].op_type not in _FOLLOWED:
                return None
            name = self.graph.node[place].input[0]
        return tensor_array(self.constants[name])

    def picture_nodes(self) -> set[int]:
        """Return the places of the nodes that compute with the inputs' values, not only with their shapes."""
        reached = {value.name for value in self.graph.input if value.name not in self.constants}
        found = set()
        for place, node in enumerate(self.graph.node):
            if node.op_type not in ("Shape", "Size") and reached.intersection(node.input):
                found.add(place)
                reached.update(node.output)
        return found


def any_subgraph(node: Any) -> bool:
    """Tell whether a node holds graphs of its own (If, Loop, Scan)."""
    return any(attribute.HasField("g") or len(attribute.graphs) for attribute in node.attribute)


def names_in_subgraphs(graph: Any) -> set[str]:
    """Return every name that is used inside subgraphs: they may mean values of the graph around them."""
    return {name for node in graph.node if any_subgraph(node) for inner in _subgraphs(node) for name in _names(inner)}


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _names(graph: Any) -> Iterator[str]:
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in _subgraphs(node):
            yield from _names(inner)


def _kind(data_type: int) -> str:
    return DATA_TYPES.get(data_type, ("unknown",))[0]
