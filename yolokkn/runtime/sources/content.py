"""What a file holds, told from its first bytes: for error messages, and for sizes before anything is allocated."""

from __future__ import annotations

import struct
from pathlib import Path

_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"\xff\xd8\xff", 0, "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", 0, "a PNG image"),
    (b"GIF8", 0, "a GIF image"),
    (b"BM", 0, "a BMP image"),
    (b"WEBP", 8, "a WebP image"),
    (b"AVI ", 8, "an AVI video"),
    (b"ftyp", 4, "an MP4 file"),
    (b"moov", 4, "an MP4 file"),
    (b"\x1aE\xdf\xa3", 0, "a Matroska video"),
    (b"PK\x03\x04", 0, "a ZIP archive"),
    (b"\x1f\x8b", 0, "a gzip archive"),
    (b"%PDF", 0, "a PDF document"),
    (b"\x7fELF", 0, "a program"),
)


def describe_bytes(head: bytes) -> str:
    """Say in a few words what the beginning of a file looks like.

    Example:
        >>> describe_bytes(b""), describe_bytes(b"hello world"), describe_bytes(b"GIF89a")
        ('an empty file', 'text', 'a GIF image')
    """
    if not head:
        return "an empty file"
    for magic, at, meaning in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return meaning
    if not head.strip(b"\0"):
        return "a file of zero bytes"
    text = head[:512]
    if all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in text):
        return "an HTML page" if text.lstrip()[:1] == b"<" and b"html" in text.lower() else "text"
    return f"unknown bytes ({head[:8].hex(' ')} ...)"


def describe_file(path: Path) -> str:
    """Say what a file looks like, by its first bytes."""
    try:
        with path.open("rb") as file:
            return describe_bytes(file.read(512))
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"


def image_hw(data: bytes | memoryview) -> tuple[int, int] | None:
    """Read height and width from an image's header: JPEG, PNG, BMP, GIF, WebP, TIFF, PNM; None for other formats.

    Cost: a few bytes are looked at, nothing is decoded. EXIF orientation is not applied.
    """
    head = bytes(data[:64])
    try:
        if head[:3] == b"\xff\xd8\xff":
            return _jpeg_hw(data)
        if head[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", head[16:24])
        elif head[:2] == b"BM":
            width, height = struct.unpack("<ii", head[18:26])
        elif head[:4] == b"GIF8":
            width, height = struct.unpack("<HH", head[6:10])
        elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp_hw(head)
        elif head[:4] in (b"II*\0", b"MM\0*"):
            return _tiff_hw(data)
        elif head[:1] == b"P" and head[1:2] in b"123456":
            return _pnm_hw(bytes(data[:512]))
        else:
            return None
    except (struct.error, ValueError, IndexError):
        return None
    return abs(height), abs(width)


def _jpeg_hw(data: bytes | memoryview) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return height, width
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
            continue
        at += 2 + max(struct.unpack(">H", data[at + 2 : at + 4])[0], 2)
    return None


def _webp_hw(head: bytes) -> tuple[int, int] | None:
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return height & 0x3FFF, width & 0x3FFF
    if kind == b"VP8L":
        bits = struct.unpack("<I", head[21:25])[0]
        return ((bits >> 14) & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(head[27:30], "little") + 1, int.from_bytes(head[24:27], "little") + 1
    return None


def _tiff_hw(data: bytes | memoryview) -> tuple[int, int] | None:
    order = "<" if data[0] == 0x49 else ">"
    at = struct.unpack(order + "I", data[4:8])[0]
    found: dict[int, int] = {}
    for entry in range(struct.unpack(order + "H", data[at : at + 2])[0]):
        begin = at + 2 + 12 * entry
        tag, kind = struct.unpack(order + "HH", data[begin : begin + 4])
        if tag in (256, 257):
            value = data[begin + 8 : begin + (10 if kind == 3 else 12)]
            found[tag] = struct.unpack(order + ("H" if kind == 3 else "I"), value)[0]
    return (found[257], found[256]) if len(found) == 2 else None


def _pnm_hw(head: bytes) -> tuple[int, int] | None:
    lines = [line.split(b"#", 1)[0] for line in head[2:].split(b"\n")]
    numbers = b" ".join(lines).split()[:2]
    return int(numbers[1]), int(numbers[0])


def is_cut_off(data: bytes) -> bool:
    """Say whether a JPEG or PNG lacks its end: decoders fill the rest of such a picture with grey and say nothing."""
    if data[:3] == b"\xff\xd8\xff":
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return b"IEND" not in data[-4096:] and b"IEND" not in data
    return False
