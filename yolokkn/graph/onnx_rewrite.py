"""Changes to a checked ONNX model that keep what it computes: tidying, metadata, names of sizes, weights of half the size."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from yolokkn._version import __version__
from yolokkn.errors import ModelError
from yolokkn.graph.dataflow import topological_order
from yolokkn.graph.onnx_file import FLOAT, HALF, MAX_HALF, Model, tensor_array

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def remove_identities(model: Model) -> int:
    """Take out the nodes that only rename a value; returns how many went. Outputs of the graph keep their names."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type == "Identity" and not node.domain and node.output[0] not in outputs:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
            continue
        node.input[:] = [source.get(name, name) for name in node.input]
        kept.append(type(node).FromString(node.SerializeToString()))
    removed = len(graph.node) - len(kept)
    if any(attribute.HasField("g") for node in kept for attribute in node.attribute):
        raise ModelError(f"remove_identities: {model.name} must have no subgraphs")
    del graph.node[:]
    graph.node.extend(kept)
    return removed


def sort_nodes(model: Model) -> None:
    """Bring the nodes into an order in which each follows those that it depends on, as ONNX wants it."""
    order = topological_order(model.graph.node)
    if order != sorted(order):
        nodes = [type(node).FromString(node.SerializeToString()) for node in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes[place] for place in order)


def forget_origin(model: Model, graph_name: str) -> None:
    """Drop doc strings and intermediate shapes, which may carry paths of the machine, and name the graph and its producer."""
    proto = model.proto
    proto.producer_name, proto.producer_version, proto.doc_string = "yolokkn", __version__, ""
    graph = proto.graph
    graph.name, graph.doc_string = graph_name, ""
    del graph.value_info[:]
    for thing in (*graph.node, *graph.input, *graph.output):
        thing.doc_string = ""


def set_metadata(model: Model, entries: Mapping[str, str]) -> None:
    """Replace the metadata."""
    del model.proto.metadata_props[:]
    for key in sorted(entries):
        model.proto.metadata_props.add(key=key, value=entries[key])


def set_sizes(model: Model, name: str, shape: Sequence[int | str]) -> None:
    """Write the shape of an input or output; a string is a symbolic size.

    Raises:
        ModelError: There is no such input or output, or it has another rank.
    """
    for value in (*model.graph.input, *model.graph.output):
        if value.name != name:
            continue
        dims = value.type.tensor_type.shape.dim
        if len(dims) != len(shape):
            raise ModelError(f"set_sizes: {name} must have rank {len(dims)}, got {len(shape)}")
        for dim, size in zip(dims, shape, strict=True):
            dim.Clear()
            if isinstance(size, str):
                dim.dim_param = size
            else:
                dim.dim_value = size
        return
    raise ModelError(f"set_sizes: {name!r} must be an input or output of {model.name}")


def store_half(model: Model) -> int:
    """Store the weights of convolutions as float16, each with a Cast to float32 behind it.

    The arithmetic stays float32; a runtime casts once, on loading. Weights that float16 cannot hold stay as they are.

    Returns:
        How many tensors are stored in half the bytes.
    """
    graph = model.graph
    weights = {node.input[1] for node in graph.node if node.op_type in _CONVOLUTIONS and len(node.input) > 1}
    casts: list[Any] = []
    for tensor in graph.initializer:
        if tensor.name not in weights or tensor.data_type != FLOAT:
            continue
        values = tensor_array(tensor)
        if not np.isfinite(values).all() or np.abs(values).max(initial=0) > MAX_HALF:
            continue
        name = tensor.name
        half: np.ndarray = values.astype("<f2")
        tensor.Clear()
        tensor.name, tensor.data_type, tensor.raw_data = f"{name}.half", HALF, half.tobytes()
        tensor.dims.extend(half.shape)
        cast = type(graph.node[0])(op_type="Cast", name=f"{name}.cast", input=[tensor.name], output=[name])
        cast.attribute.add(name="to", i=FLOAT, type=2)
        casts.append(cast)
    nodes = [type(node).FromString(node.SerializeToString()) for node in graph.node]
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    return len(casts)


def fold_constants(model: Model) -> None:
    """Make initializers of Constant nodes, and of the casts behind weights stored as float16; names stay."""
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    kept, folded = [], []
    for node in graph.node:
        tensor = _folded(node, tensors)
        if tensor is None:
            kept.append(type(node).FromString(node.SerializeToString()))
        else:
            tensors[tensor.name] = tensor
            folded.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    nested = any(attribute.HasField("g") for node in kept for attribute in node.attribute)
    tensors = {name: tensor for name, tensor in tensors.items() if nested or name in used}
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in tensors.values()]
    del graph.initializer[:]
    graph.initializer.extend(copies)


def unfold_constants(model: Model, names: Collection[str]) -> None:
    """Make Constant nodes of the initializers of these names again: they are no weights."""
    graph = model.graph
    back = [tensor for tensor in graph.initializer if tensor.name in names]
    kept = [type(t).FromString(t.SerializeToString()) for t in graph.initializer if t.name not in names]
    nodes = [type(node).FromString(node.SerializeToString()) for node in graph.node]
    constants = []
    for tensor in back:
        constant = type(graph.node[0])(op_type="Constant", name=f"{tensor.name}.constant", output=[tensor.name])
        constant.attribute.add(name="value", type=4).t.CopyFrom(tensor)
        constants.append(constant)
    del graph.node[:]
    graph.node.extend([*constants, *nodes])
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _folded(node: Any, tensors: Mapping[str, Any]) -> Any:
    """Return the tensor that a node always gives, under the name of its output; None for other nodes."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if node.op_type == "Constant" and "value" in attributes:
        tensor = type(attributes["value"].t).FromString(attributes["value"].t.SerializeToString())
        tensor.name = node.output[0]
        return tensor
    source = tensors.get(node.input[0]) if node.op_type == "Cast" else None
    if source is None or source.data_type != HALF or attributes["to"].i != FLOAT:
        return None
    values: np.ndarray = tensor_array(source).astype("<f4")
    tensor = type(source)(name=node.output[0], data_type=FLOAT, raw_data=values.tobytes())
    tensor.dims.extend(values.shape)
    return tensor


def name_nodes(model: Model) -> None:
    """Give every node a name of its own; names that are unique already stay."""
    taken: set[str] = set()
    for place, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{place}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)
