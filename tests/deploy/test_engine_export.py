"""Engine files of every network of the project, built ahead of time from scratch on the CPU."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.deploy.networks import CASES, HW, fitted, save
from tests.models.conftest import TINY, tiny
from yolokkn.cli import main
from yolokkn.deploy import build_onnx, quantize_int8
from yolokkn.deploy.engine_export import calibrate_on, check_precision, export_engine, refuse_cpu_int8
from yolokkn.errors import ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.runtime.engine_build import EngineOptions
from yolokkn.runtime.engine_cache import EngineCache
from yolokkn.runtime.engine_manifest import EngineRefusedError, manifest_path, open_engine

ROOT = Path(__file__).parents[2]
AHEAD = EngineOptions(capabilities=("SM86", "SM89"))


@pytest.fixture(autouse=True)
def library():
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    return EngineCache(tmp_path / "cache")


@cache
def exported(name: str, task: str, **options) -> bytes:
    return build_onnx(fitted(name, task), verify=False, **options)[0]


@cache
def untrained(name: str) -> bytes:
    """A family's structure, narrow, as detection."""
    return build_onnx(tiny(name, num_classes=2).eval(), imgsz=HW, verify=False)[0]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("family", list(TINY))
def test_every_family_in_every_precision(family, precision, own_cache, tmp_path, photos):
    content, path = untrained(family), tmp_path / "a.engine"
    calibration = calibrate_on(content, photos) if precision == "int8" else None
    options = {
        "name": "a.onnx",
        "precision": precision,
        "options": AHEAD,
        "calibration": calibration,
        "cache": own_cache,
    }
    assert not export_engine(content, path, **options).is_hit
    assert open_engine(path).manifest.request.precision == precision
    assert export_engine(content, path, overwrite=True, **options).is_hit


@pytest.mark.parametrize(
    ("case", "precision"),
    [*((case, "fp16") for case in CASES), (CASES[-1], "fp32")],
    ids=lambda v: "-".join(v) if len(v) == 2 else v,
)
def test_every_network_becomes_an_engine(case, precision, own_cache, tmp_path):
    content = exported(*case)
    path = tmp_path / "a.engine"
    report = export_engine(content, path, name="a.onnx", precision=precision, options=AHEAD, cache=own_cache)
    engine = open_engine(path)
    assert engine.manifest == report.manifest and not report.is_hit
    assert engine.manifest.metadata == parse_model(content).metadata
    assert json.loads(engine.manifest.metadata["names"]) == ["person", "car"]
    assert engine.manifest.request.precision == precision
    assert engine.manifest.request.capabilities == ("SM86", "SM89")
    assert (report.graph == content) == (precision == "fp32")
    again = export_engine(
        content, path, name="a.onnx", precision=precision, options=AHEAD, cache=own_cache, overwrite=True
    )
    assert again.is_hit and again.graph == b"" and "found in the cache" in again.text()
    assert open_engine(path).content == engine.content


def test_half_is_smaller_than_whole(own_cache, tmp_path):
    sizes = []
    for precision in ("fp32", "fp16"):
        path = tmp_path / f"{precision}.engine"
        export_engine(
            exported("yolovkkn-n", "detect"), path, name="a.onnx", precision=precision, options=AHEAD, cache=own_cache
        )
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.8 * sizes[0]


def test_free_sizes_become_profiles(own_cache, tmp_path):
    content = exported("yolovkkn2-p", "detect", batch=None, dynamic_hw=True)
    report = export_engine(
        content, tmp_path / "a.engine", name="a.onnx", batch=(1, 4, 8), imgsz=((64, 64), HW, (128, 128)),
        options=AHEAD, cache=own_cache, precision="fp32",
    )  # fmt: skip
    assert report.manifest.request.profiles == {"images": ((1, 3, 64, 64), (4, 3, *HW), (8, 3, 128, 128))}
    assert "sizes: images 1x3x64x64:4x3x96x128:8x3x128x128" in report.text()
    other = export_engine(
        content, tmp_path / "b.engine", name="a.onnx", options=AHEAD, cache=own_cache, precision="fp32"
    )
    assert other.reason.startswith(
        "the sizes were images 1x3x64x64:4x3x96x128:8x3x128x128, now images 1x3x32x32:1x3x96x128:"
    )


def test_what_is_not_written(own_cache, tmp_path):
    content, path = exported("yolovkkn2-p", "detect"), tmp_path / "a.engine"
    options = {"name": "a.onnx", "options": AHEAD, "cache": own_cache}
    with pytest.raises(ValueError, match=r"path must end in \.engine, got a\.plan"):
        export_engine(content, tmp_path / "a.plan", **options)
    with pytest.raises(ValueError, match="int8 must be calibrated on real pictures, got none; give --images FOLDER"):
        export_engine(content, path, precision="int8", **options)
    with pytest.raises(ValueError, match="must be one of fp32, fp16, int8, got 'fp8'"):
        export_engine(content, path, precision="fp8", **options)
    manifest_path(path).write_text("mine")
    with pytest.raises(FileExistsError, match=r"a\.engine\.json: exists already"):
        export_engine(content, path, **options)
    assert manifest_path(path).read_text() == "mine" and not path.exists()
    assert not (tmp_path / "cache").exists()  # refused before anything was built


def test_a_graph_that_has_its_precision_already():
    from yolokkn.deploy import to_half

    half = parse_model(to_half(exported("yolovkkn2-p", "detect")), "half.onnx")
    assert check_precision(half, "fp16", None) is False
    with pytest.raises(ValueError, match=r"half\.onnx computes in fp16 already, got fp32; say fp16"):
        check_precision(half, "fp32", None)


def test_real_weights(shared_data, own_cache, tmp_path, photos):
    model = read_model(shared_data / "weights" / "yolox" / "yolox_nano.onnx")
    for precision, most_mb in (("fp32", 7), ("fp16", 5), ("int8", 20)):  # int8 keeps kernels for two GPUs
        path = tmp_path / f"{precision}.engine"
        calibration = calibrate_on(model.to_bytes(), photos) if precision == "int8" else None
        export_engine(
            model.to_bytes(), path, name="yolox_nano.onnx", precision=precision, options=AHEAD, cache=own_cache,
            calibration=calibration,
        )  # fmt: skip
        assert 1e6 < path.stat().st_size < most_mb * 1e6
        assert "Exp" not in open_engine(path).manifest.op_types  # what tells YOLOX's layouts apart goes along


@pytest.fixture
def photos(tmp_path):
    """A folder of pictures that are noise: enough to calibrate, not to be accurate."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        picture = np.random.default_rng(index).integers(0, 255, (90, 120, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), picture)
    return folder


def test_int8_is_calibrated_and_its_pictures_are_part_of_the_key(own_cache, tmp_path, photos):
    content = exported("yolovkkn2-p", "detect")
    options = {"name": "a.onnx", "precision": "int8", "options": AHEAD, "cache": own_cache, "overwrite": True}
    path = tmp_path / "a.engine"
    report = export_engine(content, path, calibration=calibrate_on(content, photos), **options)
    assert "QuantizeLinear" in open_engine(path).manifest.op_types and not report.is_hit
    assert export_engine(content, path, calibration=calibrate_on(content, photos), **options).is_hit
    (photos / "0.png").unlink()
    report = export_engine(content, path, calibration=calibrate_on(content, photos), **options)
    assert not report.is_hit and report.reason == "the calibration's pictures changed"


def test_an_int8_engine_says_its_calibration_its_layers_and_its_size(own_cache, tmp_path, photos, capsys):
    (tmp_path / "net.onnx").write_bytes(exported("yolovkkn2-p", "detect"))
    words = (
        "--format",
        "engine",
        "--precision",
        "int8",
        "--images",
        photos,
        "--save",
        tmp_path / "net.engine",
        "--quiet",
    )
    code, out, err = run(capsys, tmp_path / "net.onnx", *words)
    num_images = len(list(photos.iterdir()))
    assert code == 0 and f"calibrated on {num_images} pictures" in out and "pictures are few to calibrate on" in err
    assert re.search(r"\d+ layers in int8, \d+ left in float32\n  \d+: a last layer before the outputs: ", out)
    sizes = re.search(r"([\d.]+) MB \(the ONNX file: ([\d.]+) MB\)(; it is LARGER)?", out)
    assert (float(sizes[1]) > float(sizes[2])) == bool(sizes[3])


def test_int8_for_cpus_is_refused_with_the_way_out(own_cache, tmp_path, photos):
    content = exported("yolovkkn2-p", "detect")
    feeds = list(calibrate_on(content, photos).feeds())
    with pytest.raises(
        ModelError, match=r"is quantised for CPUs .* quantize with --target tensorrt, or give the float32"
    ):
        export_engine(
            quantize_int8(content, feeds, target="cpu"), tmp_path / "a.engine", name="a.onnx", precision="int8",
            cache=own_cache,
        )  # fmt: skip
    refuse_cpu_int8(parse_model(quantize_int8(content, feeds, target="tensorrt")))


def test_calibration_runs_at_the_size_of_the_engine(photos):
    content = exported("yolovkkn2-p", "detect", dynamic_hw=True)
    own, small = calibrate_on(content, photos), calibrate_on(content, photos, imgsz=(64, 64))
    assert {feed["images"].shape[2:] for feed in own.feeds()} == {HW}
    assert all(max(feed["images"].shape[2:]) == 64 for feed in small.feeds())
    assert own.sha256 != small.sha256


def test_another_way_of_turning_the_graph_is_another_engine(own_cache, tmp_path, monkeypatch):
    content, path = exported("yolovkkn2-p", "detect"), tmp_path / "a.engine"
    options = {"name": "a.onnx", "options": AHEAD, "cache": own_cache, "overwrite": True}
    export_engine(content, path, precision="fp16", **options)
    monkeypatch.setattr("yolokkn.deploy.engine_export.TURNED_BY", "to_half 2")
    assert not export_engine(content, path, precision="fp16", **options).is_hit


def run(capsys, *words):
    code = main(["export", *map(str, words)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_the_command_from_a_checkpoint(own_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # where the engine goes
    save(fitted("yolovkkn2-p", "detect"), tmp_path / "best.safetensors")
    words = (
        "--model",
        tmp_path / "best.safetensors",
        "--format",
        "engine",
        "--batch",
        "1:2:4",
        "--compute-capability",
        "8.6",
    )
    code, out, err = run(capsys, *words)
    assert code == 0 and "best.engine: " in out and "fp16, by tensorrt_rtx" in out and "for SM86" in out
    assert "sizes: images 1x3x96x128:2x3x96x128:4x3x96x128" in out
    assert "building an engine: there is none of this model yet" in err and "largest difference" in err
    assert open_engine(tmp_path / "best.engine").manifest.name == "best.safetensors"
    code, _, err = run(capsys, *words)
    assert code == 1 and "best.engine: exists already; give another name, or --overwrite" in err
    code, out, err = run(capsys, *words, "--overwrite", "--quiet")
    assert code == 0 and "found in the cache" in out and err == ""
    assert main(["info", str(tmp_path / "best.engine")]) == 0
    said = capsys.readouterr().out
    assert "whole: every byte is as its manifest says" in said and "person, car" in said and "SM86" in said


def test_the_script(own_cache, tmp_path):
    (tmp_path / "a.onnx").write_bytes(exported("yolovkkn2-p", "detect", batch=None))
    done = subprocess.run(
        [sys.executable, "export/build_engine.py", "--model", tmp_path / "a.onnx", "--precision", "fp16",
         "--batch", "1:4:8", "--out", tmp_path / "X.engine", "--library", "tensorrt_rtx"],
        cwd=ROOT, capture_output=True, text=True, env={**__import__("os").environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1x3x96x128:4x3x96x128:8x3x96x128" in done.stdout
    assert open_engine(tmp_path / "X.engine").manifest.request.capabilities == ()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--precision", "int8"], 2, "int8 must be calibrated"),
        (["--batch", "1:4"], 2, "must be one number or least:best:largest, got '1:4'"),
        (["--batch", "4:2:8"], 2, "must be least:best:largest"),
        (["--batch", "free"], 2, "--batch must be one number or least:best:largest for engines"),
        (["--compute-capability", "SM90"], 2, "offers SM75"),
        (["--compute-capability", "ampere"], 2, "must be compute capabilities such as SM86,SM89, got 'ampere'"),
        (["--optimization-level", "7"], 2, "optimization_level must be 0 to 5, got 7"),
        (["--half"], 2, "--half is for --format onnx"),
        (["--dynamic"], 2, "--dynamic is for checkpoints"),
        (["--save", "x.plan"], 2, r"--save must end in .engine"),
    ],
)
def test_wrong_usage(words, code, said, own_cache, tmp_path, capsys):
    (tmp_path / "a.onnx").write_bytes(exported("yolovkkn2-p", "detect"))
    got, _, err = run(capsys, "--model", tmp_path / "a.onnx", "--format", "engine", *words)
    assert got == code and said in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("*.engine"))


def test_engine_options_are_refused_for_onnx(tmp_path, capsys):
    for words in (["--precision", "fp16"], ["--batch", "1:2:4"], ["--imgsz", "64:96:128"], ["--tf32"]):
        code, _, err = run(capsys, "--model", "best.safetensors", *words)
        assert code == 2 and "is for --format engine" in err


def test_a_file_that_is_no_model(own_cache, tmp_path, capsys):
    (tmp_path / "a.onnx").write_bytes(b"nothing")
    code, _, err = run(capsys, tmp_path / "a.onnx", "--format", "engine")
    assert code == 1 and "must hold an ONNX model" in err
    with pytest.raises(EngineRefusedError):
        (tmp_path / "b.engine").write_bytes(b"nothing")
        open_engine(tmp_path / "b.engine")
    with pytest.raises(ModelError):
        open_engine(tmp_path)


def test_engine_metadata_survives_as_text(own_cache, tmp_path):
    path = tmp_path / "a.engine"
    export_engine(exported("yolovkkn2-p", "segment-pose"), path, name="a.onnx", options=AHEAD, cache=own_cache)
    raw = path.read_bytes()
    header = json.loads(raw[4 : 4 + int.from_bytes(raw[:4], "little")])
    assert header == dict(open_engine(path).manifest.metadata) and {"layout", "names", "stride"} <= set(header)
    assert np.frombuffer(raw[-16:], np.uint8).size == 16
