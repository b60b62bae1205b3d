"""A recording in segments, for cameras that run for ever: a killed process loses less than a second, a full disk nothing."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from yolokkn.errors import SinkError, did_you_mean
from yolokkn.runtime.draw import DrawStyle
from yolokkn.runtime.sinks.pictures import PictureSink
from yolokkn.runtime.sinks.video import VideoFile, even_sized, pick_encoder
from yolokkn.runtime.sources.timestamps import DEFAULT_FRAME_RATE, usable_rate
from yolokkn.types import Detections, Frame

_SUFFIXES = ("mp4", "mkv")
_LOOKED_AT_S = 5.0  # how often the disk is
_SEGMENT = re.compile(r"\d{8}-\d{6}(?:-\d+)?\.(?:mp4|mkv)")
_TIMES = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True)
class Recording:
    """How a stream is recorded.

    Attributes:
        folder: Where the segments go, named after the UTC time at which each begins: `20261124-162000.mp4`.
        segment_s: Length of a segment.
        suffix: "mp4" or "mkv".
        min_free_bytes: The recording stops with an error before the disk has less.
        keep_bytes: The oldest segments in the folder are deleted while all of them take more; None: nothing is ever deleted.
        is_drawn: Results are drawn onto the frames.
    """

    folder: Path
    segment_s: float = 600.0
    suffix: str = "mp4"
    min_free_bytes: int = 500 << 20
    keep_bytes: int | None = None
    is_drawn: bool = True

    @classmethod
    def read(cls, text: str) -> Recording:
        """Read what stands after `record:`: a folder, then settings behind commas.

        Raises:
            SinkError: A setting is unknown or out of its range.

        Example:
            >>> Recording.read("clips,segment=60s,keep=20G,drawn=false").keep_bytes
            21474836480
        """
        folder, *settings = text.split(",")
        if not folder:
            raise SinkError("open_sink: record: must name a folder, as record:clips,segment=10m")
        made: dict[str, object] = {}
        readers: dict[str, tuple[str, Callable[[str], object]]] = {
            "segment": ("segment_s", seconds),
            "format": ("suffix", _format),
            "min-free": ("min_free_bytes", num_bytes),
            "keep": ("keep_bytes", num_bytes),
            "drawn": ("is_drawn", _flag),
        }
        for setting in settings:
            key, equals, value = setting.partition("=")
            if key not in readers or not equals:
                raise SinkError(
                    f"open_sink: record: settings must be of {', '.join(f'{k}=' for k in readers)} got {setting!r}"
                    + did_you_mean(key, readers)
                )
            name, reader = readers[key]
            try:
                made[name] = reader(value)
            except ValueError as error:
                raise SinkError(f"open_sink: record: {key} must be {error}, got {value!r}") from None
        return cls(Path(folder), **made)  # type: ignore[arg-type]


def seconds(text: str) -> float:
    """Read a length of time: 60s, 10m, 2h, 7d.

    Example:
        >>> seconds("10m")
        600.0
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    value = float(found[1]) * _TIMES[found[2]] if found else 0.0
    if not value >= 1.0:
        raise ValueError("a time of a second or more, as 60s, 10m, 2h")
    return value


def num_bytes(text: str) -> int:
    """Read a size: 500M, 20G (units of 1024), or bytes.

    Example:
        >>> num_bytes("2K")
        2048
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)B?", text, re.IGNORECASE)
    if not found:
        raise ValueError("a size, as 500M or 20G")
    return int(float(found[1]) * _SIZES[found[2].upper()])


def _format(text: str) -> str:
    if text not in _SUFFIXES:
        raise ValueError("mp4 or mkv")
    return text


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


class RecordSink(PictureSink):
    """Segments of video in a folder.

    Each segment is a file of its own that plays as it is, begins with a keyframe, and is on the disk in pieces of half a second
    while it is written. A new one begins when its time is over, when the size of the frames changes, or when their time jumps
    (a stream that was away).

    Args:
        recording: How.
        frame_rate: Frames per second; None: 25.
        style: How results are drawn.
        clock: Seconds since 1970, for the names.
        free_bytes: Tells what a folder's disk has left.

    Raises:
        SinkError: The folder cannot be made.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        frame_rate: float | None = None,
        style: DrawStyle | None = None,
        clock: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        super().__init__(recording.folder, style=style)
        try:
            recording.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"open_sink: {recording.folder} cannot be made: {error.strerror}") from error
        self._recording, self._clock, self._free_bytes = recording, clock, free_bytes
        self._rate = usable_rate(frame_rate) or DEFAULT_FRAME_RATE
        self._encoder = pick_encoder()
        self._file: VideoFile | None = None
        self._began_s = self._last_s = 0.0  # of the segment, by the frames' times
        self._looked_s = -_LOOKED_AT_S
        self._check_disk()

    def _write(self, frame: Frame, result: Detections) -> None:
        if time.monotonic() - self._looked_s >= _LOOKED_AT_S:
            self._check_disk()
        image = even_sized(self._annotated(frame, result) if self._recording.is_drawn else frame.image)
        time_s, hw = frame.timestamp_s, (image.shape[0], image.shape[1])
        is_over = not self._began_s <= time_s < self._began_s + self._recording.segment_s
        jumps = abs(time_s - self._last_s) > max(5.0, 10 / self._rate)
        if self._file is None or self._file.hw != hw or is_over or jumps:
            self._next(hw)
            self._began_s = time_s
        self._last_s = time_s
        if self._file is not None:
            self._file.write(image, time_s)

    def _next(self, hw: tuple[int, int]) -> None:
        self._finish(False)
        self._check_disk()
        stem, number = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self._clock())), 1
        path = self.path / f"{stem}.{self._recording.suffix}"
        while path.exists():
            number += 1
            path = self.path / f"{stem}-{number}.{self._recording.suffix}"
        self._file = VideoFile(path, hw, self._rate, self._encoder, keyframe_s=1.0, is_fragmented=True)
        self.paths = [*self.paths[-999:], path]  # of a recording that runs for years only the last are told

    def _check_disk(self) -> None:
        self._looked_s = time.monotonic()
        self._delete_oldest()
        free, least = self._free_bytes(self.path), self._recording.min_free_bytes
        if free < least:
            self._finish(False)
            raise SinkError(
                f"write: {self.path}: the disk has {free >> 20} MiB left, and the recording leaves it {least >> 20} (min-free)"
            )

    def _delete_oldest(self) -> None:
        keep = self._recording.keep_bytes
        if keep is None:
            return
        segments = sorted(path for path in self.path.iterdir() if _SEGMENT.fullmatch(path.name))
        sizes = [path.stat().st_size for path in segments]
        total = sum(sizes)
        for path, size in zip(segments[:-1], sizes, strict=False):  # never the one that is written
            if total <= keep:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _finish(self, aborted: bool) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
