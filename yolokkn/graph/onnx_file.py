"""ONNX files read with every check that keeps a damaged or hostile file from doing harm."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph.onnx_schema import message_class

MAX_FILE_BYTES = 2**31 - 1  # what protobuf can hold in one message

FLOAT, HALF = 1, 10  # TensorProto.DataType
MAX_HALF = 65504.0  # the largest number of float16

# number of the specification: (name, bits of one element, field that holds the elements without raw_data)
DATA_TYPES: dict[int, tuple[str, int, str]] = {
    1: ("float32", 32, "float_data"),
    2: ("uint8", 8, "int32_data"),
    3: ("int8", 8, "int32_data"),
    4: ("uint16", 16, "int32_data"),
    5: ("int16", 16, "int32_data"),
    6: ("int32", 32, "int32_data"),
    7: ("int64", 64, "int64_data"),
    8: ("string", 0, "string_data"),
    9: ("bool", 8, "int32_data"),
    10: ("float16", 16, "int32_data"),
    11: ("float64", 64, "double_data"),
    12: ("uint32", 32, "uint64_data"),
    13: ("uint64", 64, "uint64_data"),
    14: ("complex64", 64, "float_data"),
    15: ("complex128", 128, "double_data"),
    16: ("bfloat16", 16, "int32_data"),
    17: ("float8e4m3fn", 8, "int32_data"),
    18: ("float8e4m3fnuz", 8, "int32_data"),
    19: ("float8e5m2", 8, "int32_data"),
    20: ("float8e5m2fnuz", 8, "int32_data"),
    21: ("uint4", 4, "int32_data"),
    22: ("int4", 4, "int32_data"),
    23: ("float4e2m1", 4, "int32_data"),
    24: ("float8e8m0", 8, "int32_data"),
    25: ("uint2", 2, "int32_data"),
    26: ("int2", 2, "int32_data"),
}

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"version https://git-lfs", "a Git LFS pointer (the model itself was not fetched; run: git lfs pull)"),
    (0, b"PK\x03\x04", "a zip archive, such as a PyTorch checkpoint"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GGUF", "a GGUF file"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "an ONNX Runtime .ort model"),
)

# fields through which tensors and graphs are reached, by message
_CHILDREN: dict[str, tuple[str, ...]] = {
    "ModelProto": ("graph", "functions", "training_info"),
    "TrainingInfoProto": ("initialization", "algorithm"),
    "FunctionProto": ("node", "attribute_proto"),
    "GraphProto": ("node", "initializer", "sparse_initializer"),
    "NodeProto": ("attribute",),
    "AttributeProto": ("t", "g", "tensors", "graphs", "sparse_tensor", "sparse_tensors"),
    "SparseTensorProto": ("values", "indices"),
}


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model.

    Attributes:
        name: As the model names it.
        dtype: Such as "float32" or "int64"; "unknown" where the file does not say or it is not a tensor.
        shape: One number a dimension, the symbol's name for a symbolic one, None for an unknown one; () for a scalar
            and for a shape that the file does not give.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Model:
    """A checked ONNX model in memory; `proto` is its ModelProto.

    Example:
        >>> from yolokkn.graph import GraphBuilder, parse_model
        >>> builder = GraphBuilder("double")
        >>> x = builder.input("x", "float32", ("batch", 2))
        >>> builder.output(builder.node("Add", [x, x], output="y"), "float32", ("batch", 2))
        >>> parse_model(builder.to_bytes()).outputs
        (TensorInfo(name='y', dtype='float32', shape=('batch', 2)),)
    """

    def __init__(self, proto: Any, name: str) -> None:
        self.proto = proto
        self.name = name
        graph = proto.graph
        initialized = {tensor.name for tensor in graph.initializer}
        self.inputs = tuple(_tensor_info(v, name) for v in graph.input if v.name not in initialized)
        self.outputs = tuple(_tensor_info(v, name) for v in graph.output)
        self.metadata: dict[str, str] = {
            _text(entry.key, name, "a metadata key"): _text(entry.value, name, "a metadata value")
            for entry in proto.metadata_props
        }
        producer = (_text(proto.producer_name, name, "producer"), _text(proto.producer_version, name, "producer"))
        self.producer = " ".join(part for part in producer if part)
        self.ir_version = int(proto.ir_version)
        self.opset = max((int(o.version) for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=0)

    @property
    def graph(self) -> Any:
        """The GraphProto."""
        return self.proto.graph

    @cached_property
    def num_parameters(self) -> int:
        """Number of weights: see `yolokkn.graph.cost.count_parameters`."""
        from yolokkn.graph.cost import count_parameters

        return count_parameters(self.graph)

    def to_bytes(self) -> bytes:
        """Serialize the model; what was checked is what a backend gets."""
        return self.proto.SerializeToString()


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read and check an ONNX file, without the onnx package and without running anything of it.

    Args:
        path: The file. Tensors outside it ("external data") are refused, never followed.

    Returns:
        The model. Costs about the file's size in memory.

    Raises:
        ModelError: There is no such file, it is too large, it is something else, damaged, or has external data.
    """
    file = Path(path)
    try:
        if not file.is_file():
            kind = "a folder" if file.is_dir() else "no such file" if not file.exists() else "no regular file"
            raise ModelError(f"read_model: path must name an ONNX file, got {kind}: {file}")
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"read_model: {file} must have at most {MAX_FILE_BYTES} bytes, got {size}")
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"read_model: {os.fspath(path)!r} cannot be read: {error}") from error
    return parse_model(data, str(file))


def parse_model(data: bytes, name: str = "model") -> Model:
    """Parse and check the bytes of an ONNX file.

    Args:
        data: The whole file.
        name: What error messages call it.

    Returns:
        The model.

    Raises:
        ModelError: The bytes are something else, damaged, or have external data.
    """
    from google.protobuf.message import DecodeError

    if not data or len(data) > MAX_FILE_BYTES:
        raise ModelError(f"read_model: {name} must hold an ONNX model, got {len(data)} bytes")
    try:
        proto = message_class("ModelProto").FromString(data)
    except (DecodeError, RecursionError, ValueError) as error:  # ValueError: text that is no UTF-8
        raise ModelError(f"read_model: {name} must hold an ONNX model, got {_describe(data)}") from error
    if not (proto.HasField("graph") and proto.HasField("ir_version") and proto.graph.output and proto.graph.node):
        raise ModelError(
            f"read_model: {name} must hold an ONNX model with a graph, nodes and outputs, got {_describe(data)}"
        )
    for tensor in walk_tensors(proto):
        _check_tensor(tensor, name)
    for node in walk_nodes(proto):
        for text in (
            node.name,
            node.op_type,
            node.domain,
            *node.input,
            *node.output,
            *(a.name for a in node.attribute),
        ):
            _text(text, name, f"a name of node {node.op_type!r}")
    return Model(proto, name)


def walk_tensors(message: Any) -> Iterator[Any]:
    """Yield every TensorProto below a message: initializers, attributes, subgraphs, functions, training information."""
    stack = [message]
    while stack:
        current = stack.pop()
        kind = current.DESCRIPTOR.name
        if kind == "TensorProto":
            yield current
        for field, value in current.ListFields() if kind in _CHILDREN else ():
            if field.name in _CHILDREN[kind]:
                stack.extend([value] if hasattr(value, "DESCRIPTOR") else value)


def walk_nodes(proto: Any) -> Iterator[Any]:
    """Yield every node of a ModelProto: of its graph, its subgraphs and its functions."""
    stack = [proto.graph, *proto.functions]
    while stack:
        for node in stack.pop().node:
            yield node
            for attribute in node.attribute:
                stack.extend([attribute.g] if attribute.HasField("g") else [])
                stack.extend(attribute.graphs)


def tensor_array(tensor: Any) -> np.ndarray:
    """Return a checked TensorProto as an array; float16 and up to 64-bit numbers and bool only.

    Raises:
        ModelError: The type has no NumPy counterpart.
    """
    kind, _, field = DATA_TYPES[tensor.data_type]
    shape = tuple(tensor.dims)
    try:
        dtype = np.dtype(kind).newbyteorder("<")
    except TypeError:
        raise ModelError(f"tensor_array: tensor {tensor.name!r} must have a NumPy type, got {kind}") from None
    if tensor.raw_data:
        return np.frombuffer(tensor.raw_data, dtype).reshape(shape)
    if kind == "float16":
        return np.array(tensor.int32_data, np.int32).astype(np.uint16).view(np.float16).reshape(shape)
    if kind.startswith("complex"):
        raise ModelError(f"tensor_array: tensor {tensor.name!r} must be real, got {kind}")
    return np.array(getattr(tensor, field)).astype(dtype).reshape(shape)


def _check_tensor(tensor: Any, name: str) -> None:
    _text(tensor.name, name, "the name of a tensor")
    what = f"read_model: {name}: tensor {tensor.name!r}"
    if tensor.external_data or tensor.data_location:
        raise ModelError(
            f"{what} must lie inside the file, got external data, which is never followed; "
            "save the model with its weights inside (onnx.save(model, path, save_as_external_data=False))"
        )
    if tensor.data_type not in DATA_TYPES:
        raise ModelError(f"{what} must have a data type of the specification, got {tensor.data_type}")
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"{what} must have dimensions of 0 or more, got {list(tensor.dims)}")
    kind, bits, field = DATA_TYPES[tensor.data_type]
    count = prod(tensor.dims)
    if tensor.raw_data and kind != "string":
        wanted, got, unit = (count * bits + 7) // 8, len(tensor.raw_data), "bytes"
    else:
        wanted, got, unit = count * (2 if kind.startswith("complex") else 1), len(getattr(tensor, field)), "values"
        if bits < 8 and kind != "string":
            wanted = (count * bits + 7) // 8
    if wanted != got:
        raise ModelError(f"{what} of shape {list(tensor.dims)} {kind} must hold {wanted} {unit}, got {got}")


def _text(value: Any, name: str, what: str) -> str:
    if not isinstance(value, str):
        raise ModelError(f"read_model: {name}: {what} must be UTF-8 text, got {value!r}")
    return value


def _tensor_info(value: Any, name: str) -> TensorInfo:
    tensor = value.type.tensor_type
    dtype = DATA_TYPES.get(tensor.elem_type, ("unknown",))[0]
    shape: list[int | str | None] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append(int(dim.dim_value))
        else:
            shape.append(_text(dim.dim_param, name, "a symbolic dimension") or None)
    return TensorInfo(_text(value.name, name, "the name of an input or output"), dtype, tuple(shape))


def _describe(data: bytes) -> str:
    for offset, magic, what in _SIGNATURES:
        if data[offset : offset + len(magic)] == magic:
            return what
    if not data.strip(b"\0"):
        return f"{len(data)} zero bytes"
    head = data[:256].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html")):
        return "an HTML page (a failed download?)"
    if all(b in b"\t\n\r\f" or 32 <= b < 127 for b in data[:256]):
        return f"text that begins {data[:40].decode('ascii')!r}"
    return f"{len(data)} bytes that are truncated, damaged or of another format"
