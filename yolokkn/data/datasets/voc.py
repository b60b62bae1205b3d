"""Pascal VOC: Annotations/*.xml, JPEGImages, ImageSets/Main."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yolokkn.data.datasets.assemble import Assembly, Options
from yolokkn.data.datasets.base import Dataset
from yolokkn.errors import DataError

VOC20 = tuple(
    "aeroplane,bicycle,bird,boat,bottle,bus,car,cat,chair,cow,diningtable,dog,horse,motorbike,person,pottedplant,sheep,"
    "sofa,train,tvmonitor".split(",")
)
MAX_XML_BYTES = 16 << 20
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


def _years(where: Path) -> list[Path]:
    """Return the folders with Annotations: the path itself, or VOC2007 and its like in a VOCdevkit."""
    for root in (where, where / "VOCdevkit"):
        if (root / "Annotations").is_dir():
            return [root]
        found = sorted(p.parent for p in root.glob("*/Annotations") if p.is_dir())
        if found:
            return found
    return []


def claims(where: Path) -> str:
    """Say why a path holds a VOC dataset; empty where it does not."""
    for year in _years(where) if where.is_dir() else ():
        if next((year / "Annotations").glob("*.xml"), None):
            return f"{(year / 'Annotations').relative_to(where)}/*.xml is there"
    return ""


def open_voc(where: Path, options: Options) -> Dataset:
    """Open a VOC dataset.

    Args:
        where: A folder with Annotations, JPEGImages and ImageSets/Main, or a VOCdevkit of several years.
        options: What is wanted of it; the split is a file of ImageSets/Main ("trainval"), of one year of a VOCdevkit
            ("2007:test"), or several with "+" between ("2007:trainval+2012:trainval").

    Raises:
        DataError: There is no such split.
    """
    members = _members(where, options.split)
    files = [year / "Annotations" / f"{name}.xml" for year, name in members]
    read = {file: _read(file) for file in files}
    texts = [read[file] for file in files]
    names = options.names or _class_names(where, read)
    years = dict.fromkeys(str(year.relative_to(where)) for year, _ in members)
    assembly = Assembly("voc", where, options, f"ImageSets of {', '.join(years)}", names)
    several = len(years) > 1
    ids = [f"{year.name}/{name}" if several else name for year, name in members]
    paths = [_picture(year, name) for year, name in members]
    assembly.pictures(ids, paths, [text.hw for text in texts], [name for _, name in members])
    for place, hw in zip(assembly.kept, assembly.sizes_hw, strict=True):
        assembly.labels.start_picture(hw if hw[0] else None)
        _add(assembly, texts[place])
    return assembly.finish()


@dataclass(frozen=True)
class _Annotation:
    where: str
    hw: tuple[int, int] | None
    objects: tuple[ElementTree.Element, ...]
    wrong: str = ""


def _read(file: Path) -> _Annotation:
    where = f"{file.parent.name}/{file.name}"
    try:
        if file.stat().st_size > MAX_XML_BYTES:
            return _Annotation(where, None, (), f"must have at most {MAX_XML_BYTES} bytes")
        data = file.read_bytes()
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            return _Annotation(where, None, (), "must be plain XML, got a document type")
        root = ElementTree.fromstring(data)
    except FileNotFoundError:
        return _Annotation(where, None, (), "missing")
    except OSError as error:
        return _Annotation(where, None, (), f"cannot be read: {error.strerror}")
    except ElementTree.ParseError as error:
        return _Annotation(where, None, (), f"must be XML, got {error}")
    return _Annotation(where, _size(root), tuple(root.iter("object")))


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        h, w = (int(float(root.findtext(f"size/{side}", "0"))) for side in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (h, w) if 0 < h < 1 << 20 and 0 < w < 1 << 20 else None


def _add(assembly: Assembly, annotation: _Annotation) -> None:
    issues = assembly.issues
    if annotation.wrong:
        kind = "missing labels" if annotation.wrong == "missing" else "broken labels"
        message = "no such file" if annotation.wrong == "missing" else annotation.wrong
        issues.add(kind, annotation.where, message, "picture kept without objects")
    class_ids = {name: i for i, name in enumerate(assembly.class_names)}
    for number, thing in enumerate(annotation.objects, 1):
        where = f"{annotation.where}, object {number}"
        name = (thing.findtext("name") or "").strip()
        corners = [thing.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x1, y1, x2, y2 = (float(text or "") for text in corners)
        except ValueError:
            issues.add("broken labels", where, f"{name or 'no name'}, bndbox {corners}", "dropped")
            continue
        if name not in class_ids:
            issues.add("unknown class", where, f"{name!r}", "dropped")
            continue
        if x2 <= x1 or y2 <= y1:  # one pixel by VOC's way of counting, in truth a slip of the mouse
            issues.add("zero area", where, f"{name}, bndbox {', '.join(map(str, corners))}", "dropped")
            continue
        difficult = (thing.findtext("difficult") or "0").strip() not in ("0", "")
        # VOC counts pixels from 1 and names the last one inside.
        assembly.labels.add(where, class_ids[name], (x1 - 1, y1 - 1, x2, y2), ignored=difficult)


def _picture(year: Path, name: str) -> Path:
    folder = year / "JPEGImages" if (year / "JPEGImages").is_dir() else year / "images"
    return next((p for s in _SUFFIXES if (p := folder / f"{name}{s}").is_file()), folder / f"{name}.jpg")


def _members(where: Path, split: str) -> list[tuple[Path, str]]:
    years = _years(where)
    members: list[tuple[Path, str]] = []
    for part in split.split("+"):
        year, _, name = part.strip().rpartition(":")
        for folder in years:
            file = folder / "ImageSets" / "Main" / f"{name}.txt"
            if (not year or folder.name in (year, f"VOC{year}")) and file.is_file():
                lines = file.read_text("utf-8", "replace").split("\n")
                members += [(folder, line.split()[0]) for line in lines if line.strip()]
    if members:
        return members
    sets = sorted({p.stem for y in years for p in (y / "ImageSets" / "Main").glob("*.txt")})
    if not sets and years:  # no ImageSets at all: every annotated picture
        return [(y, p.stem) for y in years for p in sorted((y / "Annotations").glob("*.xml"))]
    raise DataError(f"open_dataset: {where}: split must be one of {', '.join(sets[:20])}, got {split!r}")


def _class_names(where: Path, read: Mapping[Path, _Annotation]) -> tuple[str, ...]:
    """Return VOC's 20 names where they are enough, else all names of all files, sorted: splits agree."""
    found: set[str] = set()
    for year in _years(where):
        for file in (year / "Annotations").glob("*.xml"):
            content = read.get(file) or _read(file)
            found |= {(thing.findtext("name") or "").strip() for thing in content.objects}
    found.discard("")
    return VOC20 if found <= set(VOC20) else tuple(sorted(found))
