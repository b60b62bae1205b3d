"""The tensorrt backend: what it refuses before TensorRT sees it, and what it does around an engine, on a simulated GPU."""

from __future__ import annotations

import gc
import json
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import yolokkn
from tests.runtime.engines import convolution, request, sealed
from yolokkn.deploy.engine_export import export_engine
from yolokkn.errors import DeviceError, MissingDependencyError, ModelError
from yolokkn.graph import parse_model, read_model
from yolokkn.graph.half_graph import to_half
from yolokkn.runtime import cuda_device, engine_build
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.backends import tensorrt as module
from yolokkn.runtime.backends import tensorrt_kernels as kernels
from yolokkn.runtime.cuda_device import Gpu
from yolokkn.runtime.engine_build import EngineOptions, build_engine, make_request
from yolokkn.runtime.engine_cache import EngineCache, store
from yolokkn.runtime.engine_library import find_library
from yolokkn.runtime.engine_manifest import EngineRefusedError
from yolokkn.runtime.engine_profiles import engine_profiles

pytestmark = pytest.mark.filterwarnings("ignore:Use del obj instead:DeprecationWarning")  # of a Runtime with a subclass
pytest_plugins = ["tests.runtime.simulated_gpu"]
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
    with pytest.raises(ValueError, match="device: must be cuda or cuda:N for engines, got 'cpu'"):
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
        DeviceError, match=r"device 'cuda': no NVIDIA (driver|GPU can be used: CUDA: cudaGetDeviceCount)"
    ):
        open_backend("tensorrt", convolution())


def test_without_a_driver_the_error_says_so_and_no_more(monkeypatch):
    from yolokkn.runtime import cuda_device

    def fail(call):
        raise DeviceError(f"CUDA: {call} failed: CUDA driver version is insufficient (cudaErrorInsufficientDriver)")

    monkeypatch.setattr(cuda_device, "checked", fail)
    for line, library, said in (
        ("", None, "no NVIDIA driver"),
        ("", "libcuda.so.1", "the NVIDIA driver is older than this CUDA wants"),
        ("NVRM 470", None, r"the NVIDIA driver is older than this CUDA wants \(NVRM 470\)"),
    ):
        monkeypatch.setattr("yolokkn.runtime.installation.gpu_driver", lambda line=line: line)
        monkeypatch.setattr("ctypes.util.find_library", lambda name, library=library: library)
        with pytest.raises(DeviceError, match=f"^device 'cuda': {said}$"):
            cuda_device.find_gpu()


@pytest.fixture
def opened(engines, tmp_path):
    """Build an engine for real, seal it, load it through `yolokkn.load`'s door."""
    library = find_library("tensorrt_rtx")
    options = EngineOptions(capabilities=("SM86",))

    def open_it(content, num_requests=1, device=None, **sizes):
        profiles = engine_profiles(parse_model(content), **sizes)
        wanted = make_request(content, library, options, profiles=profiles, precision="fp32")
        store(build_engine(content, wanted, library, options, name="a.onnx")[0], tmp_path / "a.engine")
        backend = open_backend("tensorrt", tmp_path / "a.engine", num_requests=num_requests, device=device)
        return backend, engines[-1], open_backend("onnxruntime", content, threads=1)

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


def run_both(backend, wanted, shape, seed):
    feeds = picture(shape, seed)
    np.testing.assert_allclose(backend.run(feeds)["y"], wanted.run(feeds)["y"], atol=1e-5)


def test_shapes_in_turn_make_no_context_anew(opened, cuda):
    backend, engine, wanted = opened(convolution("batch", "side"), batch=(1, 2, 8))
    assert backend.inputs[0].shape == (None, 3, None, None)
    shapes = [(n, 3, h, 64) for n in (1, 2, 3) for h in (32, 64)]

    for seed, shape in enumerate(shapes):
        run_both(backend, wanted, shape, seed)
    assert (engine.contexts, len(cuda.graphs)) == (1, 0)  # what comes once is not captured
    for turn in range(20):
        for seed, shape in enumerate(shapes):
            run_both(backend, wanted, shape, seed + turn)
    assert engine.contexts == 5  # four shapes have one of their own, the others share the fifth
    assert len(cuda.streams) == 5 and cuda.calls.count("instantiate") == 4 and len(cuda.device) == 10
    for seed in range(20):  # a new source: its shape takes the place of the one that has not come for the longest time
        run_both(backend, wanted, (4, 3, 64, 64), seed)
    assert (4, 3, 64, 64) in [key[0] for key in requests_of(backend)[0].lanes] and engine.contexts == 5
    for seed, shape in enumerate(shapes):
        run_both(backend, wanted, shape, seed)
    assert engine.contexts == 5 and len(cuda.graphs) == 4
    del backend
    assert not cuda.streams and not cuda.graphs and not cuda.device and not cuda.pinned  # all of it is freed


def requests_of(backend):
    found = [backend._requests.get() for _ in range(backend._num_requests)]
    for one in found:
        backend._requests.put(one)
    return found


def test_one_shape_of_a_free_size_is_captured_at_its_second_run(opened, cuda):
    backend, engine, wanted = opened(convolution("batch", "side"), batch=(1, 2, 8))
    captured = []
    for seed in range(4):
        feeds = picture((1, 3, 64, 64), seed)
        np.testing.assert_array_equal(backend.run(feeds)["y"], wanted.run(feeds)["y"])
        captured.append(len(cuda.graphs))
    assert captured == [0, 1, 1, 1] and engine.contexts == 1


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


def test_an_engine_that_cannot_be_captured_runs_all_the_same_and_says_so_once(opened, cuda, capsys):
    cuda.is_capturable = False
    backend, _, wanted = opened(convolution(), 2)
    two = backend.for_requests(3)
    for seed in range(6):
        feeds = picture((1, 3, 32, 32), seed)
        for one in (backend, two):
            np.testing.assert_array_equal(one.run(feeds)["y"], wanted.run(feeds)["y"])
    assert "launch" not in cuda.calls and not cuda.recording
    assert cuda.last_error == 0  # whoever asks CUDA next is not told of it
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "a.engine: runs without a CUDA graph, a little slower: CUDA: cudaStreamEnd" in said


def test_a_run_that_fails_while_it_is_captured_ends_the_capture(opened, cuda):
    backend, engine, wanted = opened(convolution("batch", "side"), batch=(1, 2, 8))
    feeds = picture((1, 3, 64, 64))
    for _ in range(2):
        backend.run(feeds)
        engine.fails_captured = True
    (request,) = requests_of(backend)
    assert [lane.is_captured for lane in request.lanes.values()] == [False] and not cuda.recording
    np.testing.assert_array_equal(backend.run(feeds)["y"], wanted.run(feeds)["y"])


def test_nothing_is_collected_while_a_graph_is_captured(opened, cuda):
    """Freeing memory of the GPU in the thread that captures makes the capture invalid: the simulated GPU fails then."""
    backend, engine, _ = opened(convolution())
    threshold, held = gc.get_threshold(), []

    def on_queue():
        if cuda.recording and held:
            held.clear()
            gc.set_threshold(10, 1, 1)
            assert len([[] for _ in range(5000)]) == 5000  # enough to set a collection off

    engine.on_queue = on_queue
    held.append([cuda_device.DeviceBuffer(64)])
    held[0].append(held[0])
    try:
        backend.run(picture((1, 3, 32, 32)))
    finally:
        gc.set_threshold(*threshold)
    assert not held
    (request,) = requests_of(backend)
    assert [lane.is_captured for lane in request.lanes.values()] == [True] and gc.isenabled()


def test_the_thread_keeps_its_own_gpu(opened, cuda):
    cuda.count = 3
    cuda.cudaSetDevice(1)
    backend, _, _ = opened(convolution(), device="cuda:2")
    assert cuda.current == 1 and backend.gpu.index == 2
    backend.run(picture((1, 3, 32, 32)))
    assert cuda.current == 1
    with pytest.raises(ValueError, match="feeds must be images"):
        backend.run({})
    assert cuda.current == 1
    with pytest.raises(DeviceError, match="device 'cuda:3': there are 3 GPUs, numbered from 0"):
        opened(convolution(), device="cuda:3")


def test_a_gpu_that_nobody_uses_is_not_begun_to_be_used(opened, cuda):
    """Giving back the number 0 that every thread begins with would take memory of the first GPU."""
    cuda.count = 2
    opened(convolution(), device="cuda:1")[0].run(picture((1, 3, 32, 32)))
    assert cuda.used == {1}


def test_kernels_are_written_again_after_a_pause(opened, cuda, monkeypatch, tmp_path):
    now, written = [100.0], []
    monkeypatch.setattr(kernels.time, "monotonic", lambda: now[0])
    backend, _, _ = opened(convolution("batch", "side"), batch=(1, 2, 8))

    def store_blob(self, name, content):
        written.append(len(content))
        now[0] += 0.1  # that long it took

    monkeypatch.setattr(EngineCache, "store_blob", store_blob)
    backend.run(picture((1, 3, 32, 32)))
    assert written == [7]
    for n in (2, 3):
        for _ in range(2):  # new shapes and contexts, too soon after
            backend.run(picture((n, 3, 32, 32)))
    assert written == [7]
    now[0] += 2.1
    backend.run(picture((3, 3, 32, 32)))  # nothing new, but what came meanwhile is written now
    assert written == [7, 14]
    now[0] += 100
    backend.run(picture((3, 3, 32, 32)))
    assert written == [7, 14]


def test_faults_of_the_gpu_are_typed(opened, cuda):
    backend, engine, _ = opened(convolution())
    engine.fails = True
    with pytest.raises(DeviceError, match="cannot run it: illegal memory access"):
        backend.run(picture((1, 3, 32, 32)))
    engine.fails = False
    assert backend.run(picture((1, 3, 32, 32)))["y"].shape == (1, 4, 32, 32)
    cuda.is_lost = True
    with pytest.raises(DeviceError, match="CUDA: cudaGetDevice failed: cudaErrorDeviceLost"):
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


def test_an_onnx_file_is_built_through_the_cache(engines, tmp_path):
    said, cache = [], EngineCache(tmp_path)
    for _ in range(2):
        backend = module.TensorRtBackend(convolution("batch", "side"), imgsz=(64, 96), cache=cache, say=said.append)
    assert said == [
        "<bytes>: building an engine: there is none of this model yet",
        "<bytes>: has no layer that can compute in float16: all of it is float32",
    ]
    assert backend.metadata["stride"] == "32" and backend.op_types == {"Conv", "Relu"}
    assert backend.run(picture((1, 3, 64, 96)))["y"].shape == (1, 4, 64, 96) and len(engines) == 2
    (entry,) = (tmp_path / "engines").glob("*.engine.json")
    assert json.loads(entry.read_text())["request"]["profiles"] == {
        "images": [[1, 3, 32, 32], [1, 3, 64, 96], [1, 3, 64, 96]]
    }


@pytest.mark.parametrize(
    ("asked", "built", "said"),
    [
        (None, "fp16", "in float16, but for its head; --precision fp32 (precision='fp32') computes as the file does"),
        ("fp16", "fp16", None),
        ("fp32", "fp32", None),
    ],
)
def test_the_precision_of_an_onnx_file_is_chosen(asked, built, said, engines, tmp_path, capsys):
    content = convolution(depth=3)
    backend = yolokkn.runtime.backends.open_backend("tensorrt", content, precision=asked)
    (entry,) = (tmp_path / "cache" / "engines").glob("*.engine.json")
    assert json.loads(entry.read_text())["request"]["precision"] == built
    kinds = {node.op_type for node in parse_model(engines[-1].content).graph.node}
    assert ("Cast" in kinds) == (built == "fp16")  # the graph that the library saw
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "yolokkn: <bytes>: building an engine: there is none of this model yet",
        *([f"yolokkn: <bytes>: {said}"] if said else []),
    ]
    wanted, feeds = open_backend("onnxruntime", content, threads=1), picture((1, 3, 32, 32))
    np.testing.assert_allclose(backend.run(feeds)["y"], wanted.run(feeds)["y"], atol=0.05 if built == "fp16" else 1e-5)


def test_export_and_backend_share_what_they_build(engines, tmp_path):
    """The same model in the same precision is built once, whoever asks."""
    content, cache = convolution(depth=3), EngineCache(tmp_path / "cache")
    export_engine(content, tmp_path / "a.engine", name="a.onnx", library="tensorrt_rtx", cache=cache)
    module.TensorRtBackend(content, cache=cache, say=lambda text: pytest.fail(text))


def test_precisions_that_a_backend_does_not_give(engines, tmp_path):
    content, path = convolution(depth=3), tmp_path / "a.onnx"
    path.write_bytes(content)
    with pytest.raises(
        ValueError,
        match=r"int8 must be calibrated on real pictures, which a backend has none of; run: yolokkn export --model .*a\.onnx "
        "--format engine --precision int8 --images FOLDER, and give the .engine file",
    ):
        yolokkn.load(path, backend="tensorrt", precision="int8")
    with pytest.raises(ValueError, match="precision: must be one of fp32, fp16, int8, got 'half'"):
        yolokkn.load(path, backend="tensorrt", precision="half")
    with pytest.raises(ValueError, match=r"precision: .*a\.onnx computes in fp16 already, got fp32"):
        path.write_bytes(to_half(content))
        yolokkn.load(path, backend="tensorrt", precision="fp32")
    with pytest.raises(
        ValueError, match="precision: must be left out for onnxruntime, which computes as the file does"
    ):
        yolokkn.load(path, precision="fp16")
    with pytest.raises(ValueError, match="precision: must be left out for a OnnxRuntimeBackend, got 'fp16'"):
        yolokkn.load(open_backend("onnxruntime", content, threads=1), precision="fp16")
    store(sealed(request(precision="fp16")), tmp_path / "a.engine")
    with pytest.raises(ValueError, match=r"a\.engine is an engine, built in fp16, got fp32; give the \.onnx file"):
        yolokkn.load(tmp_path / "a.engine", precision="fp32")
    assert not engines


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


def test_a_trusted_foreign_engine_keeps_its_names_and_runs(engines, tmp_path):
    content = convolution()
    plan = engine_build.build_plan(content, {}, find_library("tensorrt_rtx"), EngineOptions(("SM86",))).plan
    header = json.dumps({"author": "Ultralytics", "names": {"0": "person"}, "stride": 32, "task": "detect"}).encode()
    (tmp_path / "a.engine").write_bytes(len(header).to_bytes(4, "little") + header + plan)
    backend = open_backend("tensorrt", tmp_path / "a.engine", trust_engine=True)
    assert yolokkn.layouts.read_facts(backend.metadata).class_names == ("person",)
    wanted = open_backend("onnxruntime", content, threads=1)
    run_both(backend, wanted, (1, 3, 32, 32), 0)
    with pytest.raises(
        ValueError, match=r"a\.engine is an engine, built in a precision that it does not tell, got fp16"
    ):
        open_backend("tensorrt", tmp_path / "a.engine", trust_engine=True, precision="fp16")


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
