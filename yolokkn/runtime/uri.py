"""Names of sources and sinks: URLs shown without credentials, and file names that stay inside their folder."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

STREAM_SCHEMES: tuple[str, ...] = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps", "srt", "tcp", "udp")
PLACE = "{stream}"  # in a place for results: the name of the stream, where there are several
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]')
_DEVICE_NAMES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def scheme_of(text: str) -> str | None:
    """Return the scheme of a URL in lower case, or None for a plain path.

    A scheme of one letter is a Windows drive, hence a path; a colon without `//` after it belongs to a file name.

    Example:
        >>> scheme_of("RTSP://camera/1"), scheme_of("clips/a.mp4"), scheme_of("C:/a.mp4"), scheme_of("take:2.mp4")
        ('rtsp', None, None, None)
    """
    match = _SCHEME.match(text)
    if match is None or len(match[1]) == 1 or not text[match.end() :].startswith("//"):
        return None
    return match[1].lower()


def without_credentials(text: str) -> str:
    """Return what may be shown of a source: a URL loses user, password, query and fragment; a path stays as it is.

    Whatever stands before the last `@` is taken for credentials, since passwords hold `/`, `?` and `#` unescaped; a
    part of the path that holds `=` (cameras that take `user=..&password=..` there) is masked.

    Example:
        >>> without_credentials("rtsp://admin:se/cret@10.0.0.7:554/stream1?token=abc")
        'rtsp://10.0.0.7:554/stream1'
    """
    scheme = scheme_of(text)
    if scheme is None:
        return text
    rest = text.split("://", 1)[1].rsplit("@", 1)[-1]
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    parts = ["***" if "=" in part or "%3d" in part.lower() else part for part in rest.split("/")]
    return f"{scheme}://" + re.sub(r"[\x00-\x20\x7f]", "", "/".join(parts))


def file_name_for(source: str, fallback: str) -> str:
    """Return a file name without suffix for results about a source: one plain name that cannot leave its folder.

    Args:
        source: A path, URL or camera, as in `Frame.source`.
        fallback: What to use where nothing of the name is left.

    Example:
        >>> file_name_for("photos/bus.jpg", "frame"), file_name_for("../..", "frame"), file_name_for("a%2f..", "frame")
        ('bus', 'frame', 'a_2f')
    """
    shown = without_credentials(source).replace("\\", "/").rstrip("/")
    name = PurePosixPath(shown).name if shown else ""
    stem = PureWindowsPath(name).stem if name not in ("", ".", "..") else ""
    stem = stem.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate becomes "?"
    stem = _UNSAFE.sub("_", stem).strip(". ").encode("utf-8")[:180].decode("utf-8", "ignore").strip(". ")
    if not stem or _DEVICE_NAMES.match(stem):
        return f"{fallback}{'_' + stem if stem else ''}"
    return stem
