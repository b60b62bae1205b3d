"""MOTChallenge files: detections and sequence data in, tracks out."""

from __future__ import annotations

import configparser
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from yolokkn.files import write_atomically
from yolokkn.ops import _native

MAX_FRAME = 10_000_000
_MAX_ID = 2**53  # what float64 holds exactly


class MotRow(NamedTuple):
    """One line of a MOTChallenge file, in pixels; frames from 1."""

    frame: int
    track_id: int  # -1 in detection files
    left: float
    top: float
    width: float
    height: float
    confidence: float = 1.0
    class_id: int = 0


@dataclass(frozen=True)
class SequenceInfo:
    """What a `seqinfo.ini` says; 0 or empty where it is silent.

    Attributes:
        name: The sequence.
        frame_rate: Frames a second.
        num_frames: Length of the sequence.
        image_hw: Height and width of its images.
    """

    name: str = ""
    frame_rate: float = 0.0
    num_frames: int = 0
    image_hw: tuple[int, int] = (0, 0)


def find_sequence_files(where: str | os.PathLike[str], inner: str) -> dict[str, Path]:
    """Return a file of each sequence, by the sequences' names.

    Args:
        where: The file itself; the folder of a sequence that holds it; a folder of such folders, or of SEQUENCE.txt.
        inner: Where the file lies in its sequence's folder: "gt/gt.txt" or "det/det.txt".

    Raises:
        FileNotFoundError: There is none.
    """
    root, kind = Path(where), Path(inner).name
    if root.is_file():
        return {root.resolve().parent.parent.name if root.name == kind else root.stem: root}
    if (root / inner).is_file():
        return {root.resolve().name: root / inner}
    found = {path.parent.parent.name: path for path in sorted(root.glob(f"*/{inner}"))}
    found = found or {path.stem: path for path in sorted(root.glob("*.txt"))}
    if not found:
        raise FileNotFoundError(
            f"{root} must be a file, or hold SEQUENCE/{inner} or SEQUENCE.txt, and is or has neither"
        )
    return found


def _whole(text: str) -> int:
    value = float(text)
    if value != int(value):
        raise ValueError("a whole number")
    return int(value)


def _split_line(line: str) -> list[str]:
    cells = line.split() if "," not in line else [cell.strip() for cell in line.split(",")]
    while len(cells) > 7 and not cells[-1]:
        cells.pop()  # a trailing comma
    return cells


def _parse_line(cells: list[str], line: str, where: str, with_class: bool) -> MotRow:
    least = 8 if with_class else 7
    if not least <= len(cells) <= 10:
        raise ValueError(f"{where} must have {least} to 10 columns, got {len(cells)}")
    try:
        frame, track_id = _whole(cells[0]), _whole(cells[1])
        left, top, width, height, confidence = (float(cell) for cell in cells[2:7])
        class_id = _whole(cells[7]) if with_class else 0
        [float(cell) for cell in cells[7:]]
    except (ValueError, OverflowError):
        raise ValueError(
            f"{where} must hold numbers (frame, id and class whole ones), got {line[:80].strip()!r}"
        ) from None
    if not 1 <= frame <= MAX_FRAME:
        raise ValueError(f"{where} must have a frame within 1 and {MAX_FRAME}, got {frame}")
    if not -(2**63) <= track_id < 2**63 or not -(2**31) <= class_id < 2**31:
        raise ValueError(f"{where} must have an id of 64 bits and a class of 32, got {track_id} and {class_id}")
    if not all(map(math.isfinite, (left, top, width, height, confidence))):
        raise ValueError(f"{where} must hold finite numbers, got {line[:80].strip()!r}")
    return MotRow(frame, track_id, left, top, width, height, confidence, class_id)


def read_detections(path: str | os.PathLike[str], *, with_class: bool = False) -> list[MotRow]:
    """Read a detection (or result) file: `frame,id,left,top,width,height,conf,...`, comma or space separated.

    Args:
        path: Text file of 7 to 10 columns; empty lines are skipped.
        with_class: Column 8 is a class id. Otherwise columns after the seventh must be numbers and are not used.

    Returns:
        The rows in the file's order.

    Raises:
        ValueError: A line is malformed; the message names file and line.
        OSError: The file cannot be read.
    """
    return _read_rows(path, "read_detections", with_class)[0]


def _read_rows(path: str | os.PathLike[str], caller: str, with_class: bool | None) -> tuple[list[MotRow], bool]:
    """Return the rows, and whether column 8 is their class; with_class None leaves that to the first line."""
    rows: list[MotRow] = []
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            where = f"{caller}: {os.fspath(path)}:{number}"
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{where} must be text, got bytes {raw[:20]!r}") from None
            if line.strip():
                cells = _split_line(line)
                with_class = len(cells) > 7 if with_class is None else with_class
                rows.append(_parse_line(cells, line, where, with_class))
    return rows, bool(with_class)


def read_columns(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a file as `read_detections` does, as one array; quickly where its lines are regular.

    Returns:
        (N, 7 to 10) float64: frame, id, left, top, width, height, confidence, class ...; frames and ids whole, frames from
        1. A file whose lines differ in length has 8 columns if its first line has as many, else 7.

    Raises:
        ValueError: A line is malformed; the message names file and line.
        OSError: The file cannot be read.
    """
    values = _native.parse_mot(Path(path).read_bytes())
    if values is not None:
        frames, whole = values[:, 0], values[:, :2]
        is_sound = (whole == np.floor(whole)).all() and frames.min() >= 1 and frames.max() <= MAX_FRAME
        if is_sound and np.abs(whole).max() < _MAX_ID:
            return values
    rows, with_class = _read_rows(path, "read_columns", None)
    columns = 8 if with_class else 7
    beyond = next((row.track_id for row in rows if abs(row.track_id) >= _MAX_ID), None)
    if beyond is not None:
        raise ValueError(f"read_columns: {os.fspath(path)} must have ids below 2^53, got {beyond}")
    return np.array([row[:columns] for row in rows], np.float64).reshape(-1, columns)


def read_seqinfo(path: str | os.PathLike[str]) -> SequenceInfo:
    """Read a `seqinfo.ini`, or that of a sequence's folder.

    Raises:
        ValueError: The file has no section [Sequence] or a value is no number; the message names the file.
        OSError: The file cannot be read.
    """
    file = Path(path) / "seqinfo.ini" if Path(path).is_dir() else Path(path)
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text("utf-8"), str(file))
        section = parser["Sequence"]
        info = SequenceInfo(
            section.get("name", ""),
            section.getfloat("frameRate", 0.0),
            section.getint("seqLength", 0),
            (section.getint("imHeight", 0), section.getint("imWidth", 0)),
        )
    except (configparser.Error, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"read_seqinfo: {file} must be an INI file with a section [Sequence], got {reason}") from None
    if not (math.isfinite(info.frame_rate) and info.frame_rate >= 0) or min(info.num_frames, *info.image_hw) < 0:
        raise ValueError(f"read_seqinfo: {file} must hold values of 0 or more, got {info}")
    return info


def format_rows(rows: Iterable[MotRow]) -> str:
    """Format rows as MOTChallenge results: `frame,id,left,top,width,height,conf,-1,-1,-1`.

    Example:
        >>> format_rows([MotRow(1, 3, 10.0, 20.5, 30.0, 40.0, 0.9)])
        '1,3,10.000,20.500,30.000,40.000,0.900000,-1,-1,-1\\n'
    """
    return "".join(
        f"{r.frame},{r.track_id},{r.left:.3f},{r.top:.3f},{r.width:.3f},{r.height:.3f},{r.confidence:.6f},-1,-1,-1\n"
        for r in rows
    )


def write_rows(path: str | os.PathLike[str], rows: Iterable[MotRow]) -> None:
    """Write results, replacing the file as a whole: after a crash there is the old file or the new one, never half.

    Raises:
        OSError: The file cannot be written; an old one is left as it was.
    """
    write_atomically(Path(path), format_rows(rows))
