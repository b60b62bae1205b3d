"""A small builder of ONNX graphs: inputs, initializers, nodes, outputs, metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolokkn._version import __version__
from yolokkn.errors import ModelError
from yolokkn.graph.onnx_file import DATA_TYPES, MAX_FILE_BYTES
from yolokkn.graph.onnx_schema import message_class

Attribute = int | float | str | np.ndarray | Sequence[int] | Sequence[float]

_NUMBERS = {name: number for number, (name, _, _) in DATA_TYPES.items()}
_FLOAT, _INT, _STRING, _TENSOR, _FLOATS, _INTS = 1, 2, 3, 4, 6, 7  # AttributeProto.type


class GraphBuilder:
    """Collects a graph and serializes it as an ONNX model that ONNX Runtime runs.

    Args:
        name: Name of the graph.
        opset: Version of the default operator set, 7 to 18.
        ir_version: Version of the format, 4 to 10.

    Example:
        >>> builder = GraphBuilder("half")
        >>> x = builder.input("x", "float32", (1, 4))
        >>> y = builder.node("Mul", [x, builder.initializer("half", np.float32([0.5]))], output="y")
        >>> builder.output(y, "float32", (1, 4))
        >>> len(builder.to_bytes()) < 200
        True
    """

    def __init__(self, name: str, opset: int = 13, ir_version: int = 8) -> None:
        if not 7 <= opset <= 18:
            raise ValueError(f"GraphBuilder: opset must be 7 to 18, got {opset}")
        if not 4 <= ir_version <= 10:
            raise ValueError(f"GraphBuilder: ir_version must be 4 to 10, got {ir_version}")
        self._model = message_class("ModelProto")(
            ir_version=ir_version, producer_name="yolokkn", producer_version=__version__
        )
        self._model.opset_import.add(domain="", version=opset)
        self._model.graph.name = name
        self._names: set[str] = set()

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        """Declare an input and return its name; a string in the shape is a symbolic dimension."""
        self._claim(name)
        _fill_value_info(self._model.graph.input.add(), name, dtype, shape)
        return name

    def initializer(self, name: str, array: np.ndarray) -> str:
        """Add a constant tensor and return its name. The array is written little-endian, row-major."""
        self._claim(name)
        fill_tensor(self._model.graph.initializer.add(), name, array)
        return name

    def node(self, op_type: str, inputs: Sequence[str], *, output: str, **attributes: Attribute) -> str:
        """Add a node with one output and return the output's name; "" stands for an absent optional input."""
        unknown = [i for i in inputs if i and i not in self._names]
        if unknown:
            raise ValueError(f"GraphBuilder.node: inputs must exist already, got {unknown}")
        self._claim(output)
        node = self._model.graph.node.add(op_type=op_type, name=output)
        node.input.extend(inputs)
        node.output.append(output)
        for key, value in attributes.items():
            fill_attribute(node.attribute.add(name=key), value)
        return output

    def output(self, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Declare an existing value as an output."""
        if name not in self._names:
            raise ValueError(f"GraphBuilder.output: name must exist already, got {name!r}")
        _fill_value_info(self._model.graph.output.add(), name, dtype, shape)

    def metadata(self, entries: Mapping[str, str]) -> None:
        """Add metadata_props."""
        for key, value in entries.items():
            self._model.metadata_props.add(key=key, value=value)

    def to_bytes(self) -> bytes:
        """Serialize the model.

        Raises:
            ModelError: It would pass 2 GiB, the format's limit for one file.
        """
        size = self._model.ByteSize()
        if size > MAX_FILE_BYTES:
            raise ModelError(f"GraphBuilder: the model must have at most {MAX_FILE_BYTES} bytes, got {size}")
        return self._model.SerializeToString()

    def _claim(self, name: str) -> None:
        if not name or name in self._names:
            raise ValueError(f"GraphBuilder: names must be unique and not empty, got {name!r}")
        self._names.add(name)


def data_type_number(dtype: str, owner: str = "data_type_number") -> int:
    """Return ONNX's number of a NumPy dtype's name.

    Raises:
        ValueError: There is none.
    """
    if dtype not in _NUMBERS:
        raise ValueError(f"{owner}: dtype must be one of {', '.join(_NUMBERS)}, got {dtype!r}")
    return _NUMBERS[dtype]


def _fill_value_info(info: Any, name: str, dtype: str, shape: Sequence[int | str]) -> None:
    info.name = name
    info.type.tensor_type.elem_type = data_type_number(dtype, "GraphBuilder")
    info.type.tensor_type.shape.SetInParent()
    for size in shape:
        dim = info.type.tensor_type.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        else:
            dim.dim_value = size


def fill_tensor(tensor: Any, name: str, array: np.ndarray) -> None:
    """Make a TensorProto of a name and an array."""
    tensor.name = name
    tensor.dims.extend(array.shape)
    tensor.data_type = data_type_number(array.dtype.name, "GraphBuilder.initializer")
    tensor.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def fill_attribute(attribute: Any, value: Attribute) -> None:
    """Give an AttributeProto a value."""
    if isinstance(value, np.ndarray):
        attribute.type = _TENSOR
        fill_tensor(attribute.t, "", value)
    elif isinstance(value, str):
        attribute.type = _STRING
        attribute.s = value.encode()
    elif isinstance(value, int):
        attribute.type = _INT
        attribute.i = value
    elif isinstance(value, float):
        attribute.type = _FLOAT
        attribute.f = value
    elif all(isinstance(v, int) for v in value):
        attribute.type = _INTS
        attribute.ints.extend(value)
    else:
        attribute.type = _FLOATS
        attribute.floats.extend(value)
