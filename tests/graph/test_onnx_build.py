"""The builder: what it writes passes onnx.checker and runs."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from yolokkn.graph import GraphBuilder, parse_model


def test_a_built_model_passes_the_checker_and_runs():
    builder = GraphBuilder("g", opset=17, ir_version=10)
    x = builder.input("x", "float32", ("batch", 4))
    weight = np.arange(12, dtype=np.float32).reshape(3, 4).T  # not contiguous
    y = builder.node("Gemm", [x, builder.initializer("w", weight)], output="y", alpha=2.0, transB=0)
    z = builder.node("Cast", [y], output="z", to=1)
    constant = builder.node("Constant", [], output="c", value=np.float32([1, 2, 3]))
    u = builder.node("Add", [z, constant], output="u")
    parts = builder.node("Transpose", [u], output="t", perm=[1, 0])
    builder.output(parts, "float32", (3, "batch"))
    builder.metadata({"key": "välue"})
    data = builder.to_bytes()
    model = onnx.load_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version, model.producer_name) == (10, 17, "yolokkn")
    assert model.metadata_props[0].value == "välue"
    assert parse_model(data).num_parameters == 12
    image = np.random.default_rng(0).random((2, 4), dtype=np.float32)
    (got,) = onnxruntime.InferenceSession(data).run(None, {"x": image})
    np.testing.assert_allclose(got, (image @ weight * 2 + np.float32([1, 2, 3])).T, rtol=1e-5)


@pytest.mark.parametrize(
    "build,said",
    [
        (lambda b: b.input("z", "float33", (1,)), "dtype must be one of float32, .*, got 'float33'"),
        (lambda b: b.initializer("x", np.zeros(1, np.float32)), "names must be unique and not empty, got 'x'"),
        (lambda b: b.node("Relu", ["none"], output="y"), r"inputs must exist already, got \['none'\]"),
        (lambda b: b.node("Relu", ["x"], output=""), "names must be unique and not empty, got ''"),
        (lambda b: b.output("y", "float32", (1,)), "name must exist already, got 'y'"),
        (lambda b: b.initializer("o", np.array([None])), "dtype must be one of"),
    ],
)
def test_wrong_building_is_refused(build, said):
    builder = GraphBuilder("g")
    builder.input("x", "float32", (1,))
    with pytest.raises(ValueError, match=said):
        build(builder)


@pytest.mark.parametrize("kwargs,said", [({"opset": 19}, "opset must be 7 to 18"), ({"ir_version": 11}, "4 to 10")])
def test_versions_that_onnxruntime_may_lack_are_refused(kwargs, said):
    with pytest.raises(ValueError, match=said):
        GraphBuilder("g", **kwargs)
