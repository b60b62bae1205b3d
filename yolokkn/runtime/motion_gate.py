"""Scenes in which nothing moves: the network rests, the tracker holds its tracks."""

from __future__ import annotations

from typing import Any

import numpy as np

from yolokkn.runtime.cadence import MOST_FRAMES, Cadence, EveryNth

_COLUMNS = 160  # blocks across a frame, about
_LEAST_SIDE = 8  # pixels of a block: of fewer, noise moves the mean
_LEVELS = 8  # grey levels by which a block's mean must change: noise of 5 a pixel moves it by less than one
_FEWEST = 2  # blocks: one alone may be the compression's doing


class MotionGate:
    """Lets the network see a frame only where something moved since the last one that it saw, and one in eight at least.

    Frames are compared as means of blocks (of 8 pixels or more, a hundred and sixty across at most), less the change that the
    whole frame has in common:
    noise and slow changes of the light do not count, what creeps does, since the comparison is with the last frame seen.

    Args:
        cadence: Which frames it may see where something moves; None: all.
        longest: Frames at most from one that it sees to the next, 1 to MOST_FRAMES.

    Example:
        >>> gate = MotionGate()
        >>> still, moved = np.zeros((240, 320, 3), np.uint8), np.zeros((240, 320, 3), np.uint8)
        >>> moved[80:160, 40:80] = 200
        >>> [gate.wants(gate.glance(image)) for image in (still, still, moved, moved, still)]
        [True, False, True, False, True]
    """

    def __init__(self, cadence: Cadence | None = None, longest: int = MOST_FRAMES) -> None:
        self.cadence: Cadence = cadence or EveryNth(1)
        self._longest = EveryNth(longest).every
        self._seen: np.ndarray | None = None
        self._since = 0

    @property
    def every(self) -> int:
        """Of so many frames at least one is detected in."""
        return self.cadence.every + self._longest - 1

    def glance(self, image: np.ndarray) -> np.ndarray:
        """Return the means of a frame's blocks: (h, w, 3) int16.

        Args:
            image: (H, W, 3) uint8.

        Cost:
            A quarter of a millisecond for a frame of 1280 x 720.
        """
        import cv2

        height, width = image.shape[:2]
        side = max(round(width / _COLUMNS), _LEAST_SIDE)
        size = (max(width // side, 1), max(height // side, 1))
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)).astype(np.int16)

    def wants(self, glance: Any = None) -> bool:
        """Tell whether the network shall see the next frame.

        Args:
            glance: What `glance` returned for it; None: not known, and taken to have moved.
        """
        self._since += 1
        if not self.cadence.wants():
            return False
        if self._since < self._longest and glance is not None and not self._moved(glance):
            return False
        self._seen, self._since = glance, 0
        return True

    def saw(self, network_ms: float, agreement: float | None) -> None:
        """Take note of a frame that the network saw; see `Cadence`."""
        self.cadence.saw(network_ms, agreement)

    def _moved(self, blocks: np.ndarray) -> bool:
        if self._seen is None or self._seen.shape != blocks.shape:
            return True
        change = blocks - self._seen
        change -= np.median(change, axis=(0, 1)).astype(np.int16)
        return int((np.abs(change).max(2) >= _LEVELS).sum()) >= _FEWEST
