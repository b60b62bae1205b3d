"""Files that are never half: written beside their place, flushed to the disk, then renamed over it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

_RESULTS = (".onnx", ".engine", ".json", ".jsonl", ".csv", ".yaml", ".yml")  # what people keep beside their data
_LABEL_FOLDERS = ("annotations", "labels")


def write_atomically(path: Path, content: str | bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Args:
        path: The file; its folder must exist.
        content: Text (written as UTF-8), bytes, or pieces of bytes that are written as they come.

    Raises:
        OSError: The folder is missing or read-only, or the disk is full; the old file is then untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "a.txt", "new")
        ...     (Path(folder) / "a.txt").read_text()
        'new'
    """
    data = content.encode() if isinstance(content, str) else content
    pieces = [data] if isinstance(data, bytes) else data
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    remove_leftovers(path)
    temporary, handle = _open_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself must reach the disk
    finally:
        os.close(folder)


def remove_leftovers(path: Path, older_than_s: float = 3600.0) -> None:
    """Remove what a killed `write_atomically` to this path left beside it; young files may be another machine's work."""
    pattern = re.compile(re.escape(f".{path.name[:100]}.") + r"(\d+)-[0-9a-f]{8}\.part")
    for entry in os.scandir(path.parent):
        match = pattern.fullmatch(entry.name)
        with contextlib.suppress(OSError):  # another writer may be sweeping, too
            if match and time.time() - entry.stat().st_mtime > older_than_s and not _is_running(int(match[1])):
                os.unlink(entry.path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def refuse_existing(path: Path, overwrite: bool, reads: Iterable[str | Path] = ()) -> None:
    """Raise an OSError unless a file may be written: it is new or may be replaced, and is nothing that is read.

    Args:
        path: The file to write.
        overwrite: Whether the user allows replacing what is there; never what is read.
        reads: Files, folders and patterns that the same command reads, see `what_is_read`.

    Raises:
        FileNotFoundError: Its folder is missing.
        FileExistsError: It is there and may not be replaced.
        OSError: No file can be made in its folder: no permission, a read-only or full disk.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    read = what_is_read(path, reads)
    if read is not None:
        where = "is what is read" if Path(path) == Path(read) else f"is what is read ({read})"
        raise FileExistsError(f"{path}: {where}, which is never replaced; give another name")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: must be a file, got a folder")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; give another name, or --overwrite to replace it")
    refuse_unwritable(path)


def what_is_read(path: Path, reads: Iterable[str | Path]) -> str | Path | None:
    """Return which of the things that are read would be damaged by writing a file; None where none would.

    A file is itself under every name and link that it has. Of a folder (or of that of a pattern) all counts, at any depth,
    but results of before that may lie in it: models, JSON, CSV and YAML files, where they are not among the labels.

    Example:
        >>> what_is_read(Path("best.onnx"), ["best.safetensors", "photos/"]) is None
        True
    """
    if not os.path.lexists(path):
        return None
    for read in reads:
        place = Path(read)
        with contextlib.suppress(OSError, ValueError):  # a camera's number, a stream's address
            if "*" in place.name:
                place = place.parent
            if place.is_dir():
                if _is_data_of(place.resolve(), path.resolve()):
                    return read
            elif place.exists() and path.exists() and place.samefile(path):
                return read
    return None


def _is_data_of(folder: Path, path: Path) -> bool:
    if not path.is_relative_to(folder) or path == folder:
        return False
    folders = (part.lower() for part in path.relative_to(folder).parts[:-1])
    return path.suffix.lower() not in _RESULTS or any(name in _LABEL_FOLDERS for name in folders)


def refuse_unwritable(path: Path) -> None:
    """Raise OSError, with the name of the file itself, where none can be made in its folder."""
    temporary, handle = _open_beside(Path(path))
    os.close(handle)
    temporary.unlink()


def _open_beside(path: Path) -> tuple[Path, int]:
    """Make a hidden file beside a path; an error names the path, for nobody asked for the hidden one."""
    temporary = path.parent / f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise OSError(error.errno, f"cannot be made: {error.strerror}", str(path)) from error
