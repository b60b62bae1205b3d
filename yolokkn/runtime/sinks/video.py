"""Annotated video, encoded by FFmpeg through PyAV."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SinkError
from yolokkn.runtime.draw import DrawStyle
from yolokkn.runtime.sinks.base import check_new_file
from yolokkn.runtime.sinks.pictures import PictureSink
from yolokkn.runtime.sources.timestamps import DEFAULT_FRAME_RATE, usable_rate
from yolokkn.types import Detections, Frame

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")
_TICKS = 90_000  # per second
_MAX_GAP_S = 3600.0
_ENCODERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"preset": "ultrafast", "crf": "23"}),
    ("libopenh264", {}),
    ("mpeg4", {}),
)


def pick_encoder() -> tuple[str, dict[str, str]]:
    """Return the best video encoder that this FFmpeg has, with its options.

    Raises:
        SinkError: It has none of libx264, libopenh264, mpeg4.
    """
    import av

    for name, options in _ENCODERS:
        try:
            av.codec.Codec(name, "w")
        except (ValueError, av.error.FFmpegError):
            continue
        return name, options
    raise SinkError(f"open_sink: FFmpeg must have one of {', '.join(name for name, _ in _ENCODERS)}, got none")


class VideoSink(PictureSink):
    """A video of annotated frames, H.264 in yuv420p that every player takes.

    Frame times are kept (`.avi` knows only a constant rate). A frame of odd width or height is padded by one row or
    column of its edge. When the size changes a new file is opened: `out_001.mp4`, `out_002.mp4`, listed in `paths`.
    MP4 and MOV are written in fragments of half a second, so that a killed process leaves a file that plays, and become
    plain files when closed (FFmpeg 8 or later; before, they are whole only after `close`).

    Args:
        path: The first file.
        frame_rate: Frames per second; None: 25.
        overwrite: Replace files that are there.
        style: How results are drawn.
    """

    def __init__(
        self, path: Path, *, frame_rate: float | None = None, overwrite: bool, style: DrawStyle | None = None
    ) -> None:
        super().__init__(path, style=style)
        check_new_file(path, overwrite)
        self._rate = usable_rate(frame_rate) or DEFAULT_FRAME_RATE
        self._overwrite = overwrite
        self._encoder = pick_encoder()
        self._file: VideoFile | None = None

    def _write(self, frame: Frame, result: Detections) -> None:
        image = even_sized(self._annotated(frame, result))
        if self._file is None or self._file.hw != image.shape[:2]:
            self._open_next((image.shape[0], image.shape[1]))
        if self._file is not None:
            self._file.write(image, frame.timestamp_s)

    def _open_next(self, hw: tuple[int, int]) -> None:
        self._finish(False)
        count = len(self.paths)
        path = self.path if count == 0 else self.path.with_name(f"{self.path.stem}_{count:03d}{self.path.suffix}")
        check_new_file(path, self._overwrite)
        self._file = VideoFile(path, hw, self._rate, self._encoder)
        self.paths.append(path)

    def _finish(self, aborted: bool) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def even_sized(image: np.ndarray) -> np.ndarray:
    """Pad an image to even sides by repeating its last row or column; an even one is given back as it is."""
    h, w = image.shape[:2]
    if h % 2 == 0 and w % 2 == 0:
        return image
    return np.pad(image, ((0, h % 2), (0, w % 2), (0, 0)), mode="edge")


class VideoFile:
    """One encoder and its file, for frames of one size.

    Args:
        path: The file.
        hw: Height and width of its frames, even.
        rate: Frames per second, nominally.
        encoder: FFmpeg's name of it, and its options.
        keyframe_s: Longest time from one keyframe to the next.
        is_fragmented: An MP4 stays in fragments when it is closed, which needs no FFmpeg of a certain age.
    """

    def __init__(
        self,
        path: Path,
        hw: tuple[int, int],
        rate: float,
        encoder: tuple[str, dict[str, str]],
        *,
        keyframe_s: float = 5.0,
        is_fragmented: bool = False,
    ) -> None:
        import av

        self.hw, self._path, self._keyframe_s = hw, path, keyframe_s
        self._constant = path.suffix.lower() == ".avi"
        self._rate = Fraction(rate).limit_denominator(1001)
        self._time_base = 1 / self._rate if self._constant else Fraction(1, _TICKS)
        self._last, self._start_s, self._last_s = -1, None, 0.0  # type: int, float | None, float
        try:
            # "file:" keeps a local name with a colon in it from being taken for a protocol
            self._container: Any = av.open(
                f"file:{path}", "w", format=_format_of(path), options=_muxing(path, is_fragmented)
            )
            self._stream: Any = self._container.add_stream(encoder[0], rate=self._rate, options=encoder[1])
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(f"open_sink: {path} cannot be written: {reason}") from error
        self._configure()

    def _configure(self) -> None:
        stream, context = self._stream, self._stream.codec_context
        stream.height, stream.width = self.hw
        stream.pix_fmt = "yuv420p"
        context.time_base = self._time_base
        context.thread_count = min(os.cpu_count() or 1, 4)
        context.gop_size = max(round(self._keyframe_s * self._rate), 1)
        context.colorspace = 6  # BT.601 as OpenCV converts; untagged HD would be taken for BT.709
        context.color_range = 1

    def _next_pts(self, time_s: float) -> int:
        if self._constant:
            return self._last + 1
        if not np.isfinite(time_s):
            time_s = self._last_s + 1 / float(self._rate)
        if self._start_s is None:
            self._start_s = self._last_s = time_s
        if time_s - self._last_s > _MAX_GAP_S:  # MP4 cannot hold longer frames
            self._start_s += time_s - self._last_s - _MAX_GAP_S
        self._last_s = time_s
        return max(self._last + 1, round((time_s - self._start_s) * _TICKS))

    def write(self, image: np.ndarray, time_s: float) -> None:
        """Write a frame (H, W, 3) of the file's size at a time in seconds."""
        frame = _yuv_frame(image)
        frame.pts, frame.time_base = self._next_pts(time_s), self._time_base
        self._mux(frame)
        self._last = frame.pts

    def _mux(self, frame: Any) -> None:
        import av

        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except OSError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            size = f"{self.hw[1]}x{self.hw[0]}"
            raise SinkError(f"write: {self._path}: a frame of {size} cannot be encoded: {error}") from error

    def close(self) -> None:
        """Write what the encoder still holds and the file's end, as far as the disk takes it."""
        import av

        failure: Exception | None = None
        try:
            if self._last >= 0:
                self._mux(None)
        except (SinkError, OSError) as error:
            failure = error
        try:
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            failure = failure or error
        if failure is not None:
            raise failure


def _yuv_frame(image: np.ndarray) -> Any:
    """Convert a BGR image of even sides; OpenCV does it in a third of FFmpeg's time, and nearer to the true colours."""
    import av
    import cv2

    if image.shape[0] % 4:  # PyAV takes whole rows of chroma only
        return av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
    planes = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420))
    try:
        return av.VideoFrame.from_numpy_buffer(planes, format="yuv420p")  # no copy
    except ValueError:  # an older PyAV
        return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _format_of(path: Path) -> str:
    return {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}[path.suffix.lower()]


def _muxing(path: Path, is_fragmented: bool) -> dict[str, str]:
    """FFmpeg's options that bring each frame to the disk at once, in pieces of half a second that play as they are."""
    import av

    options = {"flush_packets": "1"}
    if path.suffix.lower() == ".mkv":
        options["cluster_time_limit"] = "500"
    elif is_fragmented:
        options["movflags"] = "frag_keyframe+empty_moov+default_base_moof"
        options["frag_duration"] = "500000"  # microseconds
    elif path.suffix.lower() in (".mp4", ".mov") and av.library_versions["libavformat"][0] >= 62:
        options["movflags"] = "hybrid_fragmented"
        options["frag_duration"] = "500000"  # microseconds
    return options
