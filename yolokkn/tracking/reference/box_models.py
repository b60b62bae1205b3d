"""Specification of the trackers' box models: what is measured of a box, how that moves and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from yolokkn.tracking.reference.camera import Camera, box_at
from yolokkn.tracking.reference.kalman import Filter


class Model(Protocol):
    """A box model on top of the filter."""

    def measure(self, x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
        """Return the measurement of a box."""

    def start(self, z: np.ndarray) -> Filter:
        """Return the filter of a new track."""

    def predict(self, f: Filter, dt: float, lost: bool) -> None:
        """Move a track's filter."""

    def correct(self, f: Filter, z: np.ndarray) -> None:
        """Correct a track's filter."""

    def move(self, f: Filter, camera: Camera) -> None:
        """Move a track's filter as the camera moved."""

    def box(self, f: Filter) -> np.ndarray:
        """Return the box of a state: (4,) float64 xyxy."""


class AreaModel:
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
    def move(f: Filter, camera: Camera) -> None:
        """Move a track's filter as the camera moved."""
        f.move(camera, camera.scale * camera.scale, 1.0)

    @staticmethod
    def box(f: Filter) -> np.ndarray:
        """Return the box of a state."""
        w = math.sqrt(f.x[2] * f.x[3])
        h = f.x[2] / w
        return np.array([f.x[0] - w * 0.5, f.x[1] - h * 0.5, f.x[0] + w * 0.5, f.x[1] + h * 0.5])


class HeightModel:
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
    def move(f: Filter, camera: Camera) -> None:
        """Move a track's filter as the camera moved."""
        f.move(camera, 1.0, camera.scale)

    @staticmethod
    def box(f: Filter) -> np.ndarray:
        """Return the box of a state."""
        w = f.x[2] * f.x[3]
        return np.array([f.x[0] - w * 0.5, f.x[1] - f.x[3] * 0.5, f.x[0] + w * 0.5, f.x[1] + f.x[3] * 0.5])


@dataclass(frozen=True)
class SizeModel:
    """BoT-SORT's model: centre, width, height; each is as noisy as its side is long; a lost track keeps its size.

    Attributes:
        position: Standard deviation of the motion in one nominal frame, as a share of the side.
        velocity: Of the change of the velocity.
        measurement: Of a measured centre.
        measured_size: Of a measured side.
    """

    position: float = 1.0 / 20.0
    velocity: float = 1.0 / 160.0
    measurement: float = 1.0 / 20.0
    measured_size: float = 1.0 / 20.0

    @staticmethod
    def measure(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
        """Return the measurement of a box."""
        return np.array([(x1 + x2) * 0.5, (y1 + y2) * 0.5, x2 - x1, y2 - y1])

    @staticmethod
    def _variances(z: np.ndarray, weight: float, size_weight: float) -> np.ndarray:
        std = np.array([z[2] * weight, z[3] * weight, z[2] * size_weight, z[3] * size_weight])
        return std * std

    def start(self, z: np.ndarray) -> Filter:
        """Return the filter of a new track."""
        place, speed = 2.0 * self.position, 10.0 * self.velocity
        return Filter(z, self._variances(z, place, place), self._variances(z, speed, speed))

    def predict(self, f: Filter, dt: float, lost: bool) -> None:
        """Move a track's filter."""
        if lost:
            f.v[2:] = 0.0
        position = self._variances(f.x, self.position, self.position)
        f.predict(dt, position, self._variances(f.x, self.velocity, self.velocity))

    def correct(self, f: Filter, z: np.ndarray) -> None:
        """Correct a track's filter."""
        f.update(z, self._variances(f.x, self.measurement, self.measured_size))

    @staticmethod
    def move(f: Filter, camera: Camera) -> None:
        """Move a track's filter as the camera moved."""
        f.move(camera, camera.scale, camera.scale)

    @staticmethod
    def box(f: Filter) -> np.ndarray:
        """Return the box of a state."""
        return box_at(f.x)
