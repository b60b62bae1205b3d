"""Annotated GIF with palettes that follow the scene; FFmpeg writes only what changes from frame to frame."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SinkError
from yolokkn.runtime.draw import DrawStyle
from yolokkn.runtime.sinks.base import check_new_file
from yolokkn.runtime.sinks.gif_palette import Palette
from yolokkn.runtime.sinks.pictures import PictureSink
from yolokkn.types import Detections, Frame

MAX_SIDE_PX = 640
_TICKS = 100  # GIF counts in hundredths of a second
_MIN_GAP = 2  # browsers slow down shorter delays


class GifSink(PictureSink):
    """A looping GIF: frames larger than 640 px are scaled down, those within 0.02 s of the one before are left out.

    A frame of another size is fitted into the size of the first one.

    Args:
        path: The file.
        overwrite: Replace a file that is there.
        style: How results are drawn.
    """

    def __init__(self, path: Path, *, overwrite: bool, style: DrawStyle | None = None) -> None:
        super().__init__(path, style=style)
        check_new_file(path, overwrite)
        self._container: Any = None
        self._stream: Any = None
        self._palette: Palette | None = None
        self._size_wh = (0, 0)
        self._last: int | None = None
        self._start_s = 0.0

    def _open(self, hw: tuple[int, int]) -> None:
        import av

        scale = min(MAX_SIDE_PX / max(hw), 1.0)
        self._size_wh = (max(round(hw[1] * scale), 1), max(round(hw[0] * scale), 1))
        try:
            self._container = av.open(f"file:{self.path}", "w", format="gif")
            self._stream = self._container.add_stream("gif", rate=_TICKS)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkError(f"open_sink: {self.path} cannot be written: {error}") from error
        self._stream.width, self._stream.height = self._size_wh
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        self.paths.append(self.path)

    def _write(self, frame: Frame, result: Detections) -> None:
        import av
        import cv2

        image = self._annotated(frame, result)
        if self._container is None:
            self._open(frame.hw)
            self._start_s = frame.timestamp_s
        pts = round((frame.timestamp_s - self._start_s) * _TICKS)
        if self._last is not None and pts < self._last + _MIN_GAP:
            return
        if (image.shape[1], image.shape[0]) != self._size_wh:
            image = np.asarray(cv2.resize(image, self._size_wh, interpolation=cv2.INTER_AREA))
        if self._palette is None or self._palette.error_of(image) > 1.25 * self._palette.error + 1:
            self._palette = Palette(image)
        indices = self._palette.indices_of(image)
        picture = av.VideoFrame.from_ndarray((indices, self._palette.argb()), format="pal8")
        picture.pts, picture.time_base = pts, Fraction(1, _TICKS)
        self._mux(picture)
        self._last = pts

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def _finish(self, aborted: bool) -> None:
        if self._container is None:
            return
        try:
            self._mux(None)
        finally:
            self._container.close()
