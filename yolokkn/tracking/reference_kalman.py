"""Specification of the Kalman filters of the trackers."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np


class Filter:
    """Constant-velocity Kalman filter of four independent coordinates (position, velocity), each with a 2x2 covariance.

    Transition, noise and measurement of the trackers' 8-state model couple no two coordinates, so that its covariance
    stays block-diagonal: this is the same filter. A block is kept as [[a, a*l], [a*l, a*l*l + b]] with a, b > 0, which
    stays positive definite whatever comes in.
    """

    def __init__(self, z: np.ndarray, position_var: np.ndarray, velocity_var: np.ndarray) -> None:
        self.x, self.v = z.copy(), np.zeros(4)
        self.a, self.l, self.b = position_var.copy(), np.zeros(4), velocity_var.copy()

    def predict(self, dt: float, position_var: np.ndarray, velocity_var: np.ndarray) -> None:
        """Move over dt nominal frames; the noise grows by dt. A size (coordinates 2, 3) never shrinks to nothing."""
        sizes = np.array([False, False, True, True])
        self.v = np.where(sizes & ~(self.x + self.v * dt > 0), 0.0, self.v)
        self.x = self.x + self.v * dt
        q0, q1 = position_var * dt, velocity_var * dt
        a, b = self.a, self.b
        t = 1.0 + dt * self.l
        p00 = a * t * t + dt * dt * b + q0
        self.b, self.l = q1 + (a * b + q0 * (a * self.l * self.l + b)) / p00, (a * self.l * t + dt * b) / p00
        self.a = p00

    def update(self, z: np.ndarray, measurement_var: np.ndarray) -> None:
        """Correct by a measured position. A size that would round to nothing becomes the measured one."""
        gain = self.a / (self.a + measurement_var)
        y = z - self.x
        corrected = self.x + gain * y
        sizes = np.array([False, False, True, True])
        self.x = np.where(sizes & ~(corrected > 0), z, corrected)
        self.v = self.v + self.l * gain * y
        self.a = gain * measurement_var

    def covariances(self) -> np.ndarray:
        """Return the (4, 2, 2) covariances."""
        c = self.a * self.l
        return np.moveaxis(np.array([[self.a, c], [c, c * self.l + self.b]]), -1, 0)


class Motion(Protocol):
    """A box model on top of the filter."""

    def measure(self, x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
        """Return the measurement of a box."""

    def start(self, z: np.ndarray) -> Filter:
        """Return the filter of a new track."""

    def predict(self, f: Filter, dt: float, lost: bool) -> None:
        """Move a track's filter."""

    def correct(self, f: Filter, z: np.ndarray) -> None:
        """Correct a track's filter."""

    def box(self, f: Filter) -> np.ndarray:
        """Return the box of a state: (4,) float64 xyxy."""


class AreaMotion:
    """SORT's model: centre, area, aspect ratio w/h; the aspect has no velocity."""

    measurement_var = np.array([1.0, 1.0, 10.0, 10.0])
    position_var = np.array([1.0, 1.0, 1.0, 1.0])
    velocity_var = np.array([0.01, 0.01, 0.0001, 0.0])

    @staticmethod
    def measure(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
        """Return the measurement of a box."""
        w, h = x2 - x1, y2 - y1
        return np.array([(x1 + x2) * 0.5, (y1 + y2) * 0.5, w * h, w / h])

    @classmethod
    def start(cls, z: np.ndarray) -> Filter:
        """Return the filter of a new track."""
        return Filter(z, np.array([10.0, 10.0, 10.0, 10.0]), np.array([1e4, 1e4, 1e4, 0.0]))

    @classmethod
    def predict(cls, f: Filter, dt: float, lost: bool) -> None:
        """Move a track's filter."""
        f.predict(dt, cls.position_var, cls.velocity_var)

    @classmethod
    def correct(cls, f: Filter, z: np.ndarray) -> None:
        """Correct a track's filter."""
        f.update(z, cls.measurement_var)

    @staticmethod
    def box(f: Filter) -> np.ndarray:
        """Return the box of a state."""
        w = math.sqrt(f.x[2] * f.x[3])
        h = f.x[2] / w
        return np.array([f.x[0] - w * 0.5, f.x[1] - h * 0.5, f.x[0] + w * 0.5, f.x[1] + h * 0.5])


class HeightMotion:
    """ByteTrack's model: centre, aspect ratio w/h, height; the noise is proportional to the height."""

    @staticmethod
    def measure(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
        """Return the measurement of a box."""
        h = y2 - y1
        return np.array([(x1 + x2) * 0.5, (y1 + y2) * 0.5, (x2 - x1) / h, h])

    @staticmethod
    def _variances(height: Any, weight: float, aspect_var: float) -> np.ndarray:
        std = height * weight
        return np.array([std * std, std * std, aspect_var, std * std])

    @classmethod
    def start(cls, z: np.ndarray) -> Filter:
        """Return the filter of a new track."""
        return Filter(z, cls._variances(z[3], 2.0 / 20.0, 1e-4), cls._variances(z[3], 10.0 / 160.0, 1e-10))

    @classmethod
    def predict(cls, f: Filter, dt: float, lost: bool) -> None:
        """Move a track's filter; a lost track keeps its height."""
        if lost:
            f.v[3] = 0.0
        f.predict(dt, cls._variances(f.x[3], 1.0 / 20.0, 1e-4), cls._variances(f.x[3], 1.0 / 160.0, 1e-10))

    @classmethod
    def correct(cls, f: Filter, z: np.ndarray) -> None:
        """Correct a track's filter."""
        f.update(z, cls._variances(f.x[3], 1.0 / 20.0, 1e-2))

    @staticmethod
    def box(f: Filter) -> np.ndarray:
        """Return the box of a state."""
        w = f.x[2] * f.x[3]
        return np.array([f.x[0] - w * 0.5, f.x[1] - f.x[3] * 0.5, f.x[0] + w * 0.5, f.x[1] + f.x[3] * 0.5])
