"""What every source of frames is: an iterator with a name, counters and an end."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Literal

from yolokkn.errors import SourceWarning
from yolokkn.types import Frame

SourceKind = Literal["video", "images", "camera", "stream"]
DEFAULT_FRAME_RATE = 30.0  # of sources that claim none
MAX_FRAME_PIXELS = 1 << 28  # 16384 x 16384; 768 MiB as BGR


class Source:
    """Frames in order, read once: `with open_source(x) as source: for frame in source: ...`.

    Attributes:
        name: What is read, without credentials.
        kind: "video", "images", "camera" or "stream".
        is_live: Frames are lost if nobody takes them: a camera or a stream.
        frame_rate: Frames per second as the source claims; None where it claims none.
        has_timestamps: The frames' times are real; pictures have only an order, one nominal frame apart.
        num_frames: How many frames it promises; an estimate for videos, None where it is unknown.
        hw: Height and width of the first frame as displayed: known from the start for videos and streams, None before
            the first image.
        paths: Local files that are read.
        num_given: Frames handed out so far.
        num_skipped: Damaged frames, packets or unreadable images left out so far.
        truncated: The source ended before what it promised, or broke off.
        warnings: What was said by `SourceWarning`, in order.
    """

    kind: SourceKind = "video"
    is_live = False
    has_timestamps = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.frame_rate: float | None = None
        self.num_frames: int | None = None
        self.hw: tuple[int, int] | None = None
        self.paths: list[str] = []
        self.num_given = 0
        self.num_skipped = 0
        self.truncated = False
        self.warnings: list[str] = []
        self._closed = False
        self._lock = threading.Lock()
        self._iterator: Iterator[Frame] | None = None

    def _frames(self) -> Iterator[Frame]:
        raise NotImplementedError

    def _release(self) -> None:
        """Give back files and devices; called once."""

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        """Return the next frame.

        Raises:
            StopIteration: There are no more; `truncated` and `warnings` say how it ended.
            SourceError: Nothing can be read at all.
        """
        with self._lock:
            if self._closed:
                raise StopIteration
            if self._iterator is None:
                self._iterator = self._frames()
            frame = next(self._iterator)
            self.num_given += 1
            if self.hw is None:
                self.hw = frame.hw
            return frame

    def interrupt(self) -> None:
        """Let a long wait in `next` end soon, from another thread; nothing to do for most sources."""

    def close(self) -> None:
        """Release the file or device; may be called twice. Waits for a read that another thread has under way."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._iterator = None
                self._release()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warn(self, text: str) -> None:
        message = f"{self.name}: {text}"
        self.warnings.append(message)
        warnings.warn(message, SourceWarning, stacklevel=4)
