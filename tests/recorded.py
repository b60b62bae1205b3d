"""ONNX models whose outputs are recorded arrays: every layout can be run without a trained network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from yolokkn.graph import GraphBuilder


def recorded_model(
    outputs: Mapping[str, np.ndarray],
    *,
    input_hw: tuple[int, int] | None = (64, 64),
    metadata: Mapping[str, str] | None = None,
    with_sizes: bool = False,
    ops: Sequence[str] = (),
    dtype: str = "float32",
    batch: int | str = 1,
) -> bytes:
    """An ONNX file that gives these outputs for any picture.

    Args:
        outputs: Name -> array, batch first.
        input_hw: Size of the input; None leaves it free.
        metadata: metadata_props.
        with_sizes: Add RT-DETR's input orig_target_sizes.
        ops: Kinds of nodes that the graph shall also have, beside the outputs: "Exp", "ArgMax" ...
        dtype: Of the picture input.
        batch: Size of the input's first dimension.
    """
    graph = GraphBuilder("recorded")
    hw = ("height", "width") if input_hw is None else input_hw
    picture = graph.input("images", dtype, (batch, 3, *hw))
    if with_sizes:
        graph.input("orig_target_sizes", "int64", (1, 2))
    mean = graph.node("ReduceMean", [picture], output="mean", axes=[0, 1, 2, 3], keepdims=0)
    zero = graph.node("Mul", [mean, graph.initializer("nought", np.zeros((), dtype))], output="zero")
    if dtype != "float32":
        zero = graph.node("Cast", [zero], output="zero32", to=1)
    for i, op in enumerate(ops):
        graph.node(op, [picture], output=f"beside{i}")
    for name, array in outputs.items():
        value = graph.initializer(f"{name}_recorded", array)
        if array.dtype == np.float32:
            graph.node("Add", [value, zero], output=name)
        else:
            graph.node("Identity", [value], output=name)
        graph.output(name, array.dtype.name, array.shape)
    graph.metadata(metadata or {})
    return graph.to_bytes()


def cell_centres(input_hw: tuple[int, int] = (64, 64), strides: Sequence[int] = (8, 16, 32)) -> np.ndarray:
    """(A, 2) float32: x, y of each cell's centre in pixels, the order of every per-cell head."""
    h, w = input_hw
    parts = []
    for s in strides:
        y, x = np.mgrid[0 : h // s, 0 : w // s]
        parts.append(np.stack([x.ravel() + 0.5, y.ravel() + 0.5], 1) * s)
    return np.concatenate(parts).astype(np.float32)


def cell_heads(num_columns: int, **kwargs) -> np.ndarray:
    """(A, num_columns) float32: boxes of 4 px on the cell centres, everything else 0."""
    centres = cell_centres(**kwargs)
    table = np.zeros((len(centres), num_columns), np.float32)
    table[:, :2] = centres
    table[:, 2:4] = 4
    return table
