"""Cost and shapes: hand-counted cases, and the shape inference of the onnx package as the oracle."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from yolokkn.graph import model_cost, parse_model, read_model
from yolokkn.graph.dataflow import topological_order
from yolokkn.graph.onnx_rewrite import sort_nodes
from yolokkn.graph.shapes import infer_shapes

LIGHT = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


def build(nodes, inputs, arrays, output="y", opset=17):
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    y = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", infos, [y], tensors), opset_imports=[helper.make_opsetid("", opset)]
    )
    return parse_model(model.SerializeToString())


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    "op,shape,weight,attributes,macs",
    [
        ("Conv", (1, 8, 10, 12), (16, 8, 3, 3), {"pads": [1, 1, 1, 1]}, 16 * 10 * 12 * 8 * 9),
        ("Conv", (1, 8, 10, 12), (8, 1, 3, 3), {"group": 8, "strides": [2, 2]}, 8 * 4 * 5 * 9),
        ("Conv", (1, 8, 11, 12), (4, 8, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 4 * 6 * 6 * 8 * 9),
        ("Conv", (1, 2, 9), (4, 2, 3), {"dilations": [2]}, 4 * 5 * 2 * 3),
        ("ConvTranspose", (1, 8, 5, 5), (8, 4, 2, 2), {"strides": [2, 2]}, 8 * 25 * 4 * 4),
        ("MatMul", (1, 7, 8), (8, 5), {}, 7 * 8 * 5),
        ("Gemm", (1, 8), (5, 8), {"transB": 1}, 40),
    ],
)
def test_operations_equal_a_count_by_hand(op, shape, weight, attributes, macs):
    cost = model_cost(
        build([helper.make_node(op, ["x", "w"], ["y"], **attributes)], {"x": shape}, {"w": floats(*weight)})
    )
    assert cost.gflops == 2 * macs / 1e9
    assert cost.parameters == np.prod(weight)


def test_yolox_nano_costs_what_its_authors_say(shared_data):
    model = read_model(shared_data / "weights" / "yolox" / "yolox_nano.onnx")
    begin = time.perf_counter()
    cost = model_cost(model)
    assert time.perf_counter() - begin < 2
    assert cost.parameters == pytest.approx(0.91e6, rel=0.01)
    assert cost.gflops == pytest.approx(1.08, rel=0.05)  # theirs counts batch normalization too
    del model.graph.value_info[:]
    assert model_cost(model) == cost


def test_shape_arithmetic_is_followed():
    """The Shape-Gather-Mul-Concat-Resize chain of an export with a dynamic input."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["h"]),
        helper.make_node("Mul", ["h", "two"], ["h2"]),
        helper.make_node("Unsqueeze", ["h2", "zero"], ["h3"]),
        helper.make_node("Slice", ["s", "three_list", "four_list"], ["w1"]),
        helper.make_node("Mul", ["w1", "two"], ["w2"]),
        helper.make_node("Slice", ["s", "zero", "two_list"], ["nc"]),
        helper.make_node("Concat", ["nc", "h3", "w2"], ["sizes"], axis=0),
        helper.make_node("Resize", ["a", "", "", "sizes"], ["b"], mode="nearest"),
        helper.make_node("Conv", ["b", "v"], ["y"]),
    ]
    arrays = {"w": floats(4, 3, 3, 3), "v": floats(2, 4, 1, 1), "two": np.int64(2), "zero": np.int64([0])}
    arrays |= {"two_list": np.int64([2]), "three_list": np.int64([3]), "four_list": np.int64([4])}
    model = build(nodes, {"x": ("n", 3, "h", "w")}, arrays)
    cost = model_cost(model, (64, 48))
    assert cost.gflops == 2 * (4 * 32 * 24 * 27 + 2 * 64 * 48 * 4) / 1e9
    assert model_cost(model).gflops is None
    assert "has open sizes ('n', 3, 'h', 'w'); give input_hw" in model_cost(model).reason


def test_what_cannot_be_known_has_a_reason():
    conv = helper.make_node("Conv", ["a", "w"], ["y"], name="c")
    unknown = helper.make_node("NonZero", ["x"], ["a"])
    cost = model_cost(build([unknown, conv], {"x": (1, 3, 8, 8)}, {"w": floats(4, 3, 3, 3)}))
    assert cost.gflops is None and cost.reason == "the shapes at node 1 (Conv 'c') cannot be inferred"
    assert cost.parameters == 108
    fixed = build([helper.make_node("Conv", ["x", "w"], ["y"])], {"x": (1, 3, 8, 8)}, {"w": floats(4, 3, 3, 3)})
    assert "is fixed at 8x8" in model_cost(fixed, (16, 16)).reason
    assert model_cost(fixed, (8, 8)).gflops is not None


def test_a_batch_counts_once():
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    costs = [model_cost(build([node], {"x": (n, 3, 8, 8)}, {"w": floats(4, 3, 3, 3)})) for n in (1, 8, "batch")]
    assert costs[0] == costs[1] == costs[2]


def quantised(nodes_reversed=False):
    """A convolution of int8 weights and an int32 bias behind DequantizeLinear, the nodes in order or not."""
    arrays = {
        "xs": np.float32(0.1), "xz": np.uint8(3), "w": np.ones((4, 3, 3, 3), np.int8), "ws": floats(4),
        "wz": np.zeros(4, np.int8), "b": np.ones(4, np.int32), "bs": floats(4),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs"], ["bd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bd"], ["y"]),
    ]
    return build(nodes[::-1] if nodes_reversed else nodes, {"x": (1, 3, 8, 8)}, arrays)


@pytest.mark.parametrize("nodes_reversed", [False, True])
def test_quantised_graphs_cost_what_their_originals_do_in_whatever_order(nodes_reversed):
    cost = model_cost(quantised(nodes_reversed))
    assert cost.parameters == 4 * 27 + 4 and cost.gflops == 2 * 4 * 27 * 36 / 1e9


def test_nodes_are_sorted_and_a_circle_is_left():
    model = quantised(nodes_reversed=True)
    model.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1)
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(model.to_bytes())
    sort_nodes(model)
    onnx.checker.check_model(model.to_bytes())
    assert topological_order(model.graph.node) == list(range(5))
    circle = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["a"])]
    assert topological_order([*circle, helper.make_node("Relu", ["x"], ["y"])]) == [2, 0, 1]


def test_a_branch_follows_what_it_takes_from_outside():
    y = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Relu", ["late"], ["b"])], "b", [], [y])
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("Relu", ["x"], ["late"]),
    ]
    assert topological_order(nodes) == [1, 0]


def test_products_inside_a_branch_are_not_forgotten():
    y = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["b"])], "b", [], [y])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    cost = model_cost(build([node], {"x": (2, 2)}, {"w": floats(2, 2), "c": np.array(True)}))
    assert cost.gflops is None


def test_constants_used_as_weights_are_parameters():
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(floats(4, 3, 3, 3)))
    shape = helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.int64([1, -1])))
    nodes = [
        constant,
        shape,
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Reshape", ["a", "s"], ["y"]),
    ]
    assert model_cost(build(nodes, {"x": (1, 3, 8, 8)}, {})).parameters == 108


@pytest.mark.skipif(not LIGHT, reason="this release of onnx ships no models")
@pytest.mark.parametrize("path", LIGHT, ids=lambda p: p.stem)
def test_shapes_of_whole_networks_equal_the_oracle(path):
    model = read_model(path)
    values = infer_shapes(model.graph, {i.name: i.shape for i in model.inputs}, model.opset)
    oracle = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    compared = 0
    for info in [*oracle.value_info, *oracle.output]:
        shape = tuple(d.dim_value for d in info.type.tensor_type.shape.dim)
        if 0 not in shape:
            assert values[info.name].shape == shape, info.name
            compared += 1
    assert compared > 20
