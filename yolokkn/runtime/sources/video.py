"""Video files and streams, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SourceError
from yolokkn.runtime.sources.base import DEFAULT_FRAME_RATE, MAX_FRAME_PIXELS, Source
from yolokkn.runtime.sources.content import describe_file
from yolokkn.runtime.sources.timestamps import Timestamps, usable_rate
from yolokkn.runtime.uri import scheme_of, without_credentials
from yolokkn.types import Frame

TIMEOUT_S = 5.0
RESYNC_LIMIT = 300  # frames left out at most while waiting for a keyframe after damage
MAX_DECODE_THREADS = 4
_PROTOCOLS = {
    "http": "http,https,tcp,tls,crypto,data",
    "rtmp": "rtmp,rtmps,tcp,tls",
    "rtsp": "rtsp,rtsps,rtp,srtp,udp,tcp,tls",
    "srt": "srt,udp",
    "tcp": "tcp",
    "udp": "udp",
}


def _options(scheme: str | None) -> dict[str, str]:
    """FFmpeg's options for one scheme: only the protocols that it needs, RTSP over TCP (UDP loses packets)."""
    if scheme is None:
        return {"protocol_whitelist": "file"}
    family = scheme.removesuffix("s") if scheme in ("https", "rtsps", "rtmps") else scheme
    options = {"protocol_whitelist": _PROTOCOLS[family]}
    if family == "rtsp":
        options["rtsp_transport"] = "tcp"
    return options


def _reason(error: BaseException) -> str:
    """What went wrong, without the file or URL that FFmpeg's errors repeat."""
    import av

    if isinstance(error, av.error.ExitError):
        return f"no data for {TIMEOUT_S:g} s"
    return str(getattr(error, "strerror", None) or type(error).__name__)


class VideoSource(Source):
    """A video file or a stream.

    Frames come in display orientation (rotation metadata applied once), whatever their size; damaged packets are left
    out and counted, and reading goes on at the next keyframe. A file that ends early gives every decodable frame, then
    warns and sets `truncated`.

    Args:
        spec: Path, or URL of a scheme in `STREAM_SCHEMES`.
        decode_threads: Threads of the decoder; None: up to 4 for files, 1 for streams (threads add latency).
        is_known: A stream that was open before: a fifth of a second of it is looked at in place of some, which is too little
            for telling its frame rate, and enough for decoding.

    Raises:
        SourceError: It cannot be opened, holds no video, or no frame of it can be decoded.
    """

    def __init__(self, spec: str | Path, decode_threads: int | None = None, *, is_known: bool = False) -> None:
        scheme = scheme_of(str(spec))
        super().__init__(without_credentials(str(spec)))
        self._path = Path(spec) if scheme is None else None
        self.paths = [] if self._path is None else [str(self._path)]
        self._container: Any = self._open(str(spec), scheme, is_known)
        self._stream: Any = self._container.streams.video[0] if self._container.streams.video else None
        if self._stream is None or self._stream.codec_context is None:
            self._container.close()
            what = "no video" if self._stream is None else "video of a codec that is not known"
            raise SourceError(f"open_source: {self.name} holds {what}" + self._seen())
        self.is_live = scheme is not None and not self._container.duration
        self.kind = "video" if scheme is None else "stream"
        self._num_packets = 0
        self._last_error: str | None = None
        self._to_bgr = _BgrConverter()
        self._last_pts_s: float | None = None
        self._configure(decode_threads)
        self._iterator = self._after_the_first()

    def _after_the_first(self) -> Iterator[Frame]:
        """Decode one frame ahead, so that the size is known and an unreadable file is an error of opening."""
        frames = self._frames()
        try:
            first = next(frames)
        except SourceError:
            self.close()
            raise
        self.hw = first.hw
        return itertools.chain(self._handed_out_now(first), frames)

    @staticmethod
    def _handed_out_now(first: Frame) -> Iterator[Frame]:
        yield replace(first, captured_s=time.monotonic())

    def _open(self, spec: str, scheme: str | None, is_known: bool) -> Any:
        import av

        # "file:" keeps a local name with a colon in it from being taken for a protocol
        url = spec if scheme is not None else f"file:{spec}"
        timeout = None if scheme is None else (TIMEOUT_S, TIMEOUT_S)
        options = _options(scheme) | ({"analyzeduration": "200000"} if is_known else {})
        try:
            return av.open(url, options=options, timeout=timeout, metadata_errors="replace")
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = _reason(error)
        # raised out here: FFmpeg's error holds the URL with its credentials and must not hang on as __context__
        raise SourceError(f"open_source: {self.name} cannot be opened: {reason}" + self._seen())

    def _seen(self) -> str:
        return f"; it is {describe_file(self._path)}" if self._path is not None else ""

    def _configure(self, decode_threads: int | None) -> None:
        stream, context = self._stream, self._stream.codec_context
        threads = decode_threads or (1 if self.is_live else min(os.cpu_count() or 1, MAX_DECODE_THREADS))
        context.thread_count = threads
        stream.thread_type = "SLICE" if self.is_live else "AUTO"
        context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        self.frame_rate = usable_rate(stream.average_rate) or usable_rate(stream.guessed_rate)
        duration_s = self._promised_s()
        if stream.frames > 0:
            self.num_frames = int(stream.frames)
        elif duration_s and self.frame_rate:
            self.num_frames = round(duration_s * self.frame_rate)

    def _promised_s(self) -> float | None:
        """How long the file says its video is; None where it does not say so of the video alone."""
        tag = str(self._stream.metadata.get("DURATION", ""))
        try:
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            pass
        alone = len(self._container.streams) == 1 or self._stream.frames > 0
        return self._container.duration / 1e6 if self._container.duration and alone else None

    def _release(self) -> None:
        self._container.close()

    def _frames(self) -> Iterator[Frame]:
        times = Timestamps(self.frame_rate)
        index = 0
        for decoded in self._decoded():
            try:
                image = self._to_bgr(decoded)
            except (ValueError, MemoryError) as error:
                self._skip(str(error))
                continue
            time_s = None if decoded.pts is None else float(decoded.pts * decoded.time_base)
            self._last_pts_s = time_s
            yield Frame(image, index, times.next(time_s), time.monotonic(), self.name)
            index += 1
        self._finish(index)

    def _decoded(self) -> Iterator[Any]:
        """Sound frames in display order; after damage none until a keyframe."""
        waiting = 0
        for frames in self._packets():
            if frames is None:
                waiting = RESYNC_LIMIT
                continue
            for frame in frames:
                if waiting and not frame.key_frame:
                    waiting -= 1
                    self._skip("frames after damage, before the next keyframe")
                    continue
                waiting = 0
                if frame.is_corrupt:
                    waiting = RESYNC_LIMIT
                    self._skip("a frame is damaged")
                    continue
                yield frame

    def _packets(self) -> Iterator[list[Any] | None]:
        """The frames of each packet; None for a packet that cannot be decoded."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self.truncated = True
                self._last_error = _reason(error)
                yield from self._flush()
                return
            except IndexError:  # PyAV 18 at the end of a file in which streams appeared while it was read
                yield from self._flush()
                return
            if packet is None:
                return
            self._num_packets += packet.size > 0 or packet.dts is not None
            try:
                yield packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError) as error:
                self._skip(_reason(error))
                yield None

    def _flush(self) -> Iterator[list[Any] | None]:
        import av

        try:
            yield self._stream.codec_context.decode(None)
        except (av.error.FFmpegError, ValueError):
            return

    def _skip(self, reason: str) -> None:
        self.num_skipped += 1
        self._last_error = reason

    def _ended_early(self) -> bool:
        if self.truncated or self.kind == "stream":
            return self.truncated
        if self._stream.frames > 0:
            if self._num_packets >= self._stream.frames:
                return False
            if "mov" not in self._container.format.name:
                return True  # an AVI's duration follows the file's size, its header's count of frames does not
        promised_s = self._promised_s()
        if not promised_s or self._last_pts_s is None:
            return False
        step_s = 1.0 / (self.frame_rate or DEFAULT_FRAME_RATE)
        ended_s = self._last_pts_s - (self._container.start_time or 0) / 1e6 + step_s
        return ended_s < promised_s - 2.5 * step_s

    def _finish(self, given: int) -> None:
        if given == 0:
            reason = f": {self._last_error}" if self._last_error else ""
            raise SourceError(f"open_source: {self.name} holds no frame that can be decoded{reason}" + self._seen())
        self.truncated = self._ended_early()
        if not self.truncated and not self.num_skipped:
            return
        parts = [f"read {given} frames" + (f" of about {self.num_frames}" if self.num_frames else "")]
        if self.num_skipped:
            parts.append(f"left out {self.num_skipped} damaged ones")
        if self.truncated:
            parts.append("it ends early")
        if self._last_error:
            parts.append(self._last_error)
        self._warn("; ".join(parts))


class _BgrConverter:
    """Turns decoded frames into upright BGR arrays; keeps one scaler, whose set-up costs more than a conversion."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformat: Callable[..., Any] = VideoReformatter().reformat
        self._extra: dict[str, Any] = {"threads": 1}
        self._size = (0, 0)

    def __call__(self, decoded: Any) -> np.ndarray:
        if decoded.width * decoded.height > MAX_FRAME_PIXELS:
            raise ValueError(f"a frame of {decoded.width}x{decoded.height} is larger than {MAX_FRAME_PIXELS} pixels")
        if self._size != (decoded.height, decoded.width):
            self._size = (decoded.height, decoded.width)
            keep_freed_memory(3 * decoded.height * decoded.width)
        try:
            bgr = self._reformat(decoded, format="bgr24", **self._extra)
        except TypeError:  # PyAV before 15 has no `threads` and uses one
            self._extra = {}
            bgr = self._reformat(decoded, format="bgr24")
        return upright(bgr.to_ndarray(), int(getattr(decoded, "rotation", 0)))


def keep_freed_memory(num_bytes: int) -> None:
    """Let the C library reuse buffers of this size instead of giving them back to the system at each frame.

    glibc maps large aligned buffers anew each time, and the page faults cost more than the colour conversion: 0.7 of
    1.7 ms a frame at 768x576. Freeing a larger block once raises its threshold (by its documented rule, up to 32 MiB);
    nothing is touched, and other C libraries do not care.
    """
    block: np.ndarray = np.empty(min(8 * num_bytes, (32 << 20) - 65536), np.uint8)
    del block


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Rotate an image as its metadata asks.

    Args:
        image: (H, W, 3) uint8.
        rotation: Degrees counter-clockwise, any multiple of 90; another angle counts as the nearest one.
    """
    turns = round(rotation / 90) % 4
    if turns == 0:
        return image
    import cv2

    codes = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
    return np.asarray(cv2.rotate(image, codes[turns]))
