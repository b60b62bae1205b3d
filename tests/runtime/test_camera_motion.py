"""The camera's motion is found on pictures that were moved by a known one."""

import cv2
import numpy as np
import pytest

from yolokkn import tracking
from yolokkn.runtime.camera_motion import METHODS, CameraMotionEstimator
from yolokkn.runtime.pipeline import Pipeline
from yolokkn.runtime.sources import open_source
from yolokkn.types import Detections

SIZE = (320, 480)


def scene(seed=0):
    """A picture with structure at every scale."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*SIZE, 3), np.float32)
    for cells in (4, 12, 40, 120):
        image += cv2.resize(rng.uniform(0, 60, (cells, cells * 3 // 2, 3)).astype(np.float32), SIZE[::-1])
    return image.clip(0, 255).astype(np.uint8)


def moved(image, matrix):
    return cv2.warpAffine(image, matrix, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)


def similarity(angle_deg, scale, x, y):
    matrix = cv2.getRotationMatrix2D((SIZE[1] / 2, SIZE[0] / 2), angle_deg, scale)
    return matrix + np.array([[0, 0, x], [0, 0, y]])


def far(matrix, other):
    """Largest distance of where the corners go, in pixels."""
    h, w = SIZE
    corners = np.array([[0, 0, 1], [w, 0, 1], [0, h, 1], [w, h, 1]]).T
    return np.abs(matrix @ corners - other @ corners).max()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("downscale", [1, 2, 3])
@pytest.mark.parametrize("motion", [(0, 1, 7.5, -4), (1.5, 1, 3, 2), (0, 1, 0, 0)])
def test_finds_a_known_motion(method, downscale, motion):
    image, true = scene(), similarity(*motion)
    camera = CameraMotionEstimator(method, downscale=downscale)
    np.testing.assert_array_equal(camera.update(image), np.eye(2, 3))
    assert far(camera.update(moved(image, true)), true) < 0.5 + 0.5 * downscale


@pytest.mark.parametrize("method", ["sparseOptFlow", "orb"])
def test_finds_a_zoom(method):
    image, true = scene(1), similarity(0.5, 1.04, 2, -3)
    camera = CameraMotionEstimator(method, downscale=1)
    camera.update(image)
    assert far(camera.update(moved(image, true)), true) < 1.0


@pytest.mark.parametrize("method", ["sparseOptFlow", "orb"])
def test_what_moves_by_itself_does_not_count(method):
    """Two thirds of the picture go right, the camera stands: without the box the wrong motion wins."""
    image = scene(2)
    walker = np.array([[0, 0, 320, 320]], np.float32)
    after = image.copy()
    after[:, :320] = scene(2)[:, np.r_[310:320, 0:310]]
    found = []
    for boxes in (None, walker):
        camera = CameraMotionEstimator(method, downscale=1)
        camera.update(image, boxes)
        found.append(abs(camera.update(after, boxes)[0, 2]))
    assert found[0] > 5
    assert found[1] < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_where_nothing_can_be_made_out_it_stands_still(method):
    rng = np.random.default_rng(0)
    flat = np.full((*SIZE, 3), 90, np.uint8)
    noise = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    camera = CameraMotionEstimator(method)
    for image in (flat, flat, flat[:100], np.zeros((1, 1, 3), np.uint8), flat, noise[:, ::-1].copy()):
        matrix = camera.update(image, np.array([[np.nan, 0, 5, 5], [-9, -9, 1e30, 1e30]]))
        np.testing.assert_array_equal(matrix, np.eye(2, 3))
    camera.reset()
    np.testing.assert_array_equal(camera.update(scene()), np.eye(2, 3))


def test_the_same_pictures_give_the_same_motion():
    image, true = scene(3), similarity(1, 1, 5, 5)
    found = []
    for _ in range(3):
        camera = CameraMotionEstimator()
        camera.update(image)
        found.append(camera.update(moved(image, true)))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_a_pipeline_tells_its_tracker(tmp_path):
    """Boxes stand on the ground of a picture that jumps; only with the camera's motion do they keep their ids."""
    image, jump = scene(4), np.array([[1.0, 0, 30], [0, 1, 0]])
    boxes = np.array([[40, 60, 64, 120], [200, 150, 224, 210]], np.float32)

    def process(frame, gate):
        shift = np.float32(frame[0, 0, 0])
        return Detections(
            boxes + np.array([shift, 0, shift, 0], np.float32),
            np.full(2, 0.9, np.float32), np.zeros(2, np.int32), frame.shape[:2],
        )  # fmt: skip

    frames, shift = [], 0
    for index in range(6):
        picture = moved(image, np.array([[1.0, 0, shift], [0, 1, 0]]))
        picture[0, 0, 0] = shift
        frames.append(picture)
        shift += 30 if index >= 2 else 0
    kept = []
    for camera in (None, CameraMotionEstimator(downscale=1)):
        with open_source(frames) as source:
            pipeline = Pipeline(source, process, tracker=tracking.create("bytetrack"), camera=camera)
            with pipeline:
                ids = [tracks.track_ids.tolist() for _, tracks in pipeline]
        kept.append(ids[-1] == [1, 2])
        assert ("camera" in pipeline.ledger.to_dict()["stages"]) == (camera is not None)
    assert kept == [False, True]
    assert far(jump, jump) == 0


@pytest.mark.parametrize(
    ("tracker", "method", "want"),
    [("kkn", "auto", None), ("botsort", "auto", "sparseOptFlow"), ("botsort", "none", None), ("kkn", "orb", "orb")],
)
def test_what_a_tracker_wants(tracker, method, want):
    camera = CameraMotionEstimator.for_tracker(tracker, method)
    assert (camera and camera.method) == want


def test_refusals():
    with pytest.raises(
        ValueError, match="method must be one of sparseOptFlow, orb, ecc, got 'sparseoptflow'; did you mean"
    ):
        CameraMotionEstimator("sparseoptflow")
    with pytest.raises(ValueError, match="downscale must be within 1 and 64"):
        CameraMotionEstimator(downscale=0)
