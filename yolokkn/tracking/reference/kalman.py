"""Specification of the trackers' Kalman filter."""

from __future__ import annotations

import numpy as np

from yolokkn.tracking.reference.camera import Camera, is_reasonable


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

    def move(self, camera: Camera, scale2: float, scale3: float) -> None:
        """Move the centre and its velocity as the camera did; the sizes grow by these factors.

        Of the centre's covariance a turn couples the coordinates: what couples them is left out, blocks are summed by
        the squares of the matrix. What would leave the range of reason stays as it was.
        """
        (xx, xy, x0), (yx, yy, y0) = camera.matrix
        x, v, a, l, b = self.x, self.v, self.a, self.l, self.b  # noqa: E741
        to_x = np.array([xx * x[0] + xy * x[1] + x0, yx * x[0] + yy * x[1] + y0, x[2] * scale2, x[3] * scale3])
        to_v = np.array([xx * v[0] + xy * v[1], yx * v[0] + yy * v[1], v[2] * scale2, v[3] * scale3])
        to_a, to_l, to_b = a.copy(), l.copy(), b.copy()
        for i, (wx, wy) in enumerate(((xx * xx, xy * xy), (yx * yx, yy * yy))):
            p, q, gap = wx * a[0], wy * a[1], l[0] - l[1]
            to_a[i], to_l[i] = p + q, (p * l[0] + q * l[1]) / (p + q)
            to_b[i] = wx * b[0] + wy * b[1] + p * q / (p + q) * (gap * gap)
        for i, scale in ((2, scale2), (3, scale3)):
            to_a[i], to_b[i] = a[i] * (scale * scale), b[i] * (scale * scale)
        bounded = (to_a > 1e-200).all() and (to_a < 1e200).all() and (to_b < 1e200).all()
        if is_reasonable(to_x) and bounded and (np.abs(to_v) < 1e200).all():
            self.x, self.v, self.a, self.l, self.b = to_x, to_v, to_a, to_l, to_b
