import numpy as np
import pytest

from yolokkn import ops, tracking

BOXES, SCORES = np.zeros((1, 4), np.float32), np.zeros(1, np.float32)
HEAD = np.zeros((6, 84), np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ops.nms(BOXES, SCORES, iou_threshold="x"), "nms: iou_threshold must be a number, got str"),
        (
            lambda: ops.nms(BOXES, SCORES, max_detections=2.5),
            "nms: max_detections must be a whole number of 64 bits, got float",
        ),
        (
            lambda: ops.nms(BOXES, SCORES, max_detections=2**70),
            "nms: max_detections must be a whole number of 64 bits, got int",
        ),
        (
            lambda: ops.decode_channels(HEAD, None),
            "decode_channels: num_classes must be a whole number of 64 bits, got NoneType",
        ),
        (
            lambda: ops.decode_channels(HEAD, 2, multi_label="yes"),
            "decode_channels: multi_label must be a bool, got str",
        ),
        (
            lambda: ops.decode_rows(HEAD, 79, objectness=True, strides=8),
            "decode_rows: strides must be a sequence, got int",
        ),
        (lambda: tracking.assign(BOXES, "x"), "assign: max_cost must be a number, got str"),
    ],
)
def test_scalars_of_the_wrong_kind_are_named_in_one_line(call, text):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == text


def test_doors_keep_their_names_and_documents():
    assert ops.nms.__name__ == "nms"
    assert "Returns:" in ops.nms.__doc__
