"""Turns a model of fixed input size into one that takes any batch, height and width, where its graph allows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph.onnx_file import Model, parse_model, tensor_array


def free_sizes(model: Model) -> Model:
    """Return a copy of a convolutional model whose batch, height and width are free.

    The picture's sizes become symbolic, the shapes written into the file for other values are dropped, and a reshape to
    constant sizes keeps its batch and takes its cells from its input. What else a graph has built in (a grid of cells, a
    fixed resize) stays: run the result at another size before trusting it.

    Args:
        model: Its picture is the one input of rank 4; a free size stays free.

    Raises:
        ModelError: There is no one picture, or a reshape has more than one size that depends on the picture.
    """
    freed = parse_model(model.to_bytes(), model.name)
    graph = freed.graph
    pictures = [v for v in graph.input if len(v.type.tensor_type.shape.dim) == 4]
    if len(pictures) != 1:
        raise ModelError(f"free_sizes: {model.name} must have one input of rank 4, got {len(pictures)}")
    dims = pictures[0].type.tensor_type.shape.dim
    batch = dims[0].dim_value
    for place, symbol in ((0, "batch"), (2, "height"), (3, "width")):
        if not dims[place].dim_param:
            dims[place].dim_param = symbol
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    shapes |= {
        n.output[0]: a.t for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    }
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes:
            _free_reshape(shapes[node.input[1]], batch, model.name)
    for output in graph.output:
        for place, dim in enumerate(output.type.tensor_type.shape.dim):
            dim.dim_param = f"{output.name}_{place}"
    del graph.value_info[:]
    return parse_model(freed.to_bytes(), model.name)


def _free_reshape(tensor: Any, batch: int, name: str) -> None:
    """Let the first size of a reshape follow its input, and its last the cells of the picture."""
    shape = [int(n) for n in tensor_array(tensor)]
    if len(shape) < 2 or shape[0] not in (batch, 0) or shape[0] < 0:
        return
    if -1 not in shape[1:]:
        if len(shape) != 3:
            raise ModelError(f"free_sizes: {name} has a reshape to {shape}, whose sizes are built in")
        shape[2] = -1
    values = np.array([0, *shape[1:]], np.int64)
    for field in ("int64_data", "int32_data"):
        tensor.ClearField(field)
    tensor.raw_data = values.tobytes()
