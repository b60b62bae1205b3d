"""ONNX files: the view of the onnx package is the oracle; what is no sound ONNX file is refused with one clear line."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolokkn.errors import ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.graph.onnx_file import tensor_array, walk_tensors

WEIGHT = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")


def make_model(nodes=None, initializers=(WEIGHT,), **kwargs) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])] if nodes is None else nodes
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], list(initializers)), **kwargs)
    model.ir_version = 8
    return model


def test_the_view_equals_that_of_the_onnx_package(shared_data):
    path = shared_data / "weights" / "yolox" / "yolox_nano.onnx"
    model, oracle = read_model(path), onnx.load(path)
    for mine, theirs in ((model.inputs, oracle.graph.input), (model.outputs, oracle.graph.output)):
        assert [(i.name, i.shape) for i in mine] == [
            (v.name, tuple(d.dim_value for d in v.type.tensor_type.shape.dim)) for v in theirs
        ]
        assert all(i.dtype == "float32" for i in mine)
    assert model.opset == oracle.opset_import[0].version and model.ir_version == oracle.ir_version
    assert model.producer == f"{oracle.producer_name} {oracle.producer_version}"
    assert len(model.graph.node) == len(oracle.graph.node)
    assert model.num_parameters == sum(int(np.prod(t.dims)) for t in oracle.graph.initializer if t.data_type == 1)
    for mine, theirs in zip(model.graph.initializer, oracle.graph.initializer, strict=True):
        np.testing.assert_array_equal(tensor_array(mine), numpy_helper.to_array(theirs))
    again = onnx.load_from_string(model.to_bytes())
    assert again.SerializeToString(deterministic=True) == oracle.SerializeToString(deterministic=True)


def test_symbols_metadata_and_initialized_inputs():
    model = make_model(producer_name="me", producer_version="2", opset_imports=[helper.make_opsetid("", 17)])
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3]))
    helper.set_model_props(model, {"names": "{0: 'pérson'}", "stride": "32"})
    mine = parse_model(model.SerializeToString())
    assert [(i.name, i.dtype, i.shape) for i in mine.inputs] == [("x", "float32", ("batch", 2))]
    assert mine.outputs[0].shape == (None, 3)
    assert mine.metadata == {"names": "{0: 'pérson'}", "stride": "32"}
    assert (mine.producer, mine.opset, mine.num_parameters) == ("me 2", 17, 6)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_of_every_type_equal_the_oracle(dtype, raw):
    array = np.array([[0, 1, 2], [3, 4, 100]]).astype(dtype)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    data = array.tobytes() if raw else array.reshape(-1).tolist()
    tensor = helper.make_tensor("w", kind, array.shape, data, raw=raw)
    model = parse_model(make_model(initializers=[tensor]).SerializeToString())
    got = tensor_array(model.graph.initializer[0])
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


def external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("raw_data")
    copy.data_location = TensorProto.EXTERNAL
    copy.external_data.add(key="location", value="../../../etc/passwd")
    return copy


def places_of_external_data():
    bad = external(WEIGHT)
    yield "initializer", make_model(initializers=[bad])
    constant = helper.make_node("Constant", [], ["w"], value=bad)
    yield "attribute", make_model([constant, helper.make_node("MatMul", ["x", "w"], ["y"])], [])
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3])])
    branching = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    yield "subgraph", make_model([branching])
    function = helper.make_function("d", "F", [], ["w"], [constant], [helper.make_opsetid("", 17)])
    yield "function", make_model(functions=[function])
    sparse = make_model()
    indices = numpy_helper.from_array(np.arange(6), "i")
    sparse.graph.sparse_initializer.append(onnx.SparseTensorProto(values=bad, indices=indices, dims=[2, 3]))
    yield "sparse", sparse
    training = make_model()
    training.training_info.add().algorithm.CopyFrom(make_model(initializers=[bad]).graph)
    yield "training", training
    hidden = onnx.TensorProto()
    hidden.CopyFrom(WEIGHT)
    hidden.data_location = TensorProto.EXTERNAL
    yield "without entries", make_model(initializers=[hidden])


@pytest.mark.parametrize("model", [pytest.param(m, id=place) for place, m in places_of_external_data()])
def test_external_data_is_refused_wherever_it_hides(model):
    with pytest.raises(ModelError, match="must lie inside the file, got external data, which is never followed"):
        parse_model(model.SerializeToString())


def test_tensors_are_checked_against_their_bytes_before_anything_is_allocated():
    for dims, data, said in (
        ([2**40, 2**40], b"1234", "must hold"),
        ([-1, 4], b"1234", "must have dimensions of 0 or more"),
        ([2], b"1234567", "must hold 8 bytes, got 7"),
        ([3], b"", "must hold 3 values, got 0"),
    ):
        tensor = TensorProto(name="w", dims=dims, data_type=1, raw_data=data)
        with pytest.raises(ModelError, match=said):
            parse_model(make_model(initializers=[tensor]).SerializeToString())
    for data_type in (0, 99, -1):
        tensor = TensorProto(name="w", dims=[1], data_type=data_type, raw_data=b"1234")
        with pytest.raises(ModelError, match="data type of the specification"):
            parse_model(make_model(initializers=[tensor]).SerializeToString())


@pytest.mark.parametrize(
    "data,said",
    [
        (b"", "got 0 bytes"),
        (b"\0" * 100, "100 zero bytes"),
        (b"hello world, this is text", "text that begins 'hello world"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"PK\x03\x04" + bytes(200), "a PyTorch checkpoint"),
        (b"\x18\0\0\0TFL3" + bytes(60), "a TensorFlow Lite model"),
        (b"\x08\x07", "2 bytes that are truncated, damaged or of another format"),
        (bytes(range(256)) * 9, "2304 bytes that are truncated, damaged or of another format"),
    ],
)
def test_what_is_no_model_is_described(tmp_path, data, said):
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ModelError, match=said) as caught:
        read_model(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ModelError, match="no such file"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="a folder"):
        read_model(tmp_path)
    with pytest.raises(ModelError):
        read_model("a\0b")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="no regular file"):
        read_model(tmp_path / "pipe.onnx")
    with (tmp_path / "large.onnx").open("wb") as stream:
        stream.truncate(3 << 30)  # sparse
    with pytest.raises(ModelError, match="must have at most 2147483647 bytes, got 3221225472"):
        read_model(tmp_path / "large.onnx")


def test_nesting_without_end_is_refused():
    graph = onnx.helper.make_graph([], "g", [], []).SerializeToString()
    for _ in range(400):
        attribute = b"\x32" + _varint(len(graph)) + graph  # AttributeProto.g
        node = b"\x2a" + _varint(len(attribute)) + attribute
        graph = b"\x0a" + _varint(len(node)) + node
    with pytest.raises(ModelError):
        parse_model(b"\x08\x08\x3a" + _varint(len(graph)) + graph)


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_text_that_is_no_utf8_is_refused():
    model = make_model(producer_name="abcd")
    with pytest.raises(ModelError, match="must be UTF-8 text"):
        parse_model(model.SerializeToString().replace(b"abcd", b"ab\xff\xfe"))


def test_every_tensor_is_walked():
    assert [t.name for t in walk_tensors(parse_model(make_model().SerializeToString()).proto)] == ["w"]


def test_neither_onnx_nor_onnxruntime_is_loaded():
    code = (
        "import sys, yolokkn.graph as g; assert 'google.protobuf' not in sys.modules\n"
        "b = g.GraphBuilder('g'); x = b.input('x', 'float32', (1,)); b.node('Relu', [x], output='y')\n"
        "b.output('y', 'float32', (1,)); g.model_cost(g.parse_model(b.to_bytes()))\n"
        "assert not {'onnx', 'onnxruntime', 'cv2', 'torch'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    )
