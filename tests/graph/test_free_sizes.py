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
    with pytest.raises(ModelError, match="built in"):
        free_sizes(fixed_model((1, 2, 2, 128)))


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
