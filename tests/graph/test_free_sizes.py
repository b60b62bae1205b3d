"""A model of fixed size, freed: the same values at its own size, and it runs at others."""

from __future__ import annotations

import numpy as np
import pytest

from yolokkn.errors import ModelError
from yolokkn.graph import GraphBuilder, free_sizes, parse_model, read_model
from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend


def fixed_model(shape=(1, 4, -1)):
    builder = GraphBuilder("fixed")
    x = builder.input("images", "float32", (1, 3, 8, 16))
    rng = np.random.default_rng(0)
    weight = builder.initializer("w", rng.standard_normal((4, 3, 3, 3)).astype(np.float32))
    y = builder.node("Conv", [x, weight], output="conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = builder.node("Reshape", [y, builder.initializer("shape", np.array(shape, np.int64))], output="flat")
    builder.output(builder.node("Transpose", [y], output="y", perm=[0, 2, 1]), "float32", (1, 128, 4))
    return parse_model(builder.to_bytes())


@pytest.mark.parametrize("shape", [(1, 4, -1), (1, 4, 128), (0, 4, -1)])
def test_the_same_at_its_own_size_and_right_at_others(shape):
    model = fixed_model(shape)
    before = model.to_bytes()
    freed = OnnxRuntimeBackend(free_sizes(model).to_bytes())
    assert model.to_bytes() == before, "the model given must stay as it is"
    rng = np.random.default_rng(1)
    one = rng.random((1, 3, 8, 16), np.float32)
    np.testing.assert_array_equal(freed.run({"images": one})["y"], OnnxRuntimeBackend(before).run({"images": one})["y"])
    two = rng.random((2, 3, 6, 10), np.float32)
    assert freed.run({"images": two})["y"].shape == (2, 60, 4)


def test_what_cannot_be_freed_is_said():
    with pytest.raises(ModelError, match=r"reshape to \[1, 4, 8, 16, 1\], whose sizes are built in"):
        free_sizes(fixed_model((1, 4, 8, 16, 1)))


STRIDES = (8, 16, 32)


def cells(hw):
    """(2, A) places x, y and (A,) strides of every cell, as the slow loop has them."""
    places = [(x + 0.5, y + 0.5, s) for s in STRIDES for y in range(hw[0] // s) for x in range(hw[1] // s)]
    table = np.array(places, np.float32)
    return table[:, :2].T.copy(), table[:, 2].copy()


def anchor_free_model(hw, places, strides):
    """A head with the places and strides of its cells as constants, as exports of fixed size hold them."""
    builder = GraphBuilder("head")
    x = builder.input("images", "float32", (1, 3, *hw))
    flat = []
    for s in STRIDES:
        y = builder.node("AveragePool", [x], output=f"pool{s}", kernel_shape=[s, s], strides=[s, s])
        size = (hw[0] // s) * (hw[1] // s)
        shape = builder.initializer(f"shape{s}", np.array((1, 3, size), np.int64))
        flat.append(builder.node("Reshape", [y, shape], output=f"flat{s}"))
    joined = builder.node("Concat", flat, output="joined", axis=2)
    xy = builder.node("Slice", [joined, *(builder.initializer(n, np.array([v], np.int64)) for n, v in
                      (("from", 0), ("to", 2), ("axis", 1)))], output="xy")  # fmt: skip
    moved = builder.node("Add", [xy, builder.initializer("places", places[None])], output="moved")
    y = builder.node("Mul", [moved, builder.initializer("strides", strides[None])], output="y")
    builder.output(y, "float32", (1, 2, places.shape[1]))
    return parse_model(builder.to_bytes())


@pytest.mark.parametrize("other", [(64, 96), (192, 32), (96, 160), (320, 320)])
def test_constants_of_the_cells_follow_the_picture(other):
    own = (96, 160)
    freed = OnnxRuntimeBackend(free_sizes(anchor_free_model(own, *cells(own))).to_bytes())
    wanted = OnnxRuntimeBackend(anchor_free_model(other, *cells(other)).to_bytes())
    image = np.random.default_rng(0).random((1, 3, *other), np.float32)
    np.testing.assert_array_equal(freed.run({"images": image})["y"], wanted.run({"images": image})["y"])


def test_constants_that_are_not_linear_are_refused():
    places, strides = cells((96, 160))
    places[1, 7] += 0.25
    with pytest.raises(ModelError, match=r"constant 'places' of \[1, 2, 315\], whose values do not follow the cells"):
        free_sizes(anchor_free_model((96, 160), places, strides))


def anchor_based_model(hw):
    """A YOLOv5 head: three anchors a cell, their grid a constant of five axes."""
    builder = GraphBuilder("head")
    x = builder.input("images", "float32", (1, 3, *hw))
    h, w = hw[0] // 8, hw[1] // 8
    weight = np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32)
    y = builder.node("Conv", [x, builder.initializer("w", weight)], output="conv", kernel_shape=[8, 8], strides=[8, 8])
    shape = builder.initializer("apart", np.array((1, 3, 2, h, w), np.int64))
    y = builder.node("Reshape", [y, shape], output="five")
    y = builder.node("Transpose", [y], output="last", perm=[0, 1, 3, 4, 2])
    rows, columns = np.mgrid[0:h, 0:w].astype(np.float32)
    grid = np.broadcast_to(np.stack([columns, rows], -1), (1, 3, h, w, 2)).copy()
    sizes = np.broadcast_to(np.float32([10, 16, 33]).reshape(1, 3, 1, 1, 1), grid.shape).copy()
    y = builder.node("Add", [y, builder.initializer("grid", grid)], output="moved")
    y = builder.node("Mul", [y, builder.initializer("sizes", sizes)], output="scaled")
    flat = builder.initializer("flat", np.array((1, 3 * h * w, 2), np.int64))
    builder.output(builder.node("Reshape", [y, flat], output="y"), "float32", (1, 3 * h * w, 2))
    return parse_model(builder.to_bytes())


def test_grids_of_anchor_based_heads_follow_too():
    freed = OnnxRuntimeBackend(free_sizes(anchor_based_model((64, 64))).to_bytes())
    for hw in ((64, 64), (40, 64), (128, 32)):
        image = np.random.default_rng(1).random((1, 3, *hw), np.float32)
        wanted = OnnxRuntimeBackend(anchor_based_model(hw).to_bytes()).run({"images": image})["y"]
        np.testing.assert_allclose(freed.run({"images": image})["y"], wanted, rtol=1e-5, atol=1e-4)


def test_a_real_detector(shared_data):
    model = read_model(shared_data / "weights/yolox/yolox_nano.onnx")
    freed, fixed = OnnxRuntimeBackend(free_sizes(model).to_bytes()), OnnxRuntimeBackend(model.to_bytes())
    images = np.random.default_rng(0).random((1, 3, 416, 416), np.float32) * 255
    np.testing.assert_allclose(
        freed.run({"images": images})["output"], fixed.run({"images": images})["output"], rtol=1e-4, atol=1e-4
    )
    assert freed.run({"images": np.zeros((3, 3, 256, 320), np.float32)})["output"].shape == (
        3,
        32 * 40 + 16 * 20 + 80,
        85,
    )
