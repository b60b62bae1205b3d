"""Float16 graphs: every network of the project and real files, on each backend, against the float32 original."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import CASES, HW, fitted
from yolokkn.deploy import build_onnx, to_half
from yolokkn.deploy.onnx_check import check_onnx
from yolokkn.errors import ModelError
from yolokkn.graph import GraphBuilder, darknet_to_onnx, parse_model
from yolokkn.graph.dataflow import Dataflow
from yolokkn.graph.half_graph import HALF_INPUTS
from yolokkn.graph.head_nodes import find_head
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import open_backend

KINDS = [{"half": True}, {"dynamic_hw": True, "batch": None}]


def kinds_of_layers(content):
    """(dtype, whether it is of the head) of every convolution."""
    graph = parse_model(content).graph
    flow = Dataflow(graph)
    head = find_head(flow)
    return [
        (flow.kinds[n.output[0]], place in head.layers) for place, n in enumerate(graph.node) if n.op_type == "Conv"
    ]


def worst_channel(wanted, got):
    """Largest difference, each channel measured by its own largest value or by 1."""
    others = tuple(i for i in range(wanted.ndim) if i != 1)
    return float((np.abs(wanted - got).max(others) / np.maximum(np.abs(wanted).max(others), 1)).max())


def check_half(content, hw, scale=1.0, tolerance=0.02, backend="onnxruntime"):
    half = to_half(content)
    before, after = parse_model(content), parse_model(half)
    assert check_onnx(half, "to_half")
    assert (after.metadata, after.opset, after.ir_version) == (before.metadata, before.opset, before.ir_version)
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    assert to_half(half) == half
    layers = kinds_of_layers(half)
    assert {kind for kind, is_head in layers if is_head} == {"float32"}
    assert {kind for kind, is_head in layers if not is_head} == {"float16"}
    spec = before.inputs[0]
    feeds = {
        spec.name: np.random.default_rng(0).random((spec.shape[0] if spec.shape[0] == 1 else 2, 3, *hw), np.float32)
    }
    feeds = {name: value * np.float32(scale) for name, value in feeds.items()}
    wanted = open_backend("onnxruntime", content, threads=1).run(feeds)
    got = open_backend(backend, half, threads=1).run(feeds)
    for name, value in wanted.items():
        assert got[name].dtype == np.float32
        difference = worst_channel(value, got[name])
        assert 0 < difference < tolerance, (name, difference)
    return half


@pytest.mark.parametrize(
    ("case", "kind"), [*((case, {}) for case in CASES), *((CASES[i], kind) for i in (1, 3) for kind in KINDS)], ids=str
)
def test_every_network_of_the_project(case, kind):
    content = build_onnx(fitted(*case), **kind, verify=False)[0]
    half = check_half(content, HW)
    check_tensorrt_reads(half)
    assert len(half) < (1 if kind.get("half") else 0.55) * len(content)


def test_tensorrt_is_there():
    """The others of this folder leave its part out where it is not."""
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: no graph was parsed by TensorRT")


def test_openvino_runs_them():
    pytest.importorskip("openvino", reason="openvino is not installed")
    for case in CASES[1:3]:
        check_half(build_onnx(fitted(*case), verify=False)[0], HW, backend="openvino")


def check_tensorrt_reads(content):
    try:
        import tensorrt_rtx as tensorrt
    except ImportError:
        return  # test_tensorrt_is_there says so
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, logger)
    assert parser.parse(content), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert parser.num_errors == 0
    kinds = {str(network.get_input(0).dtype), str(network.get_output(0).dtype)}
    assert kinds == {"DataType.FLOAT"}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_yolox_nano(shared_data, backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")
    content = (shared_data / "weights" / "yolox" / "yolox_nano.onnx").read_bytes()
    half = check_half(content, (416, 416), 255, tolerance=0.1, backend=backend)
    assert len(half) < 0.52 * len(content)
    check_tensorrt_reads(half)


def test_darknet_models(shared_data):
    for cfg in sorted((shared_data / "weights" / "yolo-fastest").glob("*1.1*.cfg")):
        content = darknet_to_onnx(cfg, cfg.with_suffix(".weights"))
        hw = parse_model(content).inputs[0].shape[2:]
        check_tensorrt_reads(check_half(content, hw, tolerance=0.05))


def graph_of(weights, middle=None):
    """Images -> convolution with `weights` -> Relu [-> depthwise convolution] -> 1x1 convolution -> boxes."""
    builder = GraphBuilder("small")
    x = builder.input("images", "float32", (1, 3, 8, 8))
    x = builder.node("Conv", [x, builder.initializer("w", weights)], output="first")
    x = builder.node("Relu", [x], output="relu")
    if middle is not None:
        w = builder.initializer("m", middle)
        x = builder.node("Conv", [x, w], output="middle", group=8, pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    y = builder.node("Conv", [x, builder.initializer("w2", np.ones((1, 8, 1, 1), np.float32))], output="boxes")
    builder.output(y, "float32", (1, 1, 8, 8))
    builder.metadata({"names": "[]"})
    return builder.to_bytes()


def test_weights_beyond_half_keep_their_layer_in_float32():
    weights = np.ones((8, 3, 1, 1), np.float32)
    assert kinds_of_layers(to_half(graph_of(weights))) == [("float16", False), ("float32", True)]
    weights[0, 0] = 7e4
    half = to_half(graph_of(weights))
    assert kinds_of_layers(half) == [("float32", False), ("float32", True)]
    assert [node.op_type for node in parse_model(half).graph.node] == ["Conv", "Cast", "Relu", "Cast", "Conv"]


def test_a_number_that_would_become_zero_stays():
    builder = GraphBuilder("small")
    x = builder.input("images", "float32", (1, 3, 8, 8))
    x = builder.node("Div", [x, builder.initializer("tiny", np.float32([1e-9]))], output="divided")
    y = builder.node("Conv", [x, builder.initializer("w", np.ones((1, 3, 1, 1), np.float32))], output="boxes")
    builder.output(y, "float32", (1, 1, 8, 8))
    with pytest.raises(ModelError, match=r"to_half: tiny\.onnx must have float32 layers before its last ones"):
        to_half(builder.to_bytes(), "tiny.onnx")


def test_the_mean_of_a_distribution_belongs_to_the_head():
    builder = GraphBuilder("dfl")
    x = builder.input("images", "float32", (1, 3, 8, 8))
    w = builder.initializer("w", np.random.default_rng(0).random((16, 3, 1, 1), np.float32))
    v = builder.initializer("v", np.random.default_rng(1).random((16, 16, 1, 1), np.float32))
    x = builder.node("Conv", [x, w], output="trunk")
    x = builder.node("Conv", [x, v], output="last")
    x = builder.node("Softmax", [x], output="bins", axis=1)
    bins = builder.initializer("project", np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1))
    builder.output(builder.node("Conv", [x, bins], output="distances"), "float32", (1, 1, 8, 8))
    assert kinds_of_layers(to_half(builder.to_bytes())) == [("float16", False), ("float32", True), ("float32", False)]


def test_shapes_and_the_numbers_made_of_them_stay_exact():
    """A resize to twice the size of its input, computed in the graph: only the picture goes through float16."""
    builder = GraphBuilder("resize")
    x = builder.input("images", "float32", (1, 3, "height", "width"))
    w = builder.initializer("w", np.ones((3, 3, 1, 1), np.float32))
    x = builder.node("Conv", [x, w], output="trunk")
    shape = builder.node("Cast", [builder.node("Shape", [x], output="shape")], output="floats", to=1)
    factor = builder.initializer("factor", np.float32([1, 1, 2, 2]))
    scales = builder.node("Div", [builder.node("Mul", [shape, factor], output="twice"), shape], output="scales")
    x = builder.node("Resize", [x, "", scales], output="large", mode="nearest")
    builder.output(builder.node("Conv", [x, w], output="boxes"), "float32", (1, 3, "h2", "w2"))
    half = to_half(builder.to_bytes())
    flow = Dataflow(parse_model(half).graph)
    assert flow.kinds["scales"] == flow.kinds["twice"] == "float32" and flow.kinds["large.half"] == "float16"
    large = open_backend("onnxruntime", half).run({"images": np.ones((1, 3, 5, 7), np.float32)})["boxes"]
    np.testing.assert_array_equal(large, np.full((1, 3, 10, 14), 9))


def test_subgraphs_see_the_values_that_they_name():
    """A value of the outer graph that an If uses inside stays float32 under its name."""
    model = parse_model(graph_of(np.ones((8, 3, 1, 1), np.float32)))
    graph = model.graph
    node_class = type(graph.node[0])
    branch = type(graph)(name="branch", node=[node_class(op_type="Neg", input=["relu"], output=["negative"])])
    branch.output.add(name="negative").type.tensor_type.elem_type = 1
    choice = node_class(op_type="If", name="if", input=["yes"], output=["chosen"])
    choice.attribute.add(name="then_branch", type=5).g.CopyFrom(branch)
    choice.attribute.add(name="else_branch", type=5).g.CopyFrom(branch)
    graph.initializer.add(name="yes", data_type=9, raw_data=b"\x01")
    graph.node[2].input[0] = "chosen"
    last = node_class.FromString(graph.node[2].SerializeToString())
    del graph.node[2]
    graph.node.extend([choice, last])
    half = to_half(model.to_bytes())
    assert kinds_of_layers(half)[0] == ("float16", False)
    found = open_backend("onnxruntime", half).run({"images": np.full((1, 3, 8, 8), 0.5, np.float32)})["boxes"]
    np.testing.assert_array_equal(found, np.full((1, 1, 8, 8), -12))


def test_int8_and_other_files_are_refused():
    model = parse_model(graph_of(np.ones((8, 3, 1, 1), np.float32)))
    model.graph.node[1].op_type = "DequantizeLinear"
    with pytest.raises(
        ModelError, match=r"to_half: a.onnx must be a float32 model, got an int8 one \(DequantizeLinear"
    ):
        to_half(model.to_bytes(), "a.onnx")
    with pytest.raises(ModelError, match="must hold an ONNX model"):
        to_half(b"no model")


@pytest.mark.parametrize("name", ["person-vehicle", "person-segment"])
def test_packaged_models_detect_the_same(name):
    path = resolve_model(name)
    picture = np.random.default_rng(3).integers(0, 255, (200, 300, 3), np.uint8)
    options = {"score_threshold": 0.0005, "max_detections": 10}
    wanted = yolokkn.load(path, **options)(picture)
    found = yolokkn.load(to_half(path.read_bytes()), **options)(picture)
    assert len(found) == len(wanted) > 0
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=0.1)


def test_no_torch_is_needed():
    code = "import sys, yolokkn.graph.half_graph; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_computes_in_float16_may_do_so_by_the_standard():
    """Every operator that is turned takes float16 in every version that a model may have."""
    onnx = pytest.importorskip("onnx")
    for op in sorted(HALF_INPUTS):
        for opset in range(11, 19):
            try:
                schema = onnx.defs.get_schema(op, max_inclusive_version=opset)
            except onnx.defs.SchemaError:
                continue  # not there yet
            if schema.deprecated:
                continue
            kinds = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
            first = schema.inputs[0].type_str
            assert "tensor(float16)" in kinds.get(first, [first]), (op, opset)
