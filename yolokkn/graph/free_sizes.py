"""Turns a model of fixed input size into one that takes any batch, height and width, where its graph allows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph.onnx_file import Model, parse_model, tensor_array
from yolokkn.graph.onnx_rewrite import sort_nodes
from yolokkn.graph.picture_cells import CellNodes, Cells

_ELEMENTWISE = ("Add", "Sub", "Mul", "Div")


def free_sizes(model: Model) -> Model:
    """Return a copy of a convolutional model whose batch, height and width are free.

    The picture's sizes become symbolic, and the shapes written into the file for other values are dropped. A reshape to
    constant sizes keeps its batch and takes its cells from its input or the picture; constants that hold a value for each
    cell, such as the places and strides of a YOLO head, are computed from the picture's size where they follow the cell's row
    and column linearly. What else a graph has built in (a fixed resize) stays: run the result at another size before trusting it.

    Args:
        model: Its picture is the one input of rank 4; a free size stays free.

    Raises:
        ModelError: There is no one picture, or a reshape or constant depends on the picture's size in another way.
    """
    freed = parse_model(model.to_bytes(), model.name)
    graph = freed.graph
    pictures = [v for v in graph.input if len(v.type.tensor_type.shape.dim) == 4]
    if len(pictures) != 1:
        raise ModelError(f"free_sizes: {model.name} must have one input of rank 4, got {len(pictures)}")
    dims = pictures[0].type.tensor_type.shape.dim
    batch, height, width = (dims[place].dim_value for place in (0, 2, 3))
    for place, symbol in ((0, "batch"), (2, "height"), (3, "width")):
        if not dims[place].dim_param:
            dims[place].dim_param = symbol
    cells = Cells(height, width)
    nodes = CellNodes(graph, pictures[0].name)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    }
    for node in list(graph.node):
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = [int(n) for n in tensor_array(constants[node.input[1]])]
            node.input[1] = _free_shape(shape, batch, cells, nodes, model.name) or node.input[1]
        elif node.op_type in _ELEMENTWISE:
            for place, name in enumerate(node.input):
                if name in constants:
                    node.input[place] = _free_constant(name, constants[name], cells, nodes, model.name)
    for output in graph.output:
        for place, dim in enumerate(output.type.tensor_type.shape.dim):
            dim.dim_param = f"{output.name}_{place}"
    del graph.value_info[:]
    sort_nodes(freed)
    return parse_model(freed.to_bytes(), model.name)


def _free_shape(shape: list[int], batch: int, cells: Cells, nodes: CellNodes, name: str) -> str | None:
    """Return the name of a reshape's sizes, the batch and the cells free; None: they depend on neither."""
    if len(shape) < 2 or shape[0] not in (batch, 0) or shape[0] < 0:
        return None
    stride = cells.stride_of(*shape[-2:]) if len(shape) > 3 else None
    if stride is not None:
        return nodes.joined([nodes.constant(np.array([0, *shape[1:-2]], np.int64)), nodes.size_at(stride)], 0)
    if -1 in shape[1:]:
        return nodes.constant(np.array([0, *shape[1:]], np.int64))
    counted = [place for place, size in enumerate(shape) if place > 0 and cells.counts(size)]
    if len(counted) > 1:  # of two that may be the cells, the last one, as heads flatten them
        counted = [place for place in counted if place == len(shape) - 1] or counted
    if len(counted) != 1 and len(shape) == 3:
        counted = [2]
    if len(counted) != 1:
        raise ModelError(f"free_sizes: {name} has a reshape to {shape}, whose sizes are built in")
    shape[counted[0]] = -1
    return nodes.constant(np.array([0, *shape[1:]], np.int64))


def _free_constant(constant: str, tensor: Any, cells: Cells, nodes: CellNodes, name: str) -> str:
    """Return the name of what stands for a constant at any size: itself where it holds no value for each cell."""
    shape = tuple(tensor.dims)
    grids = cells.grids_in(shape)
    if grids is None:
        return constant
    values = tensor_array(tensor)
    try:
        return nodes.follow_cells(constant, values, *grids)
    except ValueError as error:
        raise ModelError(
            f"free_sizes: {name} has a constant {constant!r} of {list(shape)}, whose values {error}"
        ) from None
