"""The folder of a run, and the log of its figures."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yolokkn.errors import DataError
from yolokkn.files import write_atomically

LAST, BEST = "last.safetensors", "best.safetensors"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"


def make_run_folder(project: Path, name: str) -> Path:
    """Make a new folder: PROJECT/NAME, or NAME2, NAME3 ... where that is taken; nothing is ever written over.

    Raises:
        ValueError: The name is a path, or not a name.
    """
    if not name or name in (".", "..") or Path(name).name != name or "\\" in name:
        raise ValueError(f"name: must be the plain name of a folder, got {name!r}; project says where it lies")
    project.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = project / (name if number == 1 else f"{name}{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def find_resume(given: str) -> Path:
    """Return the last checkpoint of a run that is given by its folder or by a checkpoint.

    Raises:
        FileNotFoundError: There is none.
    """
    path = Path(given)
    found = path / LAST if path.is_dir() else path
    if not found.is_file():
        raise FileNotFoundError(f"resume: no checkpoint at {found}")
    return found


class MetricsLog:
    """One line of JSON for each step that is logged and each epoch, appended.

    Args:
        path: The file; lines of steps after `step` (of a run that was cut off) are dropped.
        step: The step at which the run stands.
        tensorboard: Write TensorBoard's files too.
    """

    def __init__(self, path: Path, step: int = 0, *, tensorboard: bool = False) -> None:
        if path.exists():
            kept = [row for row in read_metrics(path) if row.get("step", 0) <= step]
            write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(path.parent, purge_step=step)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line. Numbers that are none become null."""
        plain = {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in values.items()}
        self._file.write(json.dumps({"kind": kind, "step": step, **plain}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in _numbers(plain):
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._board is not None:
            self._board.close()


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, value
        elif isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", number) for inner, number in _numbers(value))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read a log; a last line that was cut off is left out.

    Raises:
        DataError: Another line is no JSON object.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise DataError(f"{path}:{number}: must be a line of JSON, got {line[:60]!r}") from error
        if not isinstance(row, dict) or not isinstance(row.get("step", 0), int):
            raise DataError(f"{path}:{number}: must be a JSON object with its step, got {line[:60]!r}")
        rows.append(row)
    return rows
