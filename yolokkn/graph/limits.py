"""What no detector needs and a hostile file may hold: sizes beyond every memory, graphs and loops without end."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.geometry import DEFAULT_SIDE
from yolokkn.graph.onnx_file import Model, tensor_array, walk_nodes
from yolokkn.graph.shapes import infer_shapes

MAX_ELEMENTS = 2**30  # of one value: 4 GiB of float32
MAX_NODES = 200_000  # with every function written out
MAX_DEPTH = 8  # of subgraphs within subgraphs
MAX_TRIPS = 10_000  # of a loop
MAX_WINDOW = 65_536  # kernel, stride, padding or dilation
_WINDOWS = ("kernel_shape", "strides", "pads", "dilations", "output_padding")


def check_limits(model: Model) -> None:
    """Refuse a model that would take memory or time that no detector takes; every backend asks before it loads a file.

    Sizes are inferred at the input's own size (640 where it is free, a batch of one). What a graph computes only while it
    runs, such as the size of a loop's values, cannot be seen.

    Args:
        model: From `read_model`.

    Raises:
        ModelError: Nodes feed one another in a circle, a value would have more than 2**30 elements, functions call
            themselves or multiply, a loop has no end, or a window is absurd.
    """
    what = f"check_limits: {model.name}"
    _check_depth(model.proto, what)
    _check_order(model.graph, what)
    _check_functions(model, what)
    for node in walk_nodes(model.proto):
        for attribute in node.attribute:
            if attribute.name in _WINDOWS and any(abs(v) > MAX_WINDOW for v in attribute.ints):
                raise ModelError(
                    f"{what}: {node.op_type} {node.name[:60]!r} must have {attribute.name} of at most {MAX_WINDOW}, "
                    f"got {str(list(attribute.ints))[:60]}"
                )
    _check_loops(model, what)
    _check_sizes(model, what)


def _check_depth(proto: Any, what: str) -> None:
    stack = [(body, 0) for body in (proto.graph, *proto.functions)]
    while stack:
        body, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ModelError(f"{what}: subgraphs must lie at most {MAX_DEPTH} within one another")
        stack.extend((a.g, depth + 1) for node in body.node for a in node.attribute if a.HasField("g"))


def _check_order(graph: Any, what: str) -> None:
    """Refuse a graph whose nodes cannot be put in order: take those whose inputs are there until none is left."""
    makers = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waits = [{makers[name] for name in _read_by(node) if name in makers} for node in graph.node]
    feeds: list[list[int]] = [[] for _ in waits]
    for i, before in enumerate(waits):
        for maker in before:
            feeds[maker].append(i)
    ready, done = [i for i, before in enumerate(waits) if not before], 0
    while ready:
        maker = ready.pop()
        done += 1
        for i in feeds[maker]:
            waits[i].discard(maker)
            if not waits[i]:
                ready.append(i)
    if done < len(waits):
        stuck = next(i for i, before in enumerate(waits) if before)
        node = graph.node[stuck]
        raise ModelError(
            f"{what}: its nodes must not feed one another in a circle, got {node.op_type} {node.name[:60]!r}"
        )


def _read_by(node: Any) -> Iterator[str]:
    """Yield the values that a node or its subgraphs read; those that a subgraph makes itself do no harm."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in _own_nodes(attribute.g):
                yield from inner.input


def _check_functions(model: Model, what: str) -> None:
    bodies = {(f.domain, f.name): f for f in model.proto.functions}
    sizes: dict[tuple[str, str], int] = {}

    def written_out(body: Any, above: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in _own_nodes(body):
            key = (node.domain, node.op_type)
            if key in above:
                raise ModelError(f"{what}: the function {node.op_type[:60]!r} must not call itself")
            if key in bodies and key not in sizes:
                if len(above) > 100:
                    raise ModelError(f"{what}: functions must call one another at most 100 deep")
                sizes[key] = written_out(bodies[key], (*above, key))
            total += sizes.get(key, 1)
        return total

    count = written_out(model.graph, ())
    if count > MAX_NODES:
        raise ModelError(f"{what}: must have at most {MAX_NODES} nodes with its functions written out, got {count}")


def _own_nodes(body: Any) -> Iterator[Any]:
    stack = [body]
    while stack:
        for node in stack.pop().node:
            yield node
            stack.extend(a.g for a in node.attribute if a.HasField("g"))


def _check_loops(model: Model, what: str) -> None:
    constants = {t.name: t for t in model.graph.initializer}
    constants |= {
        n.output[0]: a.t for n in walk_nodes(model.proto) if n.op_type == "Constant" and n.output for a in n.attribute
    }
    for node in walk_nodes(model.proto):
        if node.op_type != "Loop" or node.domain not in ("", "ai.onnx"):
            continue
        trips = node.input[0] if node.input else ""
        limit = _scalar(constants[trips]) if trips in constants else None
        if not trips or (limit is not None and limit > MAX_TRIPS):
            got = "none" if not trips else f"{limit:g}"
            raise ModelError(f"{what}: Loop {node.name[:60]!r} must end after at most {MAX_TRIPS} trips, got {got}")


def _scalar(tensor: Any) -> float:
    try:
        values = tensor_array(tensor).reshape(-1)
    except (ModelError, ValueError):
        return np.inf
    return float(values[0]) if len(values) else 0.0


def _check_sizes(model: Model, what: str) -> None:
    shapes = {}
    for info in model.inputs:
        free = [1] + [DEFAULT_SIDE] * (len(info.shape) - 1)
        shapes[info.name] = tuple(
            d if isinstance(d, int) and d > 0 else f for d, f in zip(info.shape, free, strict=True)
        )
        _check_size(info.name, shapes[info.name], what)
    too_large: dict[str, tuple[int, ...]] = {}
    values = infer_shapes(model.graph, shapes, model.opset, too_large)
    for name, shape in too_large.items():
        _check_size(name, shape, what)
    for name, value in values.items():
        _check_size(name, value.shape or (), what)


def _check_size(name: str, shape: tuple[int, ...], what: str) -> None:
    if prod(shape) > MAX_ELEMENTS:
        sizes = " x ".join(str(d) for d in shape[:8])
        raise ModelError(
            f"{what}: the value {name[:60]!r} must have at most {MAX_ELEMENTS} elements, got {sizes[:100]}"
        )
