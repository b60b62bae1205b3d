"""Tracks follow the camera's motion, as the reference does."""

import numpy as np
import pytest

from tests.tracking.scenes import crowd, detected
from yolokkn import tracking
from yolokkn.tracking import reference
from yolokkn.tracking.reference.box_models import AreaModel, HeightModel, SizeModel
from yolokkn.tracking.reference.camera import Camera

STILL = np.array([[1.0, 0, 0], [0, 1, 0]])


def twin(tracker):
    return reference.TRACKERS[tracker.name](tracker.settings, tracker.frame_rate, tracker.class_policy)


def any_camera(rng):
    """Small motions, large ones, and matrices that are none."""
    kind = rng.integers(0, 8)
    if kind == 0:
        return rng.choice([np.nan, np.inf, 0.0, 1e300, 1e-300], (2, 3))
    if kind == 1:
        return rng.normal(0, 2, (2, 3))
    angle, scale = rng.normal(0, 0.05), np.exp(rng.normal(0, 0.05))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([turn, rng.normal(0, 20, (2, 1))], 1)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_equals_reference(name):
    rng = np.random.default_rng(4)
    tracker = tracking.create(name)
    other = twin(tracker)
    for scene in crowd(6, 20, 25):
        camera = any_camera(rng)
        np.testing.assert_array_equal(tracker.update(*scene, camera=camera), other.update(*scene, camera=camera))
        live = np.array([t.box for t in other.tracks]).reshape(-1, 4)
        np.testing.assert_array_equal(tracker.tracks().boxes, np.clip(live, -3.4e38, 3.4e38).astype(np.float32))


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_panning_camera_loses_nothing(name):
    """Boxes jump by more than their width; with the camera's motion every id stays."""
    starts = np.array([[100, 100, 140, 200], [300, 120, 345, 230], [500, 90, 530, 180]], np.float32)
    kept = []
    for camera in (None, np.array([[1.0, 0, 60], [0, 1, -15]])):
        tracker, shift = tracking.create(name), np.zeros(4, np.float32)
        jump = np.array([60, -15, 60, -15], np.float32)
        ids = []
        for frame in range(8):
            if frame >= 4:
                shift = shift + jump
            ids.append(tracker.update(*detected(starts + shift), camera=camera if frame >= 4 else STILL).tolist())
        kept.append(ids[-1] == ids[3] == [1, 2, 3])
    assert kept == [False, True]


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_still_camera_changes_nothing(name):
    still, none = tracking.create(name), tracking.create(name)
    for scene in crowd(7, 30, 20):
        np.testing.assert_array_equal(still.update(*scene, camera=STILL), none.update(*scene))


@pytest.mark.parametrize("model", [AreaModel, HeightModel, SizeModel()])
def test_a_filter_moves_as_its_boxes(model):
    """Measured boxes of a zoomed and shifted picture, or the filter of the plain one moved: the same box."""
    camera = Camera(np.array([[1.5, 0.0, 30.0], [0.0, 1.5, -12.0]]))
    f = model.start(model.measure(10.0, 20.0, 50.0, 120.0))
    for step in range(1, 6):
        model.predict(f, 1.0, False)
        model.correct(f, model.measure(10.0 + 3 * step, 20.0, 50.0 + 3 * step, 120.0))
    plain = model.box(f)
    model.move(f, camera)
    np.testing.assert_allclose(model.box(f), plain * 1.5 + np.array([30, -12, 30, -12]), rtol=1e-12)
    assert f.v[0] > 0


def test_a_quarter_turn_swaps_the_blocks_of_the_covariance():
    f = SizeModel().start(SizeModel.measure(0.0, 0.0, 10.0, 40.0))
    SizeModel().predict(f, 1.0, False)
    before = f.covariances()
    SizeModel.move(f, Camera(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])))
    np.testing.assert_allclose(f.covariances()[[1, 0, 2, 3]], before, rtol=1e-12)


def test_refuses_what_is_no_matrix():
    tracker = tracking.create("kkn")
    with pytest.raises(ValueError, match=r"update: camera must have shape \(2, 3\)"):
        tracker.update(*detected([[0, 0, 9, 9]]), camera=np.eye(3))
    with pytest.raises(TypeError, match="update: camera must have dtype float64"):
        tracker.update(*detected([[0, 0, 9, 9]]), camera=STILL.astype(np.float32))
