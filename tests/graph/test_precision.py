"""Which precision a graph has: what it stores, and what it computes in."""

import numpy as np

from yolokkn.deploy import to_half
from yolokkn.graph import GraphBuilder, parse_model
from yolokkn.graph.onnx_rewrite import store_half
from yolokkn.graph.precision import computing_precision, graph_precision, less_exact


def convolutions(op="Relu"):
    builder = GraphBuilder("net")
    x = builder.input("x", "float32", (1, 3, 8, 8))
    for index in range(2):
        weights = builder.initializer(f"w{index}", np.full((3, 3, 3, 3), 0.25 + index, np.float32))
        x = builder.node("Conv", [x, weights], output=f"conv{index}")
        x = builder.node(op, [x], output=f"act{index}")
    builder.output(builder.node("Identity", [x], output="y"), "float32", (1, 3, 4, 4))
    return builder.to_bytes()


def test_what_is_stored_and_what_is_computed():
    whole = parse_model(convolutions())
    assert graph_precision(whole)[0] == computing_precision(whole) == "fp32"
    stored = parse_model(convolutions())
    assert store_half(stored) == 2
    assert (graph_precision(stored)[0], computing_precision(stored)) == ("fp16", "fp32")
    half = parse_model(to_half(convolutions()))
    assert (graph_precision(half)[0], computing_precision(half)) == ("fp16", "fp16")
    quantized = parse_model(convolutions("QuantizeLinear"))
    assert graph_precision(quantized)[0] == computing_precision(quantized) == "int8"


def test_the_least_exact():
    assert less_exact("fp32", "fp16") == "fp16" and less_exact("int8", "fp16") == "int8"
