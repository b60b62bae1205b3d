"""The messages of the ONNX specification, declared at run time, so that the onnx package is not needed.

Names and field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Enumerations are declared
as the integers that they are on the wire. Fields that are not declared here survive a round trip as unknown fields.
"""

from __future__ import annotations

from functools import cache
from typing import Any

# message: {field: (number, type)}; a type is a scalar, a message, or either of them between brackets when it repeats;
# a trailing * puts the field into the message's one oneof, called "value".
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ModelProto": {
        "ir_version": (1, "int64"),
        "producer_name": (2, "string"),
        "producer_version": (3, "string"),
        "domain": (4, "string"),
        "model_version": (5, "int64"),
        "doc_string": (6, "string"),
        "graph": (7, "GraphProto"),
        "opset_import": (8, "[OperatorSetIdProto]"),
        "metadata_props": (14, "[StringStringEntryProto]"),
        "training_info": (20, "[TrainingInfoProto]"),
        "functions": (25, "[FunctionProto]"),
    },
    "OperatorSetIdProto": {"domain": (1, "string"), "version": (2, "int64")},
    "StringStringEntryProto": {"key": (1, "string"), "value": (2, "string")},
    "TrainingInfoProto": {"initialization": (1, "GraphProto"), "algorithm": (2, "GraphProto")},
    "FunctionProto": {
        "name": (1, "string"),
        "input": (4, "[string]"),
        "output": (5, "[string]"),
        "attribute": (6, "[string]"),
        "node": (7, "[NodeProto]"),
        "opset_import": (9, "[OperatorSetIdProto]"),
        "domain": (10, "string"),
        "attribute_proto": (11, "[AttributeProto]"),
    },
    "GraphProto": {
        "node": (1, "[NodeProto]"),
        "name": (2, "string"),
        "initializer": (5, "[TensorProto]"),
        "doc_string": (10, "string"),
        "input": (11, "[ValueInfoProto]"),
        "output": (12, "[ValueInfoProto]"),
        "value_info": (13, "[ValueInfoProto]"),
        "sparse_initializer": (15, "[SparseTensorProto]"),
    },
    "NodeProto": {
        "input": (1, "[string]"),
        "output": (2, "[string]"),
        "name": (3, "string"),
        "op_type": (4, "string"),
        "attribute": (5, "[AttributeProto]"),
        "doc_string": (6, "string"),
        "domain": (7, "string"),
    },
    "AttributeProto": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "s": (4, "bytes"),
        "t": (5, "TensorProto"),
        "g": (6, "GraphProto"),
        "floats": (7, "[float]"),
        "ints": (8, "[int64]"),
        "strings": (9, "[bytes]"),
        "tensors": (10, "[TensorProto]"),
        "graphs": (11, "[GraphProto]"),
        "type": (20, "int32"),
        "sparse_tensor": (22, "SparseTensorProto"),
        "sparse_tensors": (23, "[SparseTensorProto]"),
    },
    "TensorProto": {
        "dims": (1, "[int64]"),
        "data_type": (2, "int32"),
        "float_data": (4, "[float]"),
        "int32_data": (5, "[int32]"),
        "string_data": (6, "[bytes]"),
        "int64_data": (7, "[int64]"),
        "name": (8, "string"),
        "raw_data": (9, "bytes"),
        "double_data": (10, "[double]"),
        "uint64_data": (11, "[uint64]"),
        "external_data": (13, "[StringStringEntryProto]"),
        "data_location": (14, "int32"),
    },
    "SparseTensorProto": {"values": (1, "TensorProto"), "indices": (2, "TensorProto"), "dims": (3, "[int64]")},
    "ValueInfoProto": {"name": (1, "string"), "type": (2, "TypeProto"), "doc_string": (3, "string")},
    "TypeProto": {
        "tensor_type": (1, "TensorTypeProto*"),
        "sequence_type": (4, "SequenceTypeProto*"),
        "map_type": (5, "MapTypeProto*"),
        "optional_type": (9, "SequenceTypeProto*"),
    },
    "TensorTypeProto": {"elem_type": (1, "int32"), "shape": (2, "TensorShapeProto")},
    "SequenceTypeProto": {"elem_type": (1, "TypeProto")},
    "MapTypeProto": {"key_type": (1, "int32"), "value_type": (2, "TypeProto")},
    "TensorShapeProto": {"dim": (1, "[DimensionProto]")},
    "DimensionProto": {"dim_value": (1, "int64*"), "dim_param": (2, "string*")},
}

_PACKED = ("float", "int32", "int64", "double", "uint64")


def _declare(file: Any, field_class: Any, name: str, fields: dict[str, tuple[int, str]]) -> None:
    message = file.message_type.add(name=name)
    for field_name, (number, kind) in fields.items():
        field = message.field.add(name=field_name, number=number)
        repeated, in_oneof = kind.startswith("["), kind.endswith("*")
        kind = kind.strip("[]*")
        field.label = field_class.LABEL_REPEATED if repeated else field_class.LABEL_OPTIONAL
        if kind in _MESSAGES:
            field.type = field_class.TYPE_MESSAGE
            field.type_name = f".yolokkn_onnx.{kind}"
        else:
            field.type = getattr(field_class, f"TYPE_{kind.upper()}")
        if in_oneof:
            if not message.oneof_decl:
                message.oneof_decl.add(name="value")
            field.oneof_index = 0
        if repeated and name == "TensorProto" and field_name != "dims" and kind in _PACKED:
            field.options.packed = True


@cache
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="yolokkn_onnx.proto", package="yolokkn_onnx", syntax="proto2")
    for name, fields in _MESSAGES.items():
        _declare(file, descriptor_pb2.FieldDescriptorProto, name, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    names = pool.FindFileByName(file.name).message_types_by_name
    return {name: message_factory.GetMessageClass(names[name]) for name in _MESSAGES}


def message_class(name: str) -> Any:
    """Return the protobuf class of an ONNX message, such as "ModelProto"; protobuf is imported at the first call.

    Example:
        >>> tensor = message_class("TensorProto")(name="w", dims=[2, 3])
        >>> message_class("TensorProto").FromString(tensor.SerializeToString()).dims
        [2, 3]
    """
    return _classes()[name]
