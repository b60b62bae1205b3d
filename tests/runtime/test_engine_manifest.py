"""An engine is refused unless every byte of it and of its manifest is what was written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.runtime.engines import request, sealed
from tests.strategies import scaled
from yolokkn.runtime.engine_cache import read_manifest, store
from yolokkn.runtime.engine_manifest import (
    EngineRefusedError,
    manifest_path,
    open_engine,
    parse_manifest,
    seal,
    split_header,
    verify,
)


def test_what_is_sealed_is_read_back(tmp_path):
    engine = sealed(request())
    store(engine, tmp_path / "a.engine")
    found = open_engine(tmp_path / "a.engine")
    assert found.manifest == engine.manifest == read_manifest(tmp_path / "a.engine")
    assert bytes(found.plan) == bytes(engine.plan) == b"ptrt" + bytes(range(256)) * 4
    assert found.manifest.metadata["names"] == '["café", "car"]'
    assert manifest_path(tmp_path / "a.engine").name == "a.engine.json"


@pytest.mark.parametrize("num_names", range(0, 70, 3))
def test_plans_begin_where_libraries_want_them(num_names, tmp_path):
    metadata = {"names": json.dumps(["x"] * num_names)}
    engine = seal(
        b"ptrt" + bytes(num_names), request(), name="a", graph_sha256="", metadata=metadata, op_types=(), build_s=0.0,
        created="",
    )  # fmt: skip
    store(engine, tmp_path / "a.engine")
    raw = (tmp_path / "a.engine").read_bytes()
    assert raw.find(b"ptrt") % 64 == 0 and json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")]) == metadata
    for one in (engine, open_engine(tmp_path / "a.engine")):
        assert np.frombuffer(one.plan, np.uint8).ctypes.data % 64 == 0 and one.plan.readonly
        assert bytes(one.plan) == b"ptrt" + bytes(num_names) and one.content == raw


def test_5000_flips_are_refused():
    """Any byte of either file, flipped in any way; none of it has reached a library."""
    engine = sealed(request())
    content, manifest = bytes(engine.content), engine.manifest.to_bytes()
    assert verify(content, manifest, "a")
    rng = np.random.default_rng(0)
    places = rng.integers(0, len(content) + len(manifest), scaled(5000))
    for place, bits in zip(places.tolist(), rng.integers(1, 256, len(places)).tolist(), strict=True):
        both = bytearray(content + manifest)
        both[place] ^= bits
        with pytest.raises(EngineRefusedError):
            verify(bytes(both[: len(content)]), bytes(both[len(content) :]), "a")


def test_every_cut_and_every_addition_is_refused():
    engine = sealed(request())
    content, manifest = bytes(engine.content), engine.manifest.to_bytes()
    for length in range(0, len(content), 7):
        with pytest.raises(EngineRefusedError):
            verify(content[:length], manifest, "a")
    for length in range(0, len(manifest), 7):
        with pytest.raises(EngineRefusedError):
            verify(content, manifest[:length], "a")
    for changed in (content + b"\0", b"\0" + content):
        with pytest.raises(EngineRefusedError):
            verify(changed, manifest, "a")
    for changed in (manifest + b" ", b" " + manifest, manifest.replace(b": ", b":")):
        with pytest.raises(EngineRefusedError, match="its manifest is damaged"):
            verify(content, changed, "a")


def test_another_engines_manifest_is_refused():
    one, other = sealed(request()), sealed(request(precision="fp16"), plan=b"ptrt" + b"\1" * 1024)
    with pytest.raises(EngineRefusedError, match="is not the engine of its manifest"):
        verify(one.content, other.manifest.to_bytes(), "a")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", "1", '{"format": 1}', "[" * 100_000, '{"format": 2}', '{"format": 1, "request": []}', "é"],
)
def test_what_is_no_manifest(text):
    with pytest.raises(EngineRefusedError, match="its manifest is"):
        parse_manifest(text.encode(), "a")


def test_a_manifest_of_the_wrong_kinds_is_refused():
    values = json.loads(sealed(request()).manifest.to_bytes())
    for path, wrong in (("request", 1), ("op_types", 3), ("metadata", [1]), ("file_bytes", "x")):
        with pytest.raises(EngineRefusedError):
            parse_manifest(json.dumps({**values, path: wrong}, sort_keys=True, indent=1).encode() + b"\n", "a")
    for key in values["request"]:
        changed = {**values, "request": {**values["request"], key: None}}
        with pytest.raises(EngineRefusedError):
            parse_manifest(json.dumps(changed, sort_keys=True, indent=1).encode() + b"\n", "a")


def test_foreign_engines_are_refused_and_said_whose_they_are(tmp_path):
    header = json.dumps({"author": "Ultralytics", "stride": 32, "names": {"0": "person"}}).encode()
    path = tmp_path / "yolo.engine"
    path.write_bytes(len(header).to_bytes(4, "little") + header + b"ftrt" + bytes(100))
    with pytest.raises(
        EngineRefusedError, match=r"is an engine of Ultralytics, and has no manifest yolo\.engine\.json"
    ):
        open_engine(path)
    found, plan = split_header(path.read_bytes())
    assert found["stride"] == 32 and bytes(plan[:4]) == b"ftrt"
    path.write_bytes(b"ftrt" + bytes(100))
    with pytest.raises(EngineRefusedError, match="was not written by yolokkn, and has no manifest"):
        open_engine(path)
    assert split_header(path.read_bytes())[0] is None
    for odd in (b"", b"\x02\0\0\0[]", b"\xff\xff\xff\x7f{}", b"\x05\0\0\0{nope", b"\x02\0\0\0{}"):
        assert split_header(odd)[0] in (None, {})


def test_what_has_changed_is_said_in_words():
    def said(**changes):
        return request(**changes).changes_since(request())

    assert said() == []
    assert said(library_version="1.7.1") == ["TensorRT-RTX 1.7.0 -> 1.7.1"]
    assert said(library="tensorrt", library_version="11.4") == ["TensorRT-RTX 1.7.0 -> TensorRT 11.4"]
    assert said(model_sha256="ef" * 32) == ["the model changed"]
    assert said(capabilities=("SM86", "SM89")) == ["it was for SM86, now for SM86, SM89"]
    assert said(gpu="NVIDIA T4 (SM75)", capabilities=()) == ["it was for SM86, now for NVIDIA T4 (SM75)"]
    assert said(precision="fp16") == ["the precision was fp32, now fp16"]
    assert said(calibration_sha256="12") == ["the calibration's pictures changed"]
    assert said(flags={"tf32": True, "workspace_mb": None}) == ["tf32 was off, now on"]
    assert said(flags={"tf32": False, "workspace_mb": 64}) == ["workspace was the library's own, now 64 MB"]
    assert said(producer="1.1") == ["yolokkn was 1.0, now 1.1"]
    assert said(producer="1.0 to_half 2") == ["what writes the precision into the graph is newer"]
    assert said(precision="fp16", producer="1.0 to_half 1") == ["the precision was fp32, now fp16"]
    assert request(capabilities=()).target == "SM80, SM86, SM89, SM120 and later (the library's default)"
    sizes = said(profiles={"images": ((1, 3, 64, 64),) * 3})
    assert sizes == ["the sizes were images 1x3x64x64:4x3x64x64:8x3x64x64, now images 1x3x64x64:1x3x64x64:1x3x64x64"]


def test_each_part_of_a_request_is_in_its_key():
    keys = {request().key}
    for changes in (
        {"model_sha256": "0"}, {"library": "tensorrt"}, {"library_version": "2"}, {"gpu": "x"}, {"capabilities": ()},
        {"precision": "int8"}, {"calibration_sha256": "1"}, {"profiles": {}}, {"flags": {}}, {"producer": "2"},
    ):  # fmt: skip
        keys.add(request(**changes).key)
    assert len(keys) == 11
