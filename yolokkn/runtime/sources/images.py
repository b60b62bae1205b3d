"""Still images: files, folders, globs, lists and arrays, read by OpenCV."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SourceError
from yolokkn.runtime.sources.base import DEFAULT_FRAME_RATE, MAX_FRAME_PIXELS, Source
from yolokkn.runtime.sources.content import describe_bytes, image_hw, is_cut_off
from yolokkn.types import Frame

IMAGE_SUFFIXES = frozenset(".bmp .jpe .jpeg .jpg .jp2 .pbm .pgm .png .pnm .ppm .ras .sr .tif .tiff .webp .avif".split())
MAX_IMAGE_BYTES = 1 << 30


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as it is displayed (EXIF orientation applied), refusing what is too large before allocating.

    Limits: files up to 1 GiB and pictures up to 2**28 pixels (16384 x 16384) for JPEG, PNG, BMP, GIF, WebP, TIFF and
    PNM; other formats are held to OpenCV's own limit of 2**30 pixels.

    Args:
        path: The file.

    Returns:
        (H, W, 3) uint8 BGR; grey is spread over three channels, alpha is dropped, 16 bit becomes 8.

    Raises:
        SourceError: It is missing, too large, damaged, cut off or no image; the message says what was seen.
    """
    import cv2

    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_IMAGE_BYTES:
            raise SourceError(f"read_image: {path} must have at most {MAX_IMAGE_BYTES} bytes, got {size}")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise SourceError(f"read_image: {path} cannot be read: {getattr(error, 'strerror', error)}") from None
    hw = image_hw(data)
    if hw is not None and hw[0] * hw[1] > MAX_FRAME_PIXELS:
        raise SourceError(f"read_image: {path} must have at most {MAX_FRAME_PIXELS} pixels, got {hw[1]}x{hw[0]}")
    if not data:
        raise SourceError(f"read_image: {path} must be an image, got an empty file")
    if is_cut_off(data):
        raise SourceError(f"read_image: {path} is cut off: {describe_bytes(data[:512])} without its end")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        seen = describe_bytes(data[:512])
        what = f"{seen} that cannot be decoded" if hw is not None else seen
        raise SourceError(f"read_image: {path} must be an image, got {what}")
    return np.asarray(image)


class ImagesSource(Source):
    """Still images in the order given: paths, arrays, or both.

    One image that cannot be read is a `SourceError`; among several it is left out, counted and warned of, and only if
    none can be read the source raises. `Frame.source` is the path of each image; images are taken
    at `frame_rate`, which the caller may set, or 30 a second.

    Args:
        items: Paths or (H, W, 3) uint8 BGR arrays.
        name: What to call the whole.
    """

    kind = "images"
    has_timestamps = False

    def __init__(self, items: Sequence[Any], name: str) -> None:
        super().__init__(name)
        self._items = items
        self.paths = [str(item) for item in items if not isinstance(item, np.ndarray)]
        self.num_frames = len(items)

    def _frames(self) -> Iterator[Frame]:
        index = 0
        for position, item in enumerate(self._items):
            if isinstance(item, np.ndarray):
                image, name = item, f"{self.name}[{position}]"
            else:
                try:
                    image, name = read_image(item), str(item)
                except SourceError as error:
                    if len(self._items) == 1:
                        raise
                    self.num_skipped += 1
                    self._warn(str(error))
                    continue
            yield Frame(image, index, index / (self.frame_rate or DEFAULT_FRAME_RATE), time.monotonic(), name)
            index += 1
        if index == 0 and self._items:
            raise SourceError(f"open_source: {self.name}: none of its {len(self._items)} images can be read")
