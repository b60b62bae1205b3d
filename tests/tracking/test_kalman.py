"""The decoupled filter is the textbook's 8-state filter."""

import numpy as np
import pytest

from yolokkn.tracking.reference.box_models import AreaModel, HeightModel, SizeModel
from yolokkn.tracking.reference.kalman import Filter


class Textbook:
    """Kalman filter with full matrices: state (4 positions, 4 velocities)."""

    def __init__(self, z, position_var, velocity_var):
        self.x = np.concatenate([z, np.zeros(4)])
        self.p = np.diag(np.concatenate([position_var, velocity_var]))

    def predict(self, dt, position_var, velocity_var):
        f = np.eye(8) + np.eye(8, k=4) * dt
        self.x = f @ self.x
        self.p = f @ self.p @ f.T + np.diag(np.concatenate([position_var, velocity_var])) * dt

    def update(self, z, measurement_var):
        h = np.eye(4, 8)
        gain = self.p @ h.T @ np.linalg.inv(h @ self.p @ h.T + np.diag(measurement_var))
        self.x = self.x + gain @ (z - h @ self.x)
        self.p = (np.eye(8) - gain @ h) @ self.p


def test_equals_textbook():
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = [rng.uniform(0.01, 4, 4) for _ in range(5)]
        z = rng.uniform(50, 100, 4)
        ours, theirs = Filter(z, noise[0], noise[1]), Textbook(z, noise[0], noise[1])
        for _ in range(30):
            dt = rng.uniform(0.1, 3)
            ours.predict(dt, noise[2], noise[3])
            theirs.predict(dt, noise[2], noise[3])
            if rng.random() < 0.7:
                z = z + rng.normal(0, 1, 4)
                ours.update(z, noise[4])
                theirs.update(z, noise[4])
            np.testing.assert_allclose(np.concatenate([ours.x, ours.v]), theirs.x, rtol=1e-9, atol=1e-9)
            for lane, block in enumerate(ours.covariances()):
                np.testing.assert_allclose(block, theirs.p[lane::4, lane::4], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("motion", [AreaModel, HeightModel, SizeModel()])
def test_covariances_stay_positive_definite(motion):
    rng = np.random.default_rng(1)
    lanes = 3 if motion is AreaModel else 4  # the aspect of SORT has no velocity
    for _ in range(50):
        f = motion.start(motion.measure(0.0, 0.0, 10.0, 20.0))
        for _ in range(60):
            motion.predict(f, rng.choice([0.1, 1.0, 30.0]), bool(rng.integers(2)))
            w, h = 10.0 ** rng.uniform(-30, 30, 2)
            x, y = rng.choice([-1, 1], 2) * 10.0 ** rng.uniform(-10, 38, 2)
            if rng.random() < 0.8:
                motion.correct(f, motion.measure(x, y, x + w, y + h) if x + w > x and y + h > y else f.x)
            assert np.isfinite(f.x).all()
            assert np.isfinite(f.v).all()
            assert (f.x[2:] > 0).all()
            assert (f.a > 0).all()
            assert np.isfinite([f.a, f.l, f.b]).all()
            assert (f.b[:lanes] > 0).all()


@pytest.mark.parametrize("motion", [AreaModel, HeightModel, SizeModel()])
def test_box_of_a_measurement(motion):
    box = motion.box(motion.start(motion.measure(10.0, 20.0, 40.0, 80.0)))
    np.testing.assert_allclose(box, [10, 20, 40, 80])
