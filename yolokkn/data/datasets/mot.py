"""MOTChallenge sequences as pictures with boxes: seqinfo.ini, img1/, gt/gt.txt."""

from __future__ import annotations

from pathlib import Path

from yolokkn.data.datasets.assemble import Assembly, Options
from yolokkn.data.datasets.base import Dataset
from yolokkn.data.datasets.pictures import list_pictures
from yolokkn.errors import DataError
from yolokkn.tracking.mot_files import read_seqinfo

_IGNORED = (2, 7, 8, 12)  # person on a vehicle, static person, distractor, reflection


def find_sequences(where: Path, split: str) -> list[Path]:
    """Return the folders of sequences: the path itself, those in it, or those in its folder of the split."""
    for root in (where, where / split):
        if (root / "gt" / "gt.txt").is_file():
            return [root]
        found = sorted(p.parents[1] for p in root.glob("*/gt/gt.txt"))
        if found:
            return found
    return []


def claims(where: Path) -> str:
    """Say why a path holds MOTChallenge sequences; empty where it does not."""
    if not where.is_dir():
        return ""
    for split in (".", "train", "val", "test"):
        if find_sequences(where, split):
            return "gt/gt.txt is there"
    return ""


def open_mot(where: Path, options: Options) -> Dataset:
    """Open MOTChallenge sequences: class 1 is a person; static ones, distractors and reflections are ignored.

    Args:
        where: A sequence, or a folder of them (in it folders of splits, as in MOT17).
        options: What is wanted of it.

    Raises:
        DataError: There are no sequences or no pictures.
    """
    sequences = find_sequences(where, options.split)
    if not sequences:
        raise DataError(f"open_dataset: {where}: no sequences with gt/gt.txt for split {options.split!r}")
    ids: list[str] = []
    paths: list[Path] = []
    for sequence in sequences:
        folder = _picture_folder(sequence, options)
        pictures = list_pictures(folder) if folder.is_dir() else []
        if not pictures:
            raise DataError(f"open_dataset: {sequence} must have pictures in {folder.name}/, got none")
        paths += pictures
        ids += [f"{sequence.name}/{picture.stem}" for picture in pictures]
    assembly = Assembly("mot", where, options, f"{len(sequences)} sequences", options.names or ("person",))
    rows = {s.name: _read_rows(s / "gt" / "gt.txt", assembly) for s in sequences}
    assembly.pictures(ids, paths, [None] * len(paths))
    for place, hw in zip(assembly.kept, assembly.sizes_hw, strict=True):
        name, _, stem = ids[place].partition("/")
        assembly.labels.start_picture(hw if hw[0] else None)
        frame = int(stem) if stem.isdecimal() else -1
        for where_row, box, ignored in rows[name].get(frame, ()):
            assembly.labels.add(where_row, 0, box, ignored=ignored)
    return assembly.finish()


def _picture_folder(sequence: Path, options: Options) -> Path:
    if options.images is not None:
        return options.images / sequence.name
    name = "img1"
    ini = sequence / "seqinfo.ini"
    if ini.is_file():
        read_seqinfo(ini)
        for line in ini.read_text("utf-8", "replace").split("\n"):
            key, _, value = line.partition("=")
            if key.strip().lower() == "imdir" and value.strip() and ".." not in value:
                name = value.strip()
    return sequence / name


Row = tuple[str, tuple[float, float, float, float], bool]


def _read_rows(file: Path, assembly: Assembly) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = {}
    for number, line in enumerate(file.read_text("utf-8", "replace").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file.parents[1].name}/gt/gt.txt:{number}"
        try:
            cells = [float(cell) for cell in line.split(",")[:8] if cell.strip()]
            frame, (left, top, width, height) = int(cells[0]), cells[2:6]
        except (ValueError, IndexError, OverflowError):
            assembly.issues.add("broken labels", where, f"{line[:80].strip()!r}", "dropped")
            continue
        counts = cells[6] > 0 if len(cells) > 6 else True
        class_id = int(cells[7]) if len(cells) > 7 else 1
        if class_id in _IGNORED or (class_id in (1, -1) and counts):
            box = (left - 1, top - 1, left - 1 + width, top - 1 + height)  # MOTChallenge counts pixels from 1
            rows.setdefault(frame, []).append((where, box, class_id in _IGNORED))
    return rows
