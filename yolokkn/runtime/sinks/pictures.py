"""What the sinks of annotated pictures share, and the folder of images."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from yolokkn.errors import SinkError
from yolokkn.files import write_atomically
from yolokkn.runtime.draw import DrawStyle, TrailHistory, draw
from yolokkn.runtime.sinks.base import Sink, check_new_file
from yolokkn.runtime.sources.images import IMAGE_SUFFIXES
from yolokkn.runtime.uri import file_name_for
from yolokkn.types import Detections, Frame, Tracks


class PictureSink(Sink):
    """Base of the sinks that draw: results go onto a copy of the frame, in one style, with trails for tracks."""

    def __init__(self, path: Path, *, style: DrawStyle | None) -> None:
        super().__init__(path)
        self.style = style or DrawStyle()
        self.overlay: Callable[[np.ndarray], None] | None = None  # draws into the picture, over everything
        self._trails = TrailHistory(self.style.trail_length)

    def _annotated(self, frame: Frame, result: Detections) -> np.ndarray:
        if isinstance(result, Tracks) and self.style.trail_length:
            self._trails.update(result)
        image = draw(frame.image, result, style=self.style, trails=self._trails)
        if self.overlay is not None:
            self.overlay(image)
        return image


class ImagesSink(PictureSink):
    """A folder of annotated images, named after the source's image files or, for videos, `<source>_<index>`.

    Names never leave the folder; two sources of one name get `_2`, `_3` and so on. Each file appears whole.

    Args:
        folder: Made if it is missing; its parent must be there.
        suffix: `.jpg` (quality 92) or `.png`.
        overwrite: Replace files that are there.
        style: How results are drawn.
    """

    def __init__(self, folder: Path, suffix: str, *, overwrite: bool, style: DrawStyle | None = None) -> None:
        super().__init__(folder, style=style)
        self._suffix, self._overwrite = suffix, overwrite
        self._used: set[str] = set()
        try:
            folder.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise SinkError(f"open_sink: the folder of {folder} must exist; create {folder.parent} first") from None
        except OSError as error:
            raise SinkError(f"open_sink: the folder {folder} cannot be made: {error.strerror}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SinkError(f"open_sink: no permission to write into the folder {folder}")

    def _target(self, frame: Frame) -> Path:
        stem = file_name_for(frame.source, "frame")
        if Path(frame.source).suffix.lower() not in IMAGE_SUFFIXES:
            stem = f"{stem}_{frame.index:06d}"
        name, count = stem, 1
        while name.casefold() in self._used:
            count += 1
            name = f"{stem}_{count}"
        self._used.add(name.casefold())
        return self.path / (name + self._suffix)

    def _write(self, frame: Frame, result: Detections) -> None:
        target = self._target(frame)
        check_new_file(target, self._overwrite)
        write_atomically(target, encode_image(self._annotated(frame, result), self._suffix))
        self.paths.append(target)


class OneImageSink(PictureSink):
    """One annotated image in a file of its own: for a source of one picture.

    Args:
        path: The file, `.jpg`, `.jpeg` (quality 92) or `.png`.
        overwrite: Replace a file that is there.
        style: How results are drawn.
    """

    def __init__(self, path: Path, *, overwrite: bool, style: DrawStyle | None = None) -> None:
        super().__init__(path, style=style)
        check_new_file(path, overwrite)

    def _write(self, frame: Frame, result: Detections) -> None:
        if self.paths:
            raise SinkError(f"write: {self.path} holds one picture; for more give a folder, such as out/")
        write_atomically(self.path, encode_image(self._annotated(frame, result), self.path.suffix.lower()))
        self.paths.append(self.path)


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """Encode a picture as `.jpg` (quality 92) or `.png`.

    Raises:
        SinkError: The format cannot hold a picture of this size.
    """
    import cv2

    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 92]
    try:
        ok, data = cv2.imencode(suffix, image, settings)
    except cv2.error:
        ok = False
    if not ok:
        raise SinkError(f"write: a frame of {image.shape[1]}x{image.shape[0]} cannot become {suffix}")
    return data.tobytes()
