"""Exports of fixed size, given free ones by the runtime, against exports whose sizes were free from the start."""

import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import fitted
from yolokkn.deploy import build_onnx
from yolokkn.errors import ModelError


@pytest.mark.parametrize("layout", ["raw", "decoded"])
def test_equals_an_export_of_free_size_or_is_refused(layout):
    network = fitted("yolovkkn2-p", "detect")
    fixed, _ = build_onnx(network, layout=layout, verify=False)
    free, _ = build_onnx(network, layout=layout, dynamic_hw=True, verify=False)
    wanted = yolokkn.load(free, score_threshold=0.02)
    try:
        found = yolokkn.load(fixed, score_threshold=0.02, rect=True)
    except ModelError as error:
        assert layout == "decoded" and "has its sizes built in" in str(error)
        return
    image = np.random.default_rng(3).integers(0, 256, (60, 128, 3), np.uint8)
    assert found.letterbox_for((60, 128)).input_hw != found.input_hw
    a, b = wanted(image), found(image)
    assert len(a) > 0 and len(a) == len(b)
    np.testing.assert_allclose(b.boxes, a.boxes, atol=0.01)
    np.testing.assert_array_equal(b.class_ids, a.class_ids)
