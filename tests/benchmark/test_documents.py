"""The figures of README.md and BENCHMARKS.md are those of the committed results, and one command makes them anew."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if not (ROOT / "benchmarks" / "peers").is_dir():
    pytest.skip("the benchmarks are not beside the tests", allow_module_level=True)

from benchmarks import documents, reproduce  # noqa: E402

RESULTS = sorted(path.stem for path in documents.RESULTS.glob("*.json"))


@pytest.fixture(autouse=True)
def fresh():
    documents.measured.cache_clear()
    documents.figures.cache_clear()
    yield
    documents.measured.cache_clear()
    documents.figures.cache_clear()


@pytest.mark.parametrize("path", documents.DOCUMENTS, ids=lambda path: path.name)
def test_every_block_says_what_the_results_say(path):
    text = path.read_text(encoding="utf-8")
    begun, ended = text.count("<!-- measured: "), text.count("<!-- /measured -->")
    assert begun == ended == len(documents._BLOCK.findall(text)) > 0
    assert documents.filled(text) == text, "run python benchmarks/documents.py"


def test_every_block_is_shown_somewhere():
    shown = "".join(path.read_text(encoding="utf-8") for path in documents.DOCUMENTS)
    assert {name for _, name, _ in documents._BLOCK.findall(shown)} == set(documents.BLOCKS)


def test_another_figure_is_another_text(tmp_path, monkeypatch):
    for name in RESULTS:
        (tmp_path / f"{name}.json").write_bytes((documents.RESULTS / f"{name}.json").read_bytes())
    models = json.loads((tmp_path / "models.json").read_text())
    models["runs"]["person-vehicle 384"]["figures"]["AP50"] = 0.987
    (tmp_path / "models.json").write_text(json.dumps(models))
    monkeypatch.setattr(documents, "RESULTS", tmp_path)
    assert "persons AP50 0.987" in documents.models()
    with pytest.raises(KeyError, match="no_such_block"):
        documents.filled("<!-- measured: no_such_block -->\n\n<!-- /measured -->")


@pytest.mark.parametrize("name", RESULTS)
def test_results_tell_machine_and_commit_and_no_folders(name):
    text = (documents.RESULTS / f"{name}.json").read_text()
    machine = json.loads(text)["machine"]
    assert machine["cpu"] and machine["cores"] and re.fullmatch(r"[0-9a-f]{9,40}.*", machine["commit"])
    assert not re.findall(r'"(?:/home|/root|/work|/tmp)/[^"]*"', text)


def test_one_command_writes_every_result(monkeypatch, tmp_path):
    """What the steps would write, without running anything, is what lies there."""
    written = set()
    monkeypatch.setattr(reproduce, "run", lambda *command, capture=False: note(command))
    monkeypatch.setattr(reproduce, "figures_of", lambda place, *arguments: {})
    monkeypatch.setattr(reproduce, "keep", lambda name, runs: written.add(name))

    def note(command):
        words = [str(word) for word in command]
        for option, value in itertools.pairwise(words):
            if option == "--save" and Path(value).parent == documents.RESULTS:
                written.add(Path(value).stem)
            if option == "--stats":
                Path(value).write_text("{}")
        return "".join(f"{Path(word).name}, 1 x 1\n" for word in words if word.endswith(".jpg"))

    for folder in ("pets09/PETS09-S2L1/gt", "coco/val2017"):
        (tmp_path / folder).mkdir(parents=True)
    for index in range(20):
        (tmp_path / "coco/val2017" / f"{index}.jpg").touch()
    for step in reproduce.STEPS.values():
        (tmp_path / "scratch").mkdir(exist_ok=True)
        step(reproduce.Place(tmp_path, tmp_path / "scratch"))
    assert written == set(RESULTS)
