"""Engines built for real, ahead of time, by TensorRT-RTX on this machine's CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.engines import convolution
from yolokkn.errors import MissingDependencyError, ModelError
from yolokkn.graph import GraphBuilder, parse_model, read_model
from yolokkn.graph.onnx_rewrite import store_half
from yolokkn.runtime import engine_build
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.engine_build import EngineOptions, build_engine, build_plan, make_request
from yolokkn.runtime.engine_library import find_library
from yolokkn.runtime.engine_manifest import verify
from yolokkn.runtime.engine_profiles import engine_profiles
from yolokkn.runtime.interrupts import deferred_interrupt

ROOT = Path(__file__).parents[2]
AHEAD = EngineOptions(capabilities=("SM86", "SM89"))


@pytest.fixture
def ctrl_c():
    """Python's own handler, here and in child processes: who starts tests in the background may have Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def library():
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    return find_library("tensorrt_rtx")


def test_an_engine_is_built_and_says_what_it_is(library):
    content = convolution()
    request = make_request(content, library, AHEAD, profiles={}, precision="fp32")
    phases = []
    engine, learned = build_engine(
        content, request, library, AHEAD, name="small.onnx", on_progress=lambda *step: phases.append(step)
    )
    assert learned == b""  # TensorRT-RTX times nothing while it builds
    found = verify(engine.content, engine.manifest.to_bytes(), "small.engine")
    assert found.manifest.request == request and found.manifest.name == "small.onnx"
    assert request.capabilities == ("SM86", "SM89") and request.library_version == library.version
    assert found.manifest.metadata == {"names": '["person"]', "stride": "32", "imgsz": "[64, 64]"}
    assert set(found.manifest.op_types) == {"Conv", "Relu"}
    assert len(found.plan) > 1000
    assert len(phases) > 5 and all(0 <= done <= total for _, done, total in phases)


def test_plans_differ_by_gpu_and_not_by_run(library):
    one = build_plan(convolution(), {}, library, EngineOptions(capabilities=("SM86",))).plan
    both = build_plan(convolution(), {}, library, AHEAD).plan
    assert len(one) != len(both) or one != both


def test_free_sizes_take_a_profile(library):
    model = parse_model(convolution("batch", "side"))
    profiles = engine_profiles(model, batch=(1, 4, 8))
    assert profiles == {"images": ((1, 3, 32, 32), (4, 3, 64, 64), (8, 3, 64, 64))}
    assert build_plan(model.to_bytes(), profiles, library, AHEAD).plan
    sized = engine_profiles(model, imgsz=((64, 64), (96, 128), (128, 128)))
    assert sized == {"images": ((1, 3, 64, 64), (1, 3, 96, 128), (1, 3, 128, 128))}
    large = engine_profiles(model, largest=(128, 96))
    assert large == {"images": ((1, 3, 32, 32), (1, 3, 128, 96), (1, 3, 128, 96))}
    assert engine_profiles(parse_model(convolution())) == {}
    assert engine_profiles(parse_model(convolution(4, 64)), batch=(4, 4, 4), imgsz=((64, 64),) * 3) == {}
    with pytest.raises(ModelError, match=r"does not take these sizes: .*MIN<=OPT<=MAX"):
        build_plan(model.to_bytes(), {"images": ((4, 3, 32, 32), (2, 3, 32, 32), (8, 3, 32, 32))}, library, AHEAD)
    with pytest.raises(ModelError, match="no optimization profile has been defined"):
        build_plan(model.to_bytes(), {}, library, AHEAD)


@pytest.mark.parametrize(
    ("batch", "side", "asked", "said"),
    [
        (1, 32, {"batch": (1, 4, 8)}, r"batch: the model takes 1 only, got 4; export it anew"),
        (1, 32, {"imgsz": ((64, 64),) * 3}, r"height: the model takes 32 only, got 64; export it anew"),
        ("b", 32, {"batch": (4, 2, 8)}, r"batch: must be least:best:largest, .* got 4:2:8"),
        ("b", 32, {"batch": (0, 2, 8)}, r"batch: must be least:best:largest, each within 1 and 4096"),
        ("b", "s", {"imgsz": ((64, 64), (32, 64), (64, 64))}, r"imgsz: height: must be .* got 64:32:64"),
        ("b", "s", {"imgsz": ((50, 64),) * 3}, r"imgsz: must be multiples of the model's stride 32, got 50"),
    ],
)
def test_sizes_that_do_not_fit(batch, side, asked, said):
    with pytest.raises(ValueError, match=said):
        engine_profiles(parse_model(convolution(batch, side)), **asked)


@pytest.mark.parametrize(("op", "said"), [("Det", "no operator Det"), ("FancyYolo", "no operator FancyYolo")])
def test_an_operator_that_it_does_not_have(library, op, said):
    with pytest.raises(ModelError) as caught:
        build_plan(convolution(op=op), {}, library, AHEAD, name="fancy.onnx")
    text = str(caught.value)
    assert text.startswith(f"fancy.onnx: TensorRT-RTX {library.version} cannot read node ")
    assert f"({op}): it has {said}; export the model without it" in text and "\n" not in text


def test_a_node_is_named(library):
    builder = GraphBuilder("named", opset=17)
    x = builder.input("images", "float32", (1, 3, 8, 8))
    builder.output(builder.node("Det", [x], output="y"), "float32", (1, 3))
    model = parse_model(builder.to_bytes())
    model.graph.node[0].name = "/head/det"
    with pytest.raises(ModelError, match=r"node '/head/det' \(Det\)"):
        build_plan(model.to_bytes(), {}, library, AHEAD)


def test_a_graph_that_does_not_add_up_is_one_line(library):
    builder = GraphBuilder("wrong", opset=17)
    x = builder.input("images", "float32", (1, 3, 8, 8))
    w = builder.initializer("w", np.ones((4, 7, 3, 3), np.float32))  # seven channels for three
    builder.output(builder.node("Conv", [x, w], output="y"), "float32", (1, 4, 6, 6))
    with pytest.raises(ModelError, match="TensorRT-RTX") as caught:
        build_plan(builder.to_bytes(), {}, library, AHEAD)
    assert "\n" not in str(caught.value) and len(str(caught.value)) > 60


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine")])
def test_what_stops_the_progress_stops_the_build(library, error):
    """Ctrl-C while a bar is drawn must not pass through the library's frames, nor get lost."""
    calls = []

    def stop(phase, done, total):
        calls.append(phase)
        if len(calls) == 5:
            raise error

    with pytest.raises(type(error)) as caught:
        build_plan(convolution(), {}, library, AHEAD, on_progress=stop)
    assert caught.value is error and len(calls) == 5


@pytest.mark.parametrize("delays", [(0.0,), (0.1, 0.1), (0.25, 0.1, 0.1)])
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stops_a_real_build(library, tmp_path, delays):
    """Signals at several times: 130, nothing written, and no word of the library's own."""
    words = [
        "person-vehicle",
        "--format",
        "engine",
        "--precision",
        "fp32",
        "--imgsz",
        "32:384:1024",
        "--save",
        "a.engine",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "YOLOKKN_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "yolokkn", "export", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=env) as build:
        assert "building an engine" in build.stderr.readline()
        for delay in delays:
            time.sleep(delay)
            build.send_signal(signal.SIGINT)
        said = build.stderr.read()
    # -2 where a later signal meets Python on its way out; shells call that 130, too
    assert said == "yolokkn export: stopped\n" and build.returncode in (130, -signal.SIGINT)
    assert not [path for path in tmp_path.rglob("*.engine*") if path.suffix != ".lock"]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_held_back_and_then_raised():
    for error in (None, ValueError("mine")):
        with pytest.raises(KeyboardInterrupt), deferred_interrupt() as interrupt:
            signal.raise_signal(signal.SIGINT)
            assert interrupt.came
            if error:
                raise error
    with deferred_interrupt() as interrupt:
        pass
    assert not interrupt.came and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_order_of_gpus_does_not_matter():
    one, other = (EngineOptions(capabilities=given) for given in (("SM120", "SM86"), ("SM86", "SM120")))
    assert one == other and one.capabilities == ("SM86", "SM120")


def test_a_workspace_that_is_too_small_is_said(library):
    content = read_model(resolve_model("person-vehicle")).to_bytes()
    profiles = engine_profiles(parse_model(content))
    with pytest.raises(ModelError, match=r"within --workspace 1 \(MB\): no way of running a layer needs so little"):
        build_plan(content, profiles, library, EngineOptions(workspace_mb=1))


def test_gpus_that_are_not_offered(library):
    with pytest.raises(ValueError, match=r"offers SM75, .*, got 'SM68'"):
        build_plan(convolution(), {}, library, EngineOptions(capabilities=("SM68",)))
    with pytest.raises(ValueError, match=r"capabilities: TensorRT-RTX .* got 'SM90'"):
        build_plan(convolution(), {}, library, EngineOptions(capabilities=("SM90",)))
    with pytest.raises(ValueError, match="must differ, got SM86, SM86"):
        EngineOptions(capabilities=("SM86", "SM86"))


def test_a_library_that_builds_for_the_gpu_that_is_there_alone():
    from types import SimpleNamespace

    from yolokkn.runtime.engine_library import Library

    classic = Library("tensorrt", "11.4.0", SimpleNamespace(), None)
    with pytest.raises(ValueError, match=r"TensorRT 11\.4\.0 builds for the GPU that is there alone, got SM86"):
        engine_build.check_capabilities(classic, ("SM86",))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workspace_mb": 0}, "workspace_mb must be 1 to"),
        ({"optimization_level": 6}, "optimization_level must be 0 to 5, got 6"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        EngineOptions(**options)


def test_the_builders_settings_reach_it(library):
    trt = library.trt
    config = trt.Builder(library.logger).create_builder_config()
    engine_build._configure(trt, config, EngineOptions(("SM75", "SM120"), 64, 1, True))
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
    assert config.builder_optimization_level == 1 and config.get_flag(trt.BuilderFlag.TF32)
    assert [config.get_compute_capability(i) for i in range(config.num_compute_capabilities)] == [
        trt.ComputeCapability.SM75,
        trt.ComputeCapability.SM120,
    ]
    engine_build._configure(trt, config, EngineOptions())
    assert not config.get_flag(trt.BuilderFlag.TF32)


def test_weights_stored_as_half_are_built(library):
    stored = parse_model(convolution())
    store_half(stored)
    assert build_plan(stored.to_bytes(), {}, library, AHEAD).plan


def test_without_a_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"run: pip install 'yolokkn\[engine\]', or pip install tensorrt"):
        find_library()
    with pytest.raises(MissingDependencyError, match="library 'tensorrt': TensorRT must be installed"):
        find_library("tensorrt")
    with pytest.raises(
        ValueError, match=r"must be one of tensorrt, tensorrt_rtx, got 'tensort'; did you mean tensorrt\?"
    ):
        find_library("tensort")


def test_messages_reach_those_who_listen(library):
    with library.messages() as outer:
        with library.messages() as inner:
            library.logger.log(library.trt.ILogger.ERROR, "first")
            library.logger.log(library.trt.ILogger.INFO, "not worth it")
        library.logger.log(library.trt.ILogger.ERROR, "second")
    library.logger.log(library.trt.ILogger.ERROR, "third")
    assert inner == ["first"] and outer == ["first", "second"]


def test_a_node_that_nothing_runs_is_named():
    """What TensorRT-RTX 1.7 says of NonMaxSuppression, which it reads."""
    said = "Internal Error (Assertion !layerImpls.empty() failed. /finish/NMS_323 has no runners that implement it In x.cpp:48)"
    assert engine_build.build_error(["other", said]).startswith(
        "node '/finish/NMS_323': it can read it, but has nothing"
    )
    assert engine_build.build_error(["out of\n memory"]) == "it: out of memory"
    assert engine_build.build_error([]) == "it: the library gives no reason"
