"""The tensorrt backend: what it refuses before TensorRT sees it, and what it does around an engine, on a simulated GPU."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import yolokkn
from tests.runtime.engines import convolution, request, sealed
from tests.runtime.simulated_gpu import Cuda, Engine
from yolokkn.errors import DeviceError, MissingDependencyError, ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.runtime import cuda_device
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.backends import tensorrt as module
from yolokkn.runtime.cuda_device import Gpu
from yolokkn.runtime.engine_build import EngineOptions, build_engine, make_request
from yolokkn.runtime.engine_cache import EngineCache, store
from yolokkn.runtime.engine_library import find_library
from yolokkn.runtime.engine_manifest import EngineRefusedError
from yolokkn.runtime.engine_profiles import engine_profiles

T4, RTX = Gpu(0, "Simulated", "SM75"), Gpu(0, "Simulated", "SM86")


def refuse_all(monkeypatch):
    """Make every way to a library an error: what is refused must be refused before."""

    def fail(*arguments):
        raise AssertionError("the library was reached")

    monkeypatch.setattr(module, "find_library", fail)
    monkeypatch.setattr(module, "find_gpu", fail)


@pytest.mark.parametrize("which", ["plan", "manifest", "none", "foreign"])
def test_what_is_not_whole_never_reaches_the_library(which, monkeypatch, tmp_path):
    refuse_all(monkeypatch)
    path = tmp_path / "a.engine"
    store(sealed(request()), path)
    if which == "none":
        (tmp_path / "a.engine.json").unlink()
    elif which == "foreign":
        header = json.dumps({"author": "Ultralytics", "names": {"0": "person"}}).encode()
        path.write_bytes(len(header).to_bytes(4, "little") + header + b"ftrt" + bytes(64))
    else:
        target = path if which == "plan" else tmp_path / "a.engine.json"
        data = bytearray(target.read_bytes())
        data[-5] ^= 4
        target.write_bytes(data)
    with pytest.raises(
        EngineRefusedError, match=r"engines are executable, so it is not loaded: build it from the \.onnx"
    ):
        yolokkn.load(path)


def test_what_an_engine_is_for_must_be_here():
    library = find_library_like("tensorrt_rtx", "1.7.0")

    def fits(wanted, gpu=RTX, lib=library):
        module.check_fits(sealed(wanted).manifest, lib, gpu, "a.engine")

    fits(request())
    fits(request(capabilities=(), gpu="Simulated (SM86)"))
    fits(request(capabilities=()))
    with pytest.raises(EngineRefusedError, match=r"was built for SM86, here is Simulated \(SM75\); build it again"):
        fits(request(), T4)
    with pytest.raises(EngineRefusedError, match=r"was built for NVIDIA T4 \(SM75\), here is Simulated \(SM86\)"):
        fits(request(capabilities=(), gpu="NVIDIA T4 (SM75)"))
    with pytest.raises(EngineRefusedError, match=r"by tensorrt_rtx 1\.7\.0, here is tensorrt_rtx 1\.7\.1"):
        fits(request(), RTX, find_library_like("tensorrt_rtx", "1.7.1"))


def find_library_like(name, version):
    from yolokkn.runtime.engine_library import Library

    return Library(name, version, None, None)


def test_an_engine_wants_its_own_backend(tmp_path):
    store(sealed(request()), tmp_path / "a.engine")
    with pytest.raises(
        ValueError, match=r"backend: must be tensorrt for an engine, got 'openvino'; give the \.onnx file"
    ):
        yolokkn.load(tmp_path / "a.engine", backend="openvino")
    with pytest.raises(ValueError, match="device: must be cuda or cuda:N for tensorrt, got 'cpu'"):
        yolokkn.load(tmp_path / "a.engine", device="cpu")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*b\.engine"):
        yolokkn.load(tmp_path / "b.engine")


def test_without_cuda_bindings_the_error_says_what_to_install(monkeypatch, tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    store(sealed(request()), tmp_path / "a.engine")
    with pytest.raises(
        MissingDependencyError, match=r"cuda-bindings must be installed; run: pip install 'yolokkn\[engine\]'"
    ):
        yolokkn.load(tmp_path / "a.engine")


def test_without_a_gpu_the_error_says_so(tmp_path):
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings (extra engine) is not installed")
    if int(runtime.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("there is a GPU")
    with pytest.raises(
        DeviceError, match="device 'cuda': no NVIDIA GPU can be used: CUDA: cudaGetDeviceCount failed: "
    ):
        open_backend("tensorrt", convolution())


@pytest.fixture
def cuda(monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    simulated = Cuda()
    monkeypatch.setattr(cuda_device, "_runtime", lambda: simulated)
    return simulated


@pytest.fixture
def opened(cuda, monkeypatch, tmp_path):
    """Build an engine for real, seal it, load it through `yolokkn.load`'s door; ONNX Runtime computes it."""
    library = find_library("tensorrt_rtx")
    options = EngineOptions(capabilities=("SM86",))

    def open_it(content, num_requests=1, **sizes):
        profiles = engine_profiles(parse_model(content), **sizes)
        wanted = make_request(content, library, options, profiles=profiles, precision="fp32")
        store(build_engine(content, wanted, library, options, name="a.onnx")[0], tmp_path / "a.engine")
        made = []

        def deserialize(self, plan):
            made.append(Engine(content, profiles, cuda, library))
            self._engine = made[0]
            self._kernels = module.Kernels(library, made[0], self._cache, self.gpu)

        def nptype(dtype):
            return {"float32": np.float32, "float16": np.float16, "int64": np.int64}[dtype]

        monkeypatch.setattr(module.TensorRtBackend, "_deserialize", deserialize)
        monkeypatch.setattr(library.trt, "nptype", nptype)
        monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
        backend = open_backend("tensorrt", tmp_path / "a.engine", num_requests=num_requests)
        return backend, made[0], open_backend("onnxruntime", content, threads=1)

    return open_it


def picture(shape, seed=0):
    return {"images": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def test_it_gives_what_the_engine_gives_and_captures_after_the_first_run(opened, cuda):
    backend, _, wanted = opened(convolution())
    assert [str(s) for s in backend.inputs] == [str(s) for s in wanted.inputs]
    assert backend.op_types == {"Conv", "Relu"} and backend.metadata["stride"] == "32"
    for seed in range(4):
        feeds = picture((1, 3, 32, 32), seed)
        before = feeds["images"].copy()
        np.testing.assert_array_equal(backend.run(feeds)["y"], wanted.run(feeds)["y"])
        np.testing.assert_array_equal(feeds["images"], before)
    assert cuda.calls.count("launch") == 3 and cuda.calls.count("instantiate") == 1


def test_outputs_are_the_callers_own(opened):
    backend, _, _ = opened(convolution())
    first = backend.run(picture((1, 3, 32, 32), 1))["y"]
    kept = first.copy()
    backend.run(picture((1, 3, 32, 32), 2))
    np.testing.assert_array_equal(first, kept)


def test_each_shape_has_a_lane_and_the_oldest_goes(opened, cuda):
    backend, engine, wanted = opened(convolution("batch", "side"), batch=(1, 2, 8))
    assert backend.inputs[0].shape == (None, 3, None, None)
    shapes = [(n, 3, h, 64) for n in (1, 2, 3) for h in (32, 64)]
    for _ in range(2):
        for seed, shape in enumerate(shapes):
            feeds = picture(shape, seed)
            np.testing.assert_allclose(backend.run(feeds)["y"], wanted.run(feeds)["y"], atol=1e-5)
    assert engine.contexts == 12  # six shapes in turn do not fit into four lanes
    assert len(cuda.streams) == 4 and len(cuda.graphs) == 4 and len(cuda.device) == 8
    del backend
    assert not cuda.streams and not cuda.graphs and not cuda.device and not cuda.pinned  # all of it is freed


def test_sizes_that_the_profile_fixes_are_fixed(opened):
    backend, _, _ = opened(convolution("batch", "side"), batch=(1, 2, 2), imgsz=((64, 64),) * 3)
    assert backend.inputs[0].shape == (None, 3, 64, 64)


def test_feeds_that_do_not_fit(opened):
    backend, _, _ = opened(convolution("batch", "side"), batch=(1, 2, 2))
    with pytest.raises(
        ValueError, match=r"images must have a shape from \(1, 3, 32, 32\) to \(2, 3, 64, 64\), .* got \(4, "
    ):
        backend.run(picture((4, 3, 64, 64)))
    with pytest.raises(ValueError, match="run: feeds must be images, got none"):
        backend.run({})
    with pytest.raises(ValueError, match=r"run: feed must be images .*, got images float64"):
        backend.run({"images": np.zeros((1, 3, 64, 64))})
    with pytest.raises(ValueError, match=r"run: feed must be images .*, got images float32 \(1, 4, 64, 64\)"):
        backend.run({"images": np.zeros((1, 4, 64, 64), np.float32)})
    assert backend.run(picture((1, 3, 64, 64)))["y"].shape == (1, 4, 64, 64)  # and it goes on


def test_an_engine_that_cannot_be_captured_runs_all_the_same(opened, cuda):
    cuda.is_capturable = False
    backend, _, wanted = opened(convolution())
    for seed in range(3):
        feeds = picture((1, 3, 32, 32), seed)
        np.testing.assert_array_equal(backend.run(feeds)["y"], wanted.run(feeds)["y"])
    assert "launch" not in cuda.calls and not cuda.recording


def test_faults_of_the_gpu_are_typed(opened, cuda):
    backend, engine, _ = opened(convolution())
    engine.fails = True
    with pytest.raises(DeviceError, match="cannot run it: illegal memory access"):
        backend.run(picture((1, 3, 32, 32)))
    engine.fails = False
    assert backend.run(picture((1, 3, 32, 32)))["y"].shape == (1, 4, 32, 32)
    cuda.is_lost = True
    with pytest.raises(DeviceError, match="CUDA: cudaSetDevice failed: cudaErrorDeviceLost"):
        backend.run(picture((1, 3, 32, 32)))
    cuda.is_lost, cuda.memory = False, 100
    with pytest.raises(DeviceError, match="CUDA: cudaMallocHost failed: cudaErrorMemoryAllocation"):
        backend.for_requests(2).run(picture((1, 3, 32, 32)))


@pytest.mark.parametrize("num_requests", [1, 3])
def test_threads_get_their_own_results(opened, num_requests):
    backend, engine, wanted = opened(convolution(), num_requests)
    errors = []

    def work(seed):
        feeds = picture((1, 3, 32, 32), seed)
        right = wanted.run(feeds)["y"]
        for _ in range(20):
            if not np.array_equal(backend.run(feeds)["y"], right):
                errors.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not errors and engine.contexts <= num_requests


def test_an_onnx_file_is_built_through_the_cache(cuda, monkeypatch, tmp_path):
    monkeypatch.setattr(module.TensorRtBackend, "_deserialize", lambda self, plan: None)
    monkeypatch.setattr(module.TensorRtBackend, "_open", lambda self, num_requests: None)
    said, cache = [], EngineCache(tmp_path)
    for _ in range(2):
        backend = module.TensorRtBackend(convolution("batch", "side"), imgsz=(64, 96), cache=cache, say=said.append)
    assert said == [
        "<bytes>: building an engine: there is none of this model yet",
        "<bytes>: as the file is, in float32; yolokkn export --format engine writes float16 engines",
    ]
    assert backend.metadata["stride"] == "32" and backend.op_types == {"Conv", "Relu"}
    (entry,) = (tmp_path / "engines").glob("*.engine.json")
    assert json.loads(entry.read_text())["request"]["profiles"] == {
        "images": [[1, 3, 32, 32], [1, 3, 64, 96], [1, 3, 64, 96]]
    }


def test_a_gpu_that_the_library_has_no_engines_for_is_named_before_the_build(cuda, tmp_path):
    cuda.capability = (9, 0)
    with pytest.raises(DeviceError, match=r"builds for SM75, .*, here is Simulated \(SM90\); install TensorRT"):
        module.TensorRtBackend(convolution(), cache=EngineCache(tmp_path), say=lambda text: pytest.fail(text))


def test_the_packaged_model_gives_the_same_detections_through_an_engine(opened, tmp_path):
    content = read_model(resolve_model("person-vehicle")).to_bytes()
    opened(content)
    engine = yolokkn.load(tmp_path / "a.engine", score_threshold=0.02)
    assert engine.backend.name == "tensorrt"
    direct = yolokkn.load(content, score_threshold=0.02, imgsz=engine.input_hw)
    assert engine.class_names == direct.class_names and engine.layout.name == direct.layout.name
    image = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    found, wanted = engine(image), direct(image)
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.05)
    assert replace(engine).for_requests(2)(image).scores.tolist() == pytest.approx(found.scores.tolist(), abs=1e-5)


def test_a_trusted_foreign_engine_keeps_its_names(cuda, monkeypatch, tmp_path):
    header = json.dumps({"author": "Ultralytics", "names": {"0": "person"}, "stride": 32, "task": "detect"}).encode()
    (tmp_path / "a.engine").write_bytes(len(header).to_bytes(4, "little") + header + b"ftrt" + bytes(64))
    plans = []
    monkeypatch.setattr(module.TensorRtBackend, "_deserialize", lambda self, plan: plans.append(bytes(plan)))
    monkeypatch.setattr(module.TensorRtBackend, "_open", lambda self, num_requests: None)
    backend = open_backend("tensorrt", tmp_path / "a.engine", trust_engine=True)
    assert plans == [b"ftrt" + bytes(64)]
    assert yolokkn.layouts.read_facts(backend.metadata).class_names == ("person",)


def test_trust_is_for_foreign_engines_not_for_altered_ones(cuda, monkeypatch, tmp_path):
    path = tmp_path / "a.engine"
    store(sealed(request(library_version=find_library("tensorrt_rtx").version)), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(module.TensorRtBackend, "_deserialize", lambda self, plan: pytest.fail("it has seen the plan"))
    with pytest.raises(EngineRefusedError, match="is not the engine of its manifest"):
        open_backend("tensorrt", path, trust_engine=True)


def test_the_library_refuses_without_a_gpu_and_says_why(cuda, tmp_path):
    """The real TensorRT-RTX: what it says of a plan that it cannot take is an error of ours."""
    store(sealed(request(library_version=find_library("tensorrt_rtx").version)), tmp_path / "a.engine")
    with pytest.raises(ModelError, match=r"a\.engine: TensorRT-RTX .* cannot load it on Simulated \(SM86\): \S"):
        open_backend("tensorrt", tmp_path / "a.engine")
