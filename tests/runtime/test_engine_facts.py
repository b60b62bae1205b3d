"""What is known of an engine without running it: whole, altered, foreign."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.runtime.engines import request, sealed
from yolokkn.errors import ModelError
from yolokkn.runtime.engine_cache import store
from yolokkn.runtime.engine_facts import engine_facts
from yolokkn.runtime.engine_manifest import manifest_path

PLAN = b"ftrt" + bytes(64)


def foreign(path, **header):
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(4, "little") + text + PLAN)
    return path


def test_a_whole_one(tmp_path):
    path = tmp_path / "a.engine"
    store(sealed(request(precision="int8", model_sha256=hashlib.sha256(b"model").hexdigest())), path)
    found = engine_facts(path)
    assert found.problem is None and not found.is_foreign and found.num_bytes == path.stat().st_size
    assert (found.precision, found.precision_reason) == ("int8", "its manifest says so")
    assert found.model_facts().class_names == ("café", "car") and found.model_facts().stride == 32
    assert found.made_of(b"another", b"model") is True and found.made_of(b"another") is False


def test_tf32_is_held_to_float16s_tolerances(tmp_path):
    store(sealed(request(flags={"tf32": True, "workspace_mb": None})), tmp_path / "a.engine")
    found = engine_facts(tmp_path / "a.engine")
    assert (found.stated, found.precision) == ("fp32", "fp16") and "TF32" in found.precision_reason


@pytest.mark.parametrize("which", ["plan", "manifest"])
def test_an_altered_one_tells_what_is_still_known(which, tmp_path):
    path = tmp_path / "a.engine"
    store(sealed(request()), path)
    target = path if which == "plan" else manifest_path(path)
    data = bytearray(target.read_bytes())
    data[-5] ^= 4
    target.write_bytes(data)
    found = engine_facts(path)
    assert found.problem is not None and not found.is_foreign
    assert (found.manifest is not None) == (which == "plan")
    assert found.model_facts().class_names == ("café", "car")  # by the manifest, or by the file's own header


@pytest.mark.parametrize(
    ("args", "stated", "precision", "said"),
    [
        ({"batch": 1, "half": True, "int8": False}, "fp16", "fp16", "its header says so"),
        ({"half": False, "int8": True}, "int8", "int8", "its header says so"),
        ({"half": False}, "fp32", "fp16", "it may use TF32"),
        (None, "", "fp16", "its file does not tell it"),
        ("[[[[", "", "fp16", "its file does not tell it"),
    ],
)
def test_ultralytics_header_is_read(args, stated, precision, said, tmp_path):
    header = {"author": "Ultralytics", "task": "detect", "stride": 32, "imgsz": [640, 640], "names": {"0": "person"}}
    path = foreign(tmp_path / "a.engine", **header, **({} if args is None else {"args": args}))
    found = engine_facts(path)
    facts = found.model_facts()
    assert found.is_foreign and found.manifest is None and found.made_of(b"") is None
    assert (facts.producer, facts.task, facts.input_hw, facts.class_names) == (
        "Ultralytics",
        "detect",
        (640, 640),
        ("person",),
    )
    assert (found.stated, found.precision) == (stated, precision) and said in found.precision_reason
    assert found.plan_sha256 == hashlib.sha256(PLAN).hexdigest()


def test_nonsense_is_described_all_the_same(tmp_path):
    found = engine_facts(foreign(tmp_path / "a.engine", names="[1", imgsz="none", stride="-3"))
    assert found.is_foreign and found.model_facts().class_names is None
    for content in (b"", b"ftrt", b"\xff" * 100):
        (tmp_path / "b.engine").write_bytes(content)
        assert engine_facts(tmp_path / "b.engine").is_foreign
    with pytest.raises(FileNotFoundError, match=r"model: no such file: .*none\.engine"):
        engine_facts(tmp_path / "none.engine")
    (tmp_path / "folder.engine").mkdir()
    with pytest.raises(ModelError, match="is a folder, not an engine"):
        engine_facts(tmp_path / "folder.engine")
