"""Small clips and images that the tests of sources and sinks make for themselves."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import av
import numpy as np

from yolokkn.errors import SourceWarning
from yolokkn.runtime.sources import open_source

ROTATION_MATRICES = {  # degrees clockwise for display -> a, b, c, d of the track header's matrix
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def picture(index: int, hw: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A smooth picture that changes with the index and has four different quarters."""
    h, w = hw
    y, x = np.mgrid[:h, :w]
    image = np.stack([x * 200 // max(w - 1, 1), y * 200 // max(h - 1, 1), (x + y + 3 * index) % 256], -1).astype(
        np.uint8
    )
    image[: h // 2, : w // 2, 0] = 255
    return image


def write_clip(path: Path, count: int = 40, hw: tuple[int, int] = (96, 128), **kwargs) -> Path:
    """Encode pictures: codec h264 unless said, a keyframe every 10 frames, 25 frames/s; `pts` gives own times."""
    codec, options = kwargs.get("codec", "libx264"), kwargs.get("options", {"crf": "20", "preset": "ultrafast"})
    with av.open(str(path), "w", options=kwargs.get("container_options", {})) as container:
        stream = container.add_stream(codec, rate=25, options=options if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = hw[0], hw[1], kwargs.get("pix_fmt", "yuv420p")
        stream.codec_context.gop_size = 10
        if codec == "mpeg4":
            stream.codec_context.bit_rate = 2_000_000
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, hw), format="bgr24")
            frame.pts = kwargs["pts"][i] if "pts" in kwargs else i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rotate_mp4(path: Path, clockwise: int) -> None:
    """Write a rotation into the track header of an MP4, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = ROTATION_MATRICES[clockwise]
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


def frames_by_pyav(path: Path) -> int:
    """How many sound frames single-threaded decoding gives, errors passed over; -1 if the file cannot be opened."""
    try:
        container = av.open(str(path))
    except av.error.FFmpegError:
        return -1
    with container:
        if not container.streams.video:
            return -1
        stream, count = container.streams.video[0], 0
        stream.codec_context.thread_count = 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return count
                count += sum(not frame.is_corrupt for frame in packet.decode())
            except av.error.EOFError:
                return count
            except av.error.FFmpegError:
                continue


def read_all(spec, **kwargs):
    """All frames of a source and the source, warnings kept off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceWarning)
        with open_source(spec, **kwargs) as source:
            return list(source), source
