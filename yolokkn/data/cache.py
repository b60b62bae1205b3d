"""Decoded pictures, reduced to the size of training: in memory that worker processes share, or in a folder."""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import os
import secrets
import struct
from pathlib import Path

import numpy as np

from yolokkn.data.augment.fit import reduce_image
from yolokkn.data.datasets.base import Dataset
from yolokkn.data.sample import Sample

_HEADER = struct.Struct("<8sIIII")  # magic, height, width, own height, own width
_MAGIC = b"ykkn-px1"
_ROW = 5  # place + 1, height, width, own height, own width


def available_bytes() -> int:
    """Return how much memory may still be used: of the machine, or of the container's limit; 4 GiB where unknown."""
    found = []
    try:
        for line in Path("/proc/meminfo").read_text().split("\n"):
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit.isdecimal():
            found.append(max(int(limit) - used, 0))
    except (OSError, ValueError):
        pass
    return min(found, default=4 << 30)


class PictureCache:
    """Gives the samples of a dataset with pictures decoded once and reduced to what a canvas needs.

    Pictures stay where they are put until the budget is used up; the rest is decoded each time: in random order that
    hits more often than throwing old ones out. Forked processes share what any of them has decoded.

    Args:
        dataset: What is loaded.
        hw: Pictures are reduced to fit into this height and width, never enlarged.
        byte_limit: Most bytes of pixels; 0 keeps nothing.
        folder: Where pictures are kept as files, for runs to come; None: in memory.
    """

    def __init__(self, dataset: Dataset, hw: tuple[int, int], byte_limit: int, folder: Path | None = None) -> None:
        self.dataset, self.hw, self.folder = dataset, hw, folder
        self._limit = min(byte_limit, len(dataset) * hw[0] * hw[1] * 3) if folder is None else byte_limit
        self._lock = multiprocessing.get_context("fork").Lock()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        shared = mmap.mmap(-1, (len(dataset) * _ROW + 2) * 8)
        table = np.frombuffer(shared, np.int64)
        self._state, self._table = table[:2], table[2:].reshape(-1, _ROW)
        self._arena = np.frombuffer(mmap.mmap(-1, max(self._limit, 1)), np.uint8) if folder is None else None
        if folder is not None:
            self._state[0] = sum(f.stat().st_size for f in folder.glob("*.px"))

    @property
    def used_bytes(self) -> int:
        """Bytes of pixels kept now."""
        return int(self._state[0])

    def load(self, index: int) -> Sample:
        """Return a sample; its picture is read-only where it comes from the cache."""
        return self.load_with_hw(index)[0]

    def load_with_hw(self, index: int) -> tuple[Sample, tuple[int, int]]:
        """Return a sample, and the height and width that its picture had before it was reduced."""
        kept = self._find(index)
        if kept is None:
            full = self.dataset.load(index).image
            own_hw = (full.shape[0], full.shape[1])
            image = reduce_image(full, self.hw)
            self._keep(index, image, own_hw)
        else:
            image, own_hw = kept
        return self.dataset.labelled(index, image, own_hw), own_hw

    def _find(self, index: int) -> tuple[np.ndarray, tuple[int, int]] | None:
        if self.folder is not None:
            return self._read(self._file(index))
        place, h, w, own_h, own_w = self._table[index].tolist()
        if not place or self._arena is None:
            return None
        image = self._arena[place - 1 : place - 1 + h * w * 3].reshape(h, w, 3)
        image.flags.writeable = False
        return image, (own_h, own_w)

    def _keep(self, index: int, image: np.ndarray, own_hw: tuple[int, int]) -> None:
        with self._lock:
            begin = int(self._state[0])
            if begin + image.nbytes > self._limit:
                return
            self._state[0] = begin + image.nbytes
        if self._arena is None:
            self._write(self._file(index), image, own_hw)
            return
        self._arena[begin : begin + image.nbytes] = image.reshape(-1)
        self._table[index, 1:] = (*image.shape[:2], *own_hw)
        self._table[index, 0] = begin + 1  # last: from now on others see it

    def _file(self, index: int) -> Path:
        path = self.dataset.paths[index]
        try:
            stat = path.stat()
            seen = f"{stat.st_size}:{stat.st_mtime_ns}"
        except OSError:
            seen = "?"
        name = hashlib.sha256(f"{path.resolve()}:{seen}:{self.hw}".encode()).hexdigest()[:32]
        return (self.folder or Path()) / f"{name}.px"

    @staticmethod
    def _read(file: Path) -> tuple[np.ndarray, tuple[int, int]] | None:
        """Read a file; one that is not whole is as if it were not there.

        Not mapped: a mapped file that somebody cuts off ends the process.
        """
        try:
            data = np.frombuffer(file.read_bytes(), np.uint8)
        except OSError:
            return None
        if len(data) < _HEADER.size:
            return None
        magic, h, w, own_h, own_w = _HEADER.unpack(data[: _HEADER.size].tobytes())
        if magic != _MAGIC or len(data) != _HEADER.size + h * w * 3:
            return None
        return data[_HEADER.size :].reshape(h, w, 3), (own_h, own_w)

    @staticmethod
    def _write(file: Path, image: np.ndarray, own_hw: tuple[int, int]) -> None:
        """Write beside and rename: readers see all or nothing. Not flushed: a file cut off by a crash is not read."""
        part = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        try:
            part.write_bytes(_HEADER.pack(_MAGIC, *image.shape[:2], *own_hw) + np.ascontiguousarray(image).tobytes())
            os.replace(part, file)
        except OSError:
            part.unlink(missing_ok=True)  # a full disk: the cache stays as it is
