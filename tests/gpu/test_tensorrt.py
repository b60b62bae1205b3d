"""Engines that really run: the same numbers as ONNX Runtime, in every precision, shape and thread."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest

import yolokkn
from tests.deploy.networks import CASES, HW, PICTURE, fitted
from tests.runtime.engines import convolution
from yolokkn.deploy import build_onnx
from yolokkn.deploy.engine_export import calibrate_on, export_engine
from yolokkn.graph import read_model
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.backends.switching import SwitchingBackend
from yolokkn.runtime.backends.tensorrt import TensorRtBackend
from yolokkn.runtime.cuda_device import checked, find_gpu
from yolokkn.runtime.engine_cache import EngineCache

TOLERANCE = {"fp32": 1e-3, "fp16": 3e-2}  # of a channel's largest value, or of 1


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLOKKN_CACHE", str(tmp_path / "cache"))
    return EngineCache()


def engine_of(content, library, tmp_path, cache, num_requests=1, **options):
    path = tmp_path / "a.engine"
    export_engine(content, path, name="a.onnx", library=library.name, cache=cache, overwrite=True, **options)
    return TensorRtBackend(path, num_requests=num_requests, cache=cache)


def random_feeds(shape, seed=0):
    return {"images": np.random.default_rng(seed).random(shape, np.float32)}


def check_close(got, wanted, tolerance):
    assert got.keys() == wanted.keys()
    for name, right in wanted.items():
        assert got[name].shape == right.shape and got[name].dtype == right.dtype
        others = tuple(i for i in range(right.ndim) if i != 1)
        scale = np.maximum(np.abs(right).max(others, keepdims=True, initial=0), 1)
        assert (np.abs(got[name] - right) <= tolerance * scale).all(), name


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case))
def test_every_network_gives_the_numbers_of_onnx_runtime(case, precision, library, tmp_path, cache):
    content, _ = build_onnx(fitted(*case), verify=False)
    backend = engine_of(content, library, tmp_path, cache, precision=precision)
    wanted = open_backend("onnxruntime", content)
    for seed in range(3):  # the first run, the capture, the replay
        feeds = random_feeds((1, 3, *HW), seed)
        check_close(backend.run(feeds), wanted.run(feeds), TOLERANCE[precision])


def test_an_int8_engine_gives_the_numbers_of_its_graph(library, tmp_path, cache):
    """Of the quantised graph, up to roundings at its steps; and not those of the float32 model, which it was made from."""
    content = read_model(resolve_model("person-vehicle")).to_bytes()
    pictures = [np.ascontiguousarray(np.roll(PICTURE, 13 * i, 1)) for i in range(8)]
    (tmp_path / "photos").mkdir()
    for i, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), picture)
    path, calibration = tmp_path / "a.engine", calibrate_on(content, tmp_path / "photos")
    report = export_engine(
        content, path, name="a.onnx", library=library.name, cache=cache, precision="int8", calibration=calibration
    )
    assert "QuantizeLinear" in report.manifest.op_types
    engine = yolokkn.load(path, score_threshold=0.02)
    graph = yolokkn.load(report.graph, score_threshold=0.02, imgsz=engine.input_hw)
    plain = yolokkn.load(content, score_threshold=0.02, imgsz=engine.input_hw)
    for picture in pictures:
        feeds = engine.workspace().feeds(picture)
        for _ in range(3):  # the first run, the capture, the replay
            got = engine.backend.run(feeds)
        right, whole = graph.backend.run(feeds), plain.backend.run(feeds)
        for name in right:
            near, lost = np.abs(got[name] - right[name]).mean(), np.abs(whole[name] - right[name]).mean()
            assert near <= 0.5 * lost, name  # nearer to its own graph than that is to the model
            assert np.corrcoef(got[name].ravel(), right[name].ravel())[0, 1] > 0.999, name


def test_a_float32_file_runs_in_float16_unless_float32_is_asked_for(library, tmp_path, cache):
    content, _ = build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)
    wanted, lost = open_backend("onnxruntime", content), {}
    feeds = random_feeds((1, 3, *HW))
    for precision in (None, "fp32"):
        backend = TensorRtBackend(content, library=library.name, cache=cache, precision=precision)
        got, right = backend.run(feeds), wanted.run(feeds)
        check_close(got, right, TOLERANCE[precision or "fp16"])
        lost[precision] = max(np.abs(got[name] - right[name]).max() for name in right)
    assert lost[None] > lost["fp32"]


def test_many_shapes_share_contexts(library, tmp_path, cache):
    content, _ = build_onnx(fitted("yolovkkn2-p", "detect"), dynamic_hw=True, verify=False)
    backend = engine_of(content, library, tmp_path, cache, precision="fp32", imgsz=((64, 64), HW, (160, 160)))
    wanted = open_backend("onnxruntime", content)
    shapes = [(1, 3, height, width) for height in (64, 96, 128, 160) for width in (64, 96, 128, 160)]
    for turn in range(3):
        for seed, shape in enumerate(shapes):
            feeds = random_feeds(shape, turn + seed)
            check_close(backend.run(feeds), wanted.run(feeds), TOLERANCE["fp32"])
    request = backend._requests.get()
    assert [lane.is_captured for lane in request.lanes.values()] == [True] * 4


def test_the_thread_keeps_its_gpu(library, tmp_path, cache):
    before = checked("cudaGetDevice")
    backend = engine_of(convolution(), library, tmp_path, cache, precision="fp32")
    backend.run(random_feeds((1, 3, 32, 32)))
    assert checked("cudaGetDevice") == before
    if checked("cudaGetDeviceCount") > 1 and str(find_gpu(1)) == str(backend.gpu):
        other = TensorRtBackend(tmp_path / "a.engine", device="cuda:1", cache=cache)
        other.run(random_feeds((1, 3, 32, 32)))
        assert checked("cudaGetDevice") == before


def test_free_sizes_in_any_order(library, tmp_path, cache):
    content, _ = build_onnx(fitted("yolovkkn2-p", "detect"), batch=None, dynamic_hw=True, verify=False)
    backend = engine_of(
        content, library, tmp_path, cache, precision="fp32", batch=(1, 2, 4), imgsz=((64, 64), HW, (128, 128))
    )
    wanted = open_backend("onnxruntime", content)
    shapes = [(1, 3, 64, 64), (4, 3, 128, 128), (2, 3, 96, 128), (1, 3, 128, 64), (3, 3, 96, 96), (1, 3, 64, 128)]
    for turn in range(3):
        for seed, shape in enumerate(shapes):
            feeds = random_feeds(shape, 10 * turn + seed)
            check_close(backend.run(feeds), wanted.run(feeds), TOLERANCE["fp32"])
    with pytest.raises(ValueError, match="images must have a shape from"):
        backend.run(random_feeds((8, 3, 64, 64)))


def test_the_run_is_captured(library, tmp_path, cache):
    backend = engine_of(convolution(), library, tmp_path, cache, precision="fp32")
    for seed in range(3):
        backend.run(random_feeds((1, 3, 32, 32), seed))
    request = backend._requests.get()
    assert [lane.is_captured for lane in request.lanes.values()] == [True]


@pytest.mark.parametrize("num_requests", [1, 4])
def test_threads_get_their_own_results(num_requests, library, tmp_path, cache):
    content = convolution("batch", "side")
    backend = engine_of(content, library, tmp_path, cache, num_requests, precision="fp32", batch=(1, 2, 4))
    wanted, errors = open_backend("onnxruntime", content), []

    def work(seed):
        feeds = random_feeds((1 + seed % 4, 3, 64, 64), seed)
        right = wanted.run(feeds)
        try:
            for _ in range(100):
                check_close(backend.run(feeds), right, TOLERANCE["fp32"])
        except Exception as error:  # noqa: BLE001 - any failure is the test's
            errors.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert not errors


def test_the_packaged_model_detects_the_same(library, tmp_path, cache):
    content = read_model(resolve_model("person-vehicle")).to_bytes()
    engine_of(content, library, tmp_path, cache, precision="fp32")
    engine = yolokkn.load(tmp_path / "a.engine", score_threshold=0.02)
    direct = yolokkn.load(content, score_threshold=0.02, imgsz=engine.input_hw)
    found, wanted = engine(PICTURE), direct(PICTURE)
    assert len(found) == len(wanted) and engine.class_names == direct.class_names
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.5)


def test_an_onnx_file_runs_through_the_cache_and_takes_over_from_onnx_runtime(library, cache):
    content, said = convolution(), []
    first = open_backend("onnxruntime", content)
    both = SwitchingBackend(first, lambda: TensorRtBackend(content, library=library.name, cache=cache, say=said.append))
    feeds = random_feeds((1, 3, 32, 32))
    wanted = both.run(feeds)
    assert both.switch(120)
    check_close(both.run(feeds), wanted, TOLERANCE["fp32"])
    TensorRtBackend(content, library=library.name, cache=cache, say=said.append)
    assert len(said) == 2  # why it is built and in which precision; then it is found


def test_memory_goes_back(library, tmp_path, cache):
    def free_bytes():
        checked("cudaDeviceSynchronize")
        return int(checked("cudaMemGetInfo")[0])

    content, least = convolution("batch", "side"), []
    for _ in range(6):
        backend = engine_of(content, library, tmp_path, cache, precision="fp32", batch=(1, 2, 4))
        for n in (1, 2, 3, 4):
            backend.run(random_feeds((n, 3, 64, 64)))
        del backend
        least.append(free_bytes())
    assert least[1] - least[-1] < 8 << 20  # after the first, nothing more is kept
