"""ONNX files made to do harm: each is refused, or fails with one line, through every door."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 32
PICTURE = [1, 3, SMALL, SMALL]
HEAD = [1, 6, 21]  # 4x4 + 2x2 + 1 cells of strides 8, 16, 32; two classes
IMAGES = helper.make_tensor_value_info("images", TensorProto.FLOAT, PICTURE)
OUTPUT = helper.make_tensor_value_info("output0", TensorProto.FLOAT, HEAD)


def constant(name: str, array) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def model(nodes, constants=(), inputs=(IMAGES,), outputs=(OUTPUT,), **kwargs) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "hostile", list(inputs), list(outputs), list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **kwargs)
    made.ir_version = 8
    return made


def head(*before, constants=(), source="images", picture="images", **kwargs) -> onnx.ModelProto:
    """A small detector whose head follows from its picture; `before` stands beside its convolutions and gives `source`."""
    rng = np.random.default_rng(0)
    boxes = np.zeros(HEAD, np.float32)
    boxes[:, 0], boxes[:, 1] = np.linspace(0, 31, 21), np.linspace(31, 0, 21)
    weights = [
        constant(f"w{i}", rng.normal(0, 0.2, (out, channels, 3, 3)).astype(np.float32))
        for i, (channels, out) in enumerate(((3, 8), (8, 8), (8, 6)))
    ]
    nodes = [
        *before,
        helper.make_node("Conv", [picture, "w0"], ["x0"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["x0"], ["x1"]),
        helper.make_node("Conv", ["x1", "w1"], ["x2"], pads=[1] * 4),
        helper.make_node("Relu", ["x2"], ["x3"]),
        helper.make_node("Conv", ["x3", "w2"], ["x4"], pads=[1] * 4),
        helper.make_node("ReduceMean", ["x4"], ["body"], keepdims=0),
        helper.make_node("ReduceMean", [source], ["mean"], keepdims=0),
        helper.make_node("Add", ["body", "mean"], ["sum"]),
        helper.make_node("Mul", ["sum", "nought"], ["zero"]),
        helper.make_node("Add", ["boxes", "zero"], ["output0"]),
    ]
    return model(nodes, [constant("nought", np.float32(0)), constant("boxes", boxes), *weights, *constants], **kwargs)


def external(location: str, **more: str) -> onnx.ModelProto:
    made = head()
    tensor = made.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return made


def external_models(folder: Path) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Weights outside the file: absolute, above, through a link, and beside it as one should not."""
    secret = folder / "secret.bin"
    secret.write_bytes(np.zeros(HEAD, np.float32).tobytes())
    link = folder / "link.bin"
    link.symlink_to(secret)
    for location in (
        "/etc/passwd", "../secret.bin", "../../../../../../etc/passwd", "link.bin", "secret.bin", "sub/../secret.bin",
        "/proc/self/environ", "/dev/zero", "file:///etc/passwd", "C:\\windows\\win.ini", "//host/share", "", "a\0b",
    ):  # fmt: skip
        yield f"external {location!r}", external(location)
    yield "external with a huge length", external("secret.bin", length=str(2**60), offset=str(2**60))
    yield "external with a negative offset", external("secret.bin", length="-1", offset="-5")


def sized_models() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Sizes that no machine has, declared or computed."""
    for name, dims in (
        ("huge", [1, 3, 2**40, 2**40]),
        ("negative", [1, 3, -5, -7]),
        ("largest", [2**63 - 1] * 4),
        ("wide", [1, 3, 2**20, 2**20]),
        ("no", [1, 3, 0, 0]),
        ("thousand batches", [100_000, 3, 640, 640]),
    ):
        yield f"input of {name} sizes", head(inputs=[helper.make_tensor_value_info("images", TensorProto.FLOAT, dims)])
        yield (
            f"output of {name} sizes",
            head(outputs=[helper.make_tensor_value_info("output0", TensorProto.FLOAT, dims)]),
        )
    huge = constant("huge", np.array([1, 3, 2**18, 2**18], np.int64))
    yield (
        "ConstantOfShape",
        head(helper.make_node("ConstantOfShape", ["huge"], ["big"]), constants=[huge], source="big"),
    )
    yield "Expand", head(helper.make_node("Expand", ["images", "huge1"], ["big"]), source="big",
                         constants=[constant("huge1", np.array([2**36, 3, 32, 32], np.int64))])  # fmt: skip
    yield "Tile", head(helper.make_node("Tile", ["images", "times"], ["big"]), source="big",
                       constants=[constant("times", np.array([2**12, 2**12, 2**4, 2**4], np.int64))])  # fmt: skip
    yield "Resize", head(helper.make_node("Resize", ["images", "", "scales"], ["big"], mode="nearest"), source="big",
                         constants=[constant("scales", np.float32([1, 1, 1e5, 1e5]))])  # fmt: skip
    yield "Pad", head(helper.make_node("Pad", ["images", "pads"], ["big"]), source="big",
                      constants=[constant("pads", np.int64([0, 0, 0, 0, 0, 0, 2**20, 2**20]))])  # fmt: skip
    yield "Pad below nothing", head(helper.make_node("Pad", ["images", "pads"], ["big"]), source="big",
                                    constants=[constant("pads", np.int64([0, 0, -99, 0, 0, 0, 0, 0]))])  # fmt: skip
    many = [helper.make_node("Concat", [f"c{i}"] * 8, [f"c{i + 1}"], axis=3) for i in range(20)]
    first = helper.make_node("Identity", ["images"], ["c0"])
    yield "Concat of itself, 8 to the 20th", head(first, *many, source="c20")
    yield "Range", head(helper.make_node("Range", ["a", "b", "c"], ["big"]), source="big",
                        constants=[constant(n, np.float32(v)) for n, v in (("a", 0), ("b", 1e12), ("c", 1))])  # fmt: skip
    yield "OneHot", head(
        helper.make_node("Cast", ["images"], ["whole"], to=TensorProto.INT64),
        helper.make_node("OneHot", ["whole", "depth", "values"], ["big"]), source="big",
        constants=[constant("depth", np.int64(2**34)), constant("values", np.float32([0, 1]))])  # fmt: skip
    weight = constant("w", np.ones((1, 3, 1, 1), np.float32))
    yield "Conv with huge padding", head(
        helper.make_node("Conv", ["images", "w"], ["big"], pads=[2**20] * 4), constants=[weight], source="big")  # fmt: skip
    yield "Conv with a stride of 0", head(
        helper.make_node("Conv", ["images", "w"], ["big"], strides=[0, 0]), constants=[weight], source="big")  # fmt: skip
    yield "Conv of no groups", head(
        helper.make_node("Conv", ["images", "w"], ["big"], group=0), constants=[weight], source="big")  # fmt: skip
    yield "Conv of other channels", head(
        helper.make_node("Conv", ["images", "w"], ["big"]), source="big",
        constants=[constant("w", np.ones((1, 5, 1, 1), np.float32))])  # fmt: skip
    yield "MaxPool of nothing", head(
        helper.make_node("MaxPool", ["images"], ["big"], kernel_shape=[0, 0]), source="big")  # fmt: skip
    yield "MaxPool of 2**31", head(
        helper.make_node("MaxPool", ["images"], ["big"], kernel_shape=[2**31] * 2, pads=[2**30] * 4),
        source="big")  # fmt: skip
    yield "Reshape to what does not fit", head(
        helper.make_node("Reshape", ["images", "to"], ["big"]), source="big",
        constants=[constant("to", np.int64([2**62, -1, 2]))])  # fmt: skip
    yield "Gather far outside", head(
        helper.make_node("Gather", ["images", "at"], ["big"]), source="big",
        constants=[constant("at", np.int64([2**40, -(2**40)]))])  # fmt: skip
    yield "Slice of a step of 0", head(
        helper.make_node("Slice", ["images", "b", "e", "a", "s"], ["big"]), source="big",
        constants=[constant(n, np.int64([v])) for n, v in (("b", 0), ("e", 9), ("a", 2), ("s", 0))])  # fmt: skip
    yield "Transpose of axes that are not there", head(
        helper.make_node("Transpose", ["images"], ["big"], perm=[9, -3, 1, 1]), source="big")  # fmt: skip
    yield "TopK of more than there is", head(
        helper.make_node("TopK", ["images", "k"], ["big", "at"]), source="big",
        constants=[constant("k", np.int64([2**40]))])  # fmt: skip
    sparse = head()
    values = constant("boxes", np.ones(1, np.float32))
    del sparse.graph.initializer[1]
    sparse.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=values, indices=constant("i", np.int64([5])), dims=[2**20, 2**20])
    )
    yield "sparse tensor of huge sizes", sparse


def twisted_models() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Graphs that are none: cycles, twins, what is missing."""
    relu = helper.make_node("Relu", ["images"], ["a"], name="relu")
    yield "node that feeds itself", head(helper.make_node("Add", ["images", "a"], ["a"]), source="a")
    yield "cycle of two", head(
        helper.make_node("Add", ["images", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"]), source="a")  # fmt: skip
    ring = [helper.make_node("Add", ["images", f"r{(i + 1) % 999}"], [f"r{i}"]) for i in range(999)]
    yield "cycle of a thousand", head(*ring, source="r0")
    yield "output twice", head(relu, helper.make_node("Neg", ["images"], ["a"], name="neg"), source="a")
    yield "name of a node twice", head(relu, helper.make_node("Neg", ["a"], ["b"], name="relu"), source="b")
    yield "output called as the input", head(helper.make_node("Relu", ["images"], ["images"]))
    yield "output called as a constant", head(helper.make_node("Relu", ["images"], ["boxes"]))
    yield "constant twice", head(constants=[constant("nought", np.float32(3))])
    yield "input twice", head(inputs=[IMAGES, IMAGES])
    yield "output declared twice", head(outputs=[OUTPUT, OUTPUT])
    yield "input from nowhere", head(helper.make_node("Relu", ["nowhere"], ["a"]), source="a")
    yield "output from nowhere", model([relu])
    yield "operator that does not exist", head(helper.make_node("Evil", ["images"], ["a"]), source="a")
    yield "operator of another domain", head(
        helper.make_node("Relu", ["images"], ["a"], domain="com.evil"), source="a")  # fmt: skip
    yield "no inputs where there must be", head(helper.make_node("Conv", [], ["a"]), source="a")
    yield "a hundred inputs too many", head(helper.make_node("Relu", ["images"] * 100, ["a"]), source="a")
    yield "attribute twice", head(twice(), source="a")
    yield "attribute of the wrong kind", head(helper.make_node("Softmax", ["images"], ["a"], axis="x"), source="a")
    yield "axis far outside", head(helper.make_node("Softmax", ["images"], ["a"], axis=2**60), source="a")
    late = head(relu, source="a")
    late.graph.node.append(late.graph.node[0])
    del late.graph.node[0]
    yield "nodes in the wrong order", late
    function = helper.make_function(
        "evil",
        "F",
        ["x"],
        ["y"],
        [helper.make_node("F", ["x"], ["y"], domain="evil")],
        [helper.make_opsetid("evil", 1)],
    )
    recursive = head(helper.make_node("F", ["images"], ["a"], domain="evil"), source="a", functions=[function])
    recursive.opset_import.add(domain="evil", version=1)
    yield "function that calls itself", recursive
    yield "functions that multiply", multiplying_functions()
    for version in (-1, 0, 10**6, 2**62):
        odd = head(relu, source="a")
        odd.opset_import[0].version = version
        yield f"opset {version}", odd
    for version in (-1, 0, 10**6, 2**62):
        odd = head(relu, source="a")
        odd.ir_version = version
        yield f"ir version {version}", odd
    empty = head(relu, source="a")
    del empty.opset_import[:]
    yield "no opset", empty
    yield "names of a megabyte", head(helper.make_node("Relu", ["images"], ["n" * 2**20]), source="n" * 2**20)
    yield "names with control characters", head(
        helper.make_node("Relu", ["images"], ["a\n\x1b[31m\r"]), source="a\n\x1b[31m\r")  # fmt: skip
    evil = "out\n\x1b[31m\r"
    renamed = head(outputs=[helper.make_tensor_value_info(evil, TensorProto.FLOAT, HEAD)])
    renamed.graph.node[-1].output[0] = evil
    yield "output called with control characters", renamed
    renamed = head(inputs=[helper.make_tensor_value_info(evil, TensorProto.FLOAT, PICTURE)], source=evil, picture=evil)
    helper.set_model_props(renamed, {"names": json.dumps({0: "a\x1b[31m", 1: "b\nc"}), "author": "me\x1b]0;title\x07"})
    yield "input, classes and author called with control characters", renamed
    yield "picture of text", head(inputs=[helper.make_tensor_value_info("images", TensorProto.STRING, PICTURE)])
    yield "picture of numbers unheard of", head(inputs=[helper.make_tensor_value_info("images", 77, PICTURE)])


def twice() -> onnx.NodeProto:
    node = helper.make_node("Softmax", ["images"], ["a"], axis=1)
    node.attribute.append(helper.make_attribute("axis", -(2**40)))
    return node


def multiplying_functions() -> onnx.ModelProto:
    """Each calls the one below eight times: 8**12 nodes when they are written out."""
    functions = []
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil", 1)]
    for level in range(12):
        kind, domain = ("Relu", "") if level == 0 else (f"F{level - 1}", "evil")
        nodes = [
            helper.make_node(kind, ["x" if i == 0 else f"v{i}"], ["y" if i == 7 else f"v{i + 1}"], domain=domain)
            for i in range(8)
        ]
        functions.append(helper.make_function("evil", f"F{level}", ["x"], ["y"], nodes, opsets))
    made = head(helper.make_node("F11", ["images"], ["a"], domain="evil"), source="a", functions=functions)
    made.opset_import.add(domain="evil", version=1)
    return made


def nested_models() -> Iterator[tuple[str, onnx.ModelProto]]:
    """Subgraphs within subgraphs."""
    for depth in (2, 7, 25):
        yield f"If within If, {depth} deep", nested(depth)
    loop = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Concat", ["v", "v"], ["w"], axis=3)], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("w", TensorProto.FLOAT, None)],
    )  # fmt: skip
    yield "Loop that doubles", head(
        helper.make_node("Loop", ["trips", "yes", "images"], ["big"], body=loop), source="big",
        constants=[constant("trips", np.int64(60)), constant("yes", np.array(True))])  # fmt: skip
    idle = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Identity", ["v"], ["w"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("w", TensorProto.FLOAT, None)],
    )  # fmt: skip
    yield "Loop without end", head(
        helper.make_node("Loop", ["", "yes", "images"], ["big"], body=idle), source="big",
        constants=[constant("yes", np.array(True))])  # fmt: skip


def nested(depth: int) -> onnx.ModelProto:
    out = helper.make_tensor_value_info("deep", TensorProto.FLOAT, PICTURE)
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["deep"])], "leaf", [], [out])
    for level in range(depth):
        inner = f"deep{level}"
        node = helper.make_node("If", ["yes"], [inner], then_branch=graph, else_branch=graph if level < 4 else leaf())
        graph = helper.make_graph(
            [node], "level", [], [helper.make_tensor_value_info(inner, TensorProto.FLOAT, PICTURE)]
        )
    top = helper.make_node("If", ["yes"], ["a"], then_branch=graph, else_branch=leaf())
    return head(top, source="a", constants=[constant("yes", np.array(True))])


def leaf() -> onnx.GraphProto:
    out = helper.make_tensor_value_info("leaf", TensorProto.FLOAT, PICTURE)
    return helper.make_graph([helper.make_node("Identity", ["images"], ["leaf"])], "leaf", [], [out])


def hostile_models(folder: Path) -> dict[str, bytes]:
    """Name -> file. Those with `external` in their names belong into `folder` or below."""
    made: dict[str, bytes] = {}
    for source in (external_models(folder), sized_models(), twisted_models(), nested_models()):
        for name, proto in source:
            made[name] = proto.SerializeToString()
    return made
