import numpy as np
import pytest

from yolokkn import ops
from yolokkn.geometry import LETTERBOX_RULES, Letterbox

GEOMETRIES = [
    Letterbox.fit(hw, (640, 640), rule) for hw in ((720, 1280), (1, 7), (999, 333)) for rule in LETTERBOX_RULES
]


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_equals_letterbox(geometry, clip):
    rng = np.random.default_rng(3)
    boxes = rng.uniform(-200, 900, (333, 4)).astype(np.float32)
    boxes[0] = [np.nan, np.inf, -np.inf, 1e-40]
    before = boxes.tobytes()
    got = ops.inverse_letterbox(boxes, geometry, clip=clip)
    np.testing.assert_array_equal(got, geometry.to_frame(boxes, clip=clip))
    assert got.dtype == np.float32 and boxes.tobytes() == before
    for columns in (34, 51):
        extras = rng.uniform(-200, 900, (33, columns)).astype(np.float32)
        points = ops.decode_keypoints(extras, 17, geometry, clip=clip)
        np.testing.assert_array_equal(points, ops.reference.decode_keypoints(extras, 17, geometry, clip=clip))


def test_hand_computed(op):
    geometry = Letterbox.fit((1080, 1920), (640, 640))
    boxes = np.array([[-3, 140, 320, 900]], np.float32)
    assert op.inverse_letterbox(boxes, geometry).tolist() == [[0, 0, 960, 1080]]
    assert op.inverse_letterbox(boxes, geometry, clip=False).tolist() == [[-9, 0, 960, 2280]]
    points = op.decode_keypoints(np.array([[320, 320, 0.5, 700, 0, 0.25]], np.float32), 2, geometry)
    assert points.tolist() == [[[960, 540, 0.5], [1920, 0, 0.25]]]
    plain = op.decode_keypoints(np.array([[320, 320]], np.float32), 1, geometry)
    assert plain.tolist() == [[[960, 540, 1]]]


def test_empty(op):
    geometry = GEOMETRIES[0]
    assert op.inverse_letterbox(np.zeros((0, 4), np.float32), geometry).shape == (0, 4)
    for columns in (34, 51):
        points = op.decode_keypoints(np.zeros((0, columns), np.float32), 17, geometry)
        assert points.shape == (0, 17, 3) and points.dtype == np.float32


BOXES = np.zeros((2, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: ops.inverse_letterbox(BOXES, None), TypeError, "geometry must be a yolokkn.geometry.Letterbox"),
        (lambda: ops.inverse_letterbox(BOXES.astype(float), GEOMETRIES[0]), TypeError, "boxes must have dtype float32"),
        (lambda: ops.inverse_letterbox(BOXES[::-1], GEOMETRIES[0]), ValueError, "boxes must be C-contiguous"),
        (lambda: ops.decode_keypoints(BOXES, 0, GEOMETRIES[0]), ValueError, "num_keypoints must be 1 or more"),
        (lambda: ops.decode_keypoints(BOXES, 1, GEOMETRIES[0]), ValueError, "extras must have num_keypoints"),
        (lambda: ops.decode_keypoints(BOXES, 3, GEOMETRIES[0]), ValueError, r"num_keypoints is 3\), got 4"),
    ],
)
def test_refuses_what_does_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call()
