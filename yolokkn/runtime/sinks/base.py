"""What every sink is: it takes frames with their results, fails once and clearly, and closes what it wrote properly."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from yolokkn.errors import SinkError
from yolokkn.types import Detections, Frame


class Sink:
    """A place for results: `with open_sink(uri) as sink: sink.write(frame, result)`.

    Frames and results are never changed. After the first failure every further `write` raises the same error; what was
    written until then stays valid as far as the format allows.

    Attributes:
        path: The file or folder that the URI names.
        paths: Files written so far.
        num_written: Frames taken so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.paths: list[Path] = []
        self.num_written = 0
        self._closed = False
        self._failure: str | None = None

    def _write(self, frame: Frame, result: Detections) -> None:
        raise NotImplementedError

    def _finish(self, aborted: bool) -> None:
        """Complete and close the files; called once. `aborted`: the work ended by an error."""

    def write(self, frame: Frame, result: Detections) -> None:
        """Write one frame's result.

        Raises:
            SinkError: It cannot be written (disk full, no permission, a file is there already), now or before.
        """
        if self._closed:
            raise SinkError(f"write: {self.path} is closed")
        if self._failure is not None:
            raise SinkError(self._failure)
        try:
            self._write(frame, result)
        except SinkError as error:
            self._failure = str(error)
            raise
        except OSError as error:
            self._failure = f"write: {self.path} cannot be written: {error.strerror or type(error).__name__}"
            raise SinkError(self._failure) from error
        self.num_written += 1

    def close(self, *, aborted: bool = False) -> None:
        """Complete the output; may be called twice.

        Args:
            aborted: The work ended by an error; an output that replaces another only when it is whole is kept aside.

        Raises:
            SinkError: The end cannot be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._finish(aborted or self._failure is not None)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise SinkError(f"close: {self.path} cannot be completed: {reason}") from error

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, GeneratorExit):  # leaving the loop over a run is no failure
            self.close()
            return
        try:
            self.close(aborted=True)
        except SinkError:
            return  # the first error is the one to see


def check_new_file(path: Path, overwrite: bool) -> None:
    """Refuse a path that cannot become a file, or that holds one the user did not ask to replace.

    Raises:
        SinkError: The folder is missing or not writable, or something is there already.
    """
    folder = path.parent
    if "\0" in str(path):
        raise SinkError("open_sink: a path must not hold NUL")
    if not folder.is_dir():
        raise SinkError(f"open_sink: the folder of {path} must exist; create {folder} first")
    if path.is_dir():
        raise SinkError(f"open_sink: {path} must be a file, got a folder")
    if os.path.lexists(path) and not overwrite:
        raise SinkError(f"open_sink: {path} exists already; choose another name, or --overwrite (overwrite=True)")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SinkError(f"open_sink: {path} cannot be written: no permission for the folder {folder}")
