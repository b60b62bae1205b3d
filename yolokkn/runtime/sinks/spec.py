"""Which sink a URI means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from yolokkn.errors import SinkError
from yolokkn.runtime.draw import DrawStyle
from yolokkn.runtime.sinks.base import Sink
from yolokkn.runtime.sinks.coco import CocoSink
from yolokkn.runtime.sinks.gif import GifSink
from yolokkn.runtime.sinks.outbox import is_outbox
from yolokkn.runtime.sinks.pictures import ImagesSink, OneImageSink
from yolokkn.runtime.sinks.record import Recording, RecordSink
from yolokkn.runtime.sinks.text import CsvSink, JsonlSink, MessageSink, MotSink
from yolokkn.runtime.sinks.video import VIDEO_SUFFIXES, VideoSink
from yolokkn.runtime.uri import scheme_of, without_credentials

_LEGAL = (
    "out.mp4, .mkv, .mov, .avi, .gif, .jsonl, .csv, mot:out.txt, coco:out.json, record:folder, mqtt://broker/topic, "
    "webhook+https://host/path, folder/, folder/*.jpg, "
    "folder/*.png, or out.jpg, out.png for one picture"
)


def open_sink(
    uri: str | Path,
    *,
    frame_rate: float | None = None,
    overwrite: bool = False,
    style: DrawStyle | None = None,
    category_ids: Sequence[int] | Mapping[int, int] | None = None,
) -> Sink:
    """Open a place for results.

    Args:
        uri: One of

            - `out.mp4`, `.mkv`, `.mov`, `.avi`, `.gif`: annotated video;
            - `folder/`, `folder/*.jpg`, `folder/*.png`: annotated images; `out.jpg`, `out.png`: one of them;
            - `out.jsonl`, `out.csv`: results as lines;
            - `mot:out.txt`: MOTChallenge rows of confirmed tracks;
            - `coco:out.json`: COCO results;
            - `mqtt://broker/topic`, `webhook+https://host/path`: results as lines, sent; see `yolokkn.runtime.sinks.outbox`;
            - `record:folder`, `record:folder,segment=10m,min-free=500M,keep=20G,format=mkv,drawn=false`: video in segments, for
              streams without an end; see `yolokkn.runtime.sinks.record`.
        frame_rate: Of the source, as `Source.frame_rate`; for videos.
        overwrite: Replace files that are there; otherwise they are an error.
        style: How results are drawn, for videos and images.
        category_ids: COCO category id of each class id; None: the class id itself.

    Returns:
        The sink: a context manager with `write(frame, result)` and `close()`.

    Raises:
        SinkError: The URI names no sink, its folder is missing or not writable, or the file is there already.
        TypeError: `uri` is no text or path.

    Example:
        >>> open_sink("out.xyz")
        Traceback (most recent call last):
        ...
        yolokkn.errors.SinkError: open_sink: uri must be one of out.mp4, ...
    """
    if not isinstance(uri, (str, Path)):
        raise TypeError(f"open_sink: uri must be text or a path, got {type(uri).__name__}")
    text = str(uri)
    if "\0" in text:
        raise SinkError("open_sink: uri must not hold NUL")
    if is_outbox(text):
        return MessageSink(text)
    if (scheme := scheme_of(text)) is not None:
        later = f"; to post results there: webhook+{scheme}://..." if scheme in ("http", "https") else ""
        raise SinkError(f"open_sink: uri must be one of {_LEGAL}, got {without_credentials(text)}{later}")
    if text.startswith("mot:"):
        return MotSink(_named(text[4:], text), overwrite=overwrite)
    if text.startswith("coco:"):
        return CocoSink(_named(text[5:], text), overwrite=overwrite, category_ids=category_ids)
    if text.startswith("record:"):
        return RecordSink(Recording.read(text[7:]), frame_rate=frame_rate, style=style)
    return _by_suffix(text, frame_rate, overwrite, style)


def _named(path: str, uri: str) -> Path:
    if not path or path.endswith("/"):
        raise SinkError(f"open_sink: uri must name a file after the colon, got {uri}")
    return Path(path)


def _by_suffix(text: str, frame_rate: float | None, overwrite: bool, style: DrawStyle | None) -> Sink:
    path = Path(text)
    suffix = path.suffix.lower()
    if path.name in ("*.jpg", "*.png"):
        return ImagesSink(path.parent, suffix, overwrite=overwrite, style=style)
    if text and (text.endswith("/") or path.is_dir()):
        return ImagesSink(path, ".jpg", overwrite=overwrite, style=style)
    if suffix in (".jpg", ".jpeg", ".png"):
        return OneImageSink(path, overwrite=overwrite, style=style)
    if suffix in VIDEO_SUFFIXES:
        return VideoSink(path, frame_rate=frame_rate, overwrite=overwrite, style=style)
    if suffix == ".gif":
        return GifSink(path, overwrite=overwrite, style=style)
    if suffix == ".jsonl":
        return JsonlSink(path, overwrite=overwrite)
    if suffix == ".csv":
        return CsvSink(path, overwrite=overwrite)
    raise SinkError(f"open_sink: uri must be one of {_LEGAL}, got {text!r}")
