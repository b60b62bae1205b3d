"""`yolokkn doctor` of engines that really run."""

from __future__ import annotations

import pytest

from yolokkn.cli import main
from yolokkn.deploy.engine_export import export_engine
from yolokkn.graph import read_model
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.engine_cache import EngineCache


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["person-vehicle", "person-segment"])
def test_an_engine_agrees_with_the_file_it_was_made_of(name, precision, library, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    content, path = read_model(resolve_model(name)).to_bytes(), tmp_path / "a.engine"
    export_engine(content, path, name=name, library=library.name, precision=precision, cache=EngineCache())
    assert main(["doctor", str(path), "--reference", name, "--conf", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "what it was made of" in out and "tensorrt agrees with" in out
