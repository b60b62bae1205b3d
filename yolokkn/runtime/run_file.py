"""Files of recorded runs (`.ykr`): a row of records, each of plain values and arrays, each with its checksum.

A file begins with `YKR1` and a line feed. A record is its length (u32, little endian), the CRC-32 of what follows (u32), the
length of its JSON part (u32), that part in UTF-8 with the arrays' names, dtypes and shapes under "arrays", and the arrays' bytes
one after the other. What a killed process leaves is a whole file but for its last record.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from yolokkn.errors import SinkError, SourceError
from yolokkn.runtime.sinks.base import check_new_file

MAGIC = b"YKR1\n"
MAX_RECORD_BYTES = 1 << 30
_HEAD = struct.Struct("<III")
_KINDS = "fiub"


@dataclass(frozen=True)
class Record:
    """Plain values, and arrays by name."""

    values: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


class RunWriter:
    """Appends records to a new file.

    Args:
        path: The file.
        overwrite: Replace a file that is there.

    Raises:
        SinkError: It cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        check_new_file(path, overwrite)
        self.path = path
        try:
            self._file = open(path, "wb", buffering=0)
            self._append(MAGIC)
        except OSError as error:
            raise SinkError(f"record: {path} cannot be written: {error.strerror}") from error

    def write(self, values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Append a record; it is with the operating system when this returns.

        Raises:
            SinkError: The disk does not take it: the file ends with the record before.
        """
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        listed = [[name, array.dtype.str, list(arrays[name].shape)] for name, array in contiguous.items()]
        text = json.dumps({**values, "arrays": listed}, separators=(",", ":")).encode()
        parts = [text, *(array.reshape(-1).view(np.uint8).data for array in contiguous.values() if array.size)]
        size, checksum = sum(len(part) for part in parts), 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        if size > MAX_RECORD_BYTES:
            raise SinkError(f"record: {self.path}: a frame of {size >> 20} MiB is more than a record holds")
        begin = self._file.tell()
        try:
            for part in (_HEAD.pack(size, checksum, len(text)), *parts):
                self._append(part)
        except OSError as error:
            self._file.truncate(begin)
            raise SinkError(f"record: {self.path} cannot be written: {error.strerror}") from error

    def _append(self, data: Any) -> None:
        view, done = memoryview(data), 0
        while done < len(view):
            done += self._file.write(view[done:]) or 0

    def close(self) -> None:
        """Bring the file to the disk and close it."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file.

    Raises:
        SourceError: It cannot be read, is no such file, or is damaged; after the records before that place.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                raise SourceError(f"replay: {path} must be a recorded run (.ykr), got other bytes")
            while head := file.read(_HEAD.size):
                place = file.tell()
                if len(head) < _HEAD.size:
                    raise SourceError(f"replay: {path} ends within a record")
                length, checksum, text_length = _HEAD.unpack(head)
                if length > MAX_RECORD_BYTES or text_length > length:
                    raise SourceError(f"replay: {path} is damaged at byte {place}")
                if place + length > size:
                    raise SourceError(f"replay: {path} ends within a record")
                body = file.read(length)
                if len(body) != length or zlib.crc32(body) != checksum:
                    raise SourceError(f"replay: {path} is damaged at byte {place}")
                yield _record(body, text_length, f"{path} at byte {place}")
    except OSError as error:
        raise SourceError(f"replay: {path} cannot be read: {error.strerror}") from None


def _record(body: bytes, text_length: int, where: str) -> Record:
    try:
        values = json.loads(body[:text_length])
        arrays, begin = {}, text_length
        for name, dtype_text, shape in values.pop("arrays"):
            dtype = np.dtype(dtype_text)
            if dtype.kind not in _KINDS or not all(type(side) is int and side >= 0 for side in shape):
                raise ValueError(f"array {name!r}")
            count = math.prod(shape)
            if begin + count * dtype.itemsize > len(body):
                raise ValueError(f"array {name!r}")
            arrays[str(name)] = np.frombuffer(body, dtype, count, begin).reshape(shape).copy()  # aligned
            begin += count * dtype.itemsize
        if begin != len(body):
            raise ValueError("bytes that belong to no array")
        return Record(dict(values), arrays)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SourceError(f"replay: {where}: not a record of a run: {error}") from None
