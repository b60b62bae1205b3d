"""Names of sources that try to leave the folder of results, and lists of images that name what they like."""

import os
import random
import warnings

import cv2
import numpy as np
import pytest

from tests.strategies import scaled
from yolokkn.errors import SinkError, SourceError, SourceWarning
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.uri import file_name_for
from yolokkn.types import Detections, Frame

PICTURE = np.full((4, 6, 3), 90, np.uint8)
PIECES = [
    "..",
    ".",
    "/",
    "\\",
    "//",
    "\\\\",
    "%2f",
    "%2e%2e",
    "%5c",
    "%00",
    "\0",
    "\n",
    "\r",
    "\x1b[2J",
    "\x7f",
    "~",
    "$HOME",
    "C:",
    "c:\\windows",
    "\\\\server\\share",
    "/etc/passwd",
    "/tmp/x",
    "CON",
    "nul",
    "com1",
    "aux",
    "a",
    "b.jpg",
    ".jpg",
    ".mp4",
    " ",
    "  .",
    "...",
    "-",
    "--",
    "*",
    "?",
    "|",
    ":",
    "::$DATA",
    ";rm -rf x",
    "`id`",
    "'",
    '"',
    "<",
    ">",
    "link",
    "deep/link",
    "\u2024\u2024",
    "\uff0e\uff0e",
    "\u2215",
    "\uff0f",
    "\u29f5",
    "\u202egpj",
    "\u200b",
    "\ufeff",
    "e\u0301",
    "\u00e9",
    "\udcff",
    "\ud800",
    "\U0001f600",
    "\u0130",
    "\u00df",
    "x" * 300,
    "\u00e4" * 200,
    "\U0001f600" * 90,
    "",
    "rtsp://u:pw@h/",
    "http://h/?q=/../",
    "file:///",
    "0",
    ".partial",
    ".png.partial",
]


def hostile_names(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    names = [*PIECES, *(f"../{p}" for p in PIECES), *(f"{p}/.." for p in PIECES), *(f"{p}.jpg" for p in PIECES)]
    while len(names) < count:
        names.append(rng.choice(["", "/", "./", "../"]).join(rng.choices(PIECES, k=rng.randrange(1, 6))))
    return names[:count]


def everything_in(folder) -> set[str]:
    return {os.path.join(at, name) for at, folders, files in os.walk(folder) for name in [*folders, *files]}


@pytest.fixture
def walled(tmp_path, monkeypatch):
    """A folder out/ in the middle of files that must stay as they are, with links that lead out of it."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "inner" / "out"
    out.mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    for name in ("secret/a.jpg", "inner/a.jpg", "a.jpg", "inner/x.png"):
        (tmp_path / name).write_bytes(b"mine")
    (out / "link").symlink_to(tmp_path / "secret")
    (out / "deep").symlink_to(tmp_path)
    for name in ("b.png", "a.png", "a_000000.png", "_.png.partial", "linked.png"):
        (out / name).symlink_to(tmp_path / "secret" / "a.jpg")
    return tmp_path


def test_two_thousand_names_stay_in_the_folder(walled):
    out = walled / "inner" / "out"
    before = {path for path in everything_in(walled) if not path.startswith(str(out))}
    linked = {name for name in os.listdir(out)}
    refused = 0
    with open_sink(f"{out}/*.png") as sink:
        for i, name in enumerate(hostile_names(26, scaled(2000))):
            one = Frame(PICTURE, i, i / 25, 0.0, name)
            try:
                sink.write(one, Detections.empty())
            except SinkError as error:  # a link lies there already
                assert "exists already" in str(error) and "\n" not in str(error)
                refused += 1
                sink._failure = None
    assert {path for path in everything_in(walled) if not path.startswith(str(out))} == before
    assert {(walled / name).read_bytes() for name in ("secret/a.jpg", "inner/a.jpg", "a.jpg", "inner/x.png")} == {
        b"mine"
    }
    written = set(os.listdir(out)) - linked
    assert 0 < refused < 20 and len(written) == len(sink.paths) == scaled(2000) - refused
    for name in written:
        path = out / name
        assert path.is_file() and not path.is_symlink() and path.parent == out
        assert name.endswith(".png") and len(name.encode()) < 256 and not name.startswith("."), name
        assert not set(name) & set('\0\n\r\x1b\x7f<>:"/\\|?*%'), name


def test_names_are_cut_and_cleaned_to_the_end():
    assert file_name_for("a\udcffb.jpg", "frame") == "a_b"
    assert file_name_for("x" * 179 + ". y.jpg", "frame") == "x" * 179


def test_overwriting_replaces_links_and_follows_none(walled):
    out = walled / "inner" / "out"
    with open_sink(f"{out}/*.png", overwrite=True) as sink:
        for i, name in enumerate(["a.jpg", "b.jpg", "linked.jpg", "a"]):
            sink.write(Frame(PICTURE, 0, i / 25, 0.0, name), Detections.empty())
    assert (walled / "secret" / "a.jpg").read_bytes() == b"mine"
    assert not any((out / name).is_symlink() for name in ("a.png", "b.png", "linked.png"))


def test_lists_of_hostile_names_give_images_or_one_line(walled):
    cv2.imwrite(str(walled / "inner" / "good.png"), PICTURE)
    names = hostile_names(27, scaled(2000))
    for start in range(0, len(names), 20):
        lines = names[start : start + 20]
        text = "\n".join(["good.png", *lines, "good.png"])
        (walled / "inner" / "list.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
        before = everything_in(walled)
        try:
            with warnings.catch_warnings(), open_source(walled / "inner" / "list.txt") as source:
                warnings.simplefilter("ignore", SourceWarning)
                frames = list(source)
        except SourceError as error:
            assert "\n" not in str(error) and "\x1b" not in str(error)
        else:
            assert [f.source for f in (frames[0], frames[-1])] == [str(walled / "inner" / "good.png")] * 2
        assert everything_in(walled) == before


def test_every_single_line_of_a_list_is_an_image_or_an_error(walled):
    for name in hostile_names(28, scaled(500)):
        (walled / "list.txt").write_bytes(f"{name}.jpg".encode("utf-8", "surrogatepass"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SourceWarning)
            try:
                with open_source(walled / "list.txt") as source:
                    for frame in source:
                        assert frame.image.ndim == 3
            except SourceError as error:
                assert "\n" not in str(error), name
