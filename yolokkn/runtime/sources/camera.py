"""Cameras of this machine, read by OpenCV."""

from __future__ import annotations

import time
from collections.abc import Iterator

from yolokkn.errors import SourceError
from yolokkn.runtime.sources.base import Source
from yolokkn.runtime.sources.timestamps import usable_rate
from yolokkn.types import Frame


class CameraSource(Source):
    """A camera by its number, 0 is the first.

    Timestamps are the moments at which frames were handed out, from the first one on.

    Raises:
        SourceError: There is no such camera, or it is in use or may not be opened.
    """

    kind = "camera"
    is_live = True

    def __init__(self, index: int) -> None:
        import cv2

        super().__init__(f"camera {index}")
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            self._capture.release()
            raise SourceError(f"open_source: camera {index} cannot be opened; is it connected, free and permitted?")
        self.frame_rate = usable_rate(self._capture.get(cv2.CAP_PROP_FPS))
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.hw = (height, width) if height > 0 and width > 0 else None

    def _release(self) -> None:
        self._capture.release()

    def _frames(self) -> Iterator[Frame]:
        start_s: float | None = None
        index = 0
        while True:
            ok, image = self._capture.read()
            if not ok:
                break
            now_s = time.monotonic()
            start_s = now_s if start_s is None else start_s
            yield Frame(image, index, now_s - start_s, now_s, self.name)
            index += 1
        if index == 0:
            raise SourceError(f"open_source: {self.name} gives no frame")
        self.truncated = True
        self._warn(f"gave {index} frames, then stopped")
