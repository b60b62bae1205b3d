"""Several callers, one network: the results of each as if it were alone, in as few runs as there can be."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import yolokkn
from tests.runtime.engines import convolution
from yolokkn.errors import ModelError
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import Backend, open_backend
from yolokkn.runtime.backends.batching import BatchingBackend
from yolokkn.runtime.pipeline import PipelineConfig, run_pipeline
from yolokkn.types import Frame

LONG_S = 30.0  # nothing in these tests waits for it


def with_free_batch(name="person-vehicle", batch="batch"):
    """A packaged model, whose graph leaves the batch free though its file says 1."""
    onnx = pytest.importorskip("onnx", reason="onnx (extra train) is not installed")
    model = onnx.load(resolve_model(name))
    for value in (*model.graph.input, *model.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.ClearField("dim_value")
        if isinstance(batch, str):
            dim.dim_param = batch
        else:
            dim.dim_value = batch
    return model.SerializeToString()


def together(works):
    """Call each in a thread of its own, all at once; returns what they give or raise."""
    results, start = [None] * len(works), threading.Barrier(len(works))

    def call(i):
        start.wait()
        try:
            results[i] = works[i]()
        except Exception as error:  # noqa: BLE001 - looked at by the test
            results[i] = error

    threads = [threading.Thread(target=call, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
        assert not thread.is_alive()
    return results


def pictures(count, hw=(120, 160)):
    """Noise, in which a low threshold finds something else each time."""
    return [np.random.default_rng(i).integers(0, 256, (*hw, 3), np.uint8) for i in range(count)]


def assert_alike(got, want):
    assert len(got) == len(want)
    np.testing.assert_allclose(got.boxes, want.boxes, atol=1e-2)
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-4)
    np.testing.assert_array_equal(got.class_ids, want.class_ids)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_callers_get_their_own_results_of_one_run(backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    model = yolokkn.load(with_free_batch(), backend=backend, threads=1, score_threshold=0.02)
    shared = model.batched(4, max_wait_s=LONG_S)
    images = pictures(4)
    wanted = [model(image) for image in images]
    assert len({want.scores.tobytes() for want in wanted}) == 4 and all(len(want) for want in wanted)
    for _ in range(3):
        found = together([lambda image=image: shared(image) for image in images])
        for got, want in zip(found, wanted, strict=True):
            assert_alike(got, want)
    assert shared.backend.num_runs == {4: 3}


def test_rows_are_those_of_the_networks_own_batch():
    inner = open_backend("onnxruntime", with_free_batch(), threads=1)
    backend = BatchingBackend(inner, 3, max_wait_s=LONG_S)
    feeds = [np.random.default_rng(i).random((1, 3, 64, 64), np.float32) for i in range(3)]
    before = [feed.copy() for feed in feeds]
    found = together([lambda feed=feed: backend.run({"images": feed}) for feed in feeds])
    for i, outputs in enumerate(found):
        np.testing.assert_allclose(
            outputs["detections"], inner.run({"images": feeds[i]})["detections"], rtol=1e-3, atol=1e-3
        )
        assert outputs["detections"].shape[0] == 1
        np.testing.assert_array_equal(feeds[i], before[i])


def test_who_comes_alone_waits_no_longer_than_was_said():
    backend = BatchingBackend(open_backend("onnxruntime", convolution("batch", 32), threads=1), 4, max_wait_s=0.2)
    feed = {"images": np.ones((1, 3, 32, 32), np.float32)}
    started = time.monotonic()
    backend.run(feed)
    assert time.monotonic() - started >= 0.2 and backend.num_runs == {1: 1}
    backend.expect(1)
    backend._max_wait_s = LONG_S
    backend.run(feed)  # nobody else is expected: at once
    assert backend.num_runs == {1: 2}


class Picky(Backend):
    """A real network that refuses a batch with a marked picture in it."""

    name = "picky"

    def __init__(self, inner):
        self.inner, self.inputs, self.outputs, self.metadata = inner, inner.inputs, inner.outputs, inner.metadata
        self.may_run = threading.Event()
        self.may_run.set()
        self.is_running = threading.Event()
        self.num_runs = 0

    def run(self, feeds):
        self.num_runs += 1
        self.is_running.set()
        assert self.may_run.wait(LONG_S)
        if (feeds["images"] == 999).any():
            raise ModelError("a picture that it does not like")
        return self.inner.run(feeds)


@pytest.fixture
def picky():
    return Picky(open_backend("onnxruntime", convolution("batch", 32), threads=1))


def feed_of(value, side=32):
    return {"images": np.full((1, 3, side, side), value, np.float32)}


def test_one_caller_that_fails_does_not_fail_the_others(picky):
    backend = BatchingBackend(picky, 4, max_wait_s=LONG_S)
    found = together([lambda v=v: backend.run(feed_of(v)) for v in (1, 2, 999, 4)])
    assert isinstance(found[2], ModelError) and "does not like" in str(found[2])
    for i, value in ((0, 1), (1, 2), (3, 4)):
        np.testing.assert_array_equal(found[i]["y"], picky.inner.run(feed_of(value))["y"])
    assert backend.num_runs == {1: 3}  # each by itself, after the batch
    found = together([lambda v=v: backend.run(feed_of(v)) for v in (1, 2, 3, 4)])
    assert backend.num_runs == {1: 3, 4: 1} and all(isinstance(one, dict) for one in found)


def test_who_fails_alone_is_not_run_again(picky):
    backend = BatchingBackend(picky, 1)
    with pytest.raises(ModelError, match="does not like"):
        backend.run(feed_of(999))
    assert picky.num_runs == 1
    backend.run(feed_of(1))
    assert backend.num_runs == {1: 1}


def test_the_next_batch_gathers_while_one_runs(picky):
    backend, results = BatchingBackend(picky, 4, max_wait_s=0.0), {}
    picky.may_run.clear()
    threads = [
        threading.Thread(target=lambda v=v: results.update({v: backend.run(feed_of(v))}), daemon=True) for v in range(4)
    ]
    threads[0].start()
    assert picky.is_running.wait(LONG_S)
    for thread in threads[1:]:
        thread.start()
    until = time.monotonic() + LONG_S
    while sum(len(group.calls) for group in backend._gathering.values()) < 3 and time.monotonic() < until:
        time.sleep(0.001)
    picky.may_run.set()
    for thread in threads:
        thread.join(LONG_S)
    assert backend.num_runs == {1: 1, 3: 1} and len(results) == 4
    for value, outputs in results.items():
        np.testing.assert_array_equal(outputs["y"], picky.inner.run(feed_of(value))["y"])


def test_sizes_run_in_batches_of_their_own():
    inner = open_backend("onnxruntime", convolution("batch", "side"), threads=1)
    backend = BatchingBackend(inner, 2, max_wait_s=0.5)
    found = together([lambda s=s: backend.run(feed_of(1, s)) for s in (32, 64, 32, 64)])
    assert [one["y"].shape for one in found] == [(1, 4, s, s) for s in (32, 64, 32, 64)]
    assert backend.num_runs == {2: 2}


def test_a_fixed_batch_is_filled_up_and_no_more_than_it_run_together():
    inner = open_backend("onnxruntime", convolution(2, 32), threads=1)
    backend = BatchingBackend(inner, 3, max_wait_s=0.05)
    found = together([lambda v=v: backend.run(feed_of(v)) for v in (1, 2, 3)])
    for value, outputs in zip((1, 2, 3), found, strict=True):
        both = np.concatenate([feed_of(value)["images"]] * 2)
        np.testing.assert_array_equal(outputs["y"], inner.run({"images": both})["y"][:1])
    assert backend.num_runs == {2: 1, 1: 1}


def test_a_leader_that_is_interrupted_leaves_the_others_to_one_of_them(picky, monkeypatch):
    backend = BatchingBackend(picky, 3, max_wait_s=LONG_S)
    real, came = backend._changed.wait, threading.Event()

    def wait(timeout=None):
        if threading.current_thread().name == "interrupted" and came.is_set():
            raise KeyboardInterrupt
        return real(0.01 if threading.current_thread().name == "interrupted" else timeout)

    monkeypatch.setattr(backend._changed, "wait", wait)
    seen = []

    def first():
        try:
            backend.run(feed_of(1))
        except KeyboardInterrupt:
            seen.append("interrupted")

    leader = threading.Thread(target=first, name="interrupted")
    leader.start()
    while not backend._gathering:
        time.sleep(0.001)
    other = threading.Thread(target=lambda: seen.append(backend.run(feed_of(2))))
    other.start()
    while max((len(group.calls) for group in backend._gathering.values()), default=0) < 2:
        time.sleep(0.001)
    came.set()
    leader.join(LONG_S)
    assert seen == ["interrupted"]
    backend.expect(1)
    other.join(LONG_S)
    np.testing.assert_array_equal(seen[1]["y"], picky.inner.run(feed_of(2))["y"])
    assert backend.num_runs == {1: 1} and not backend._gathering


class Pictures:
    is_live, has_timestamps = False, True

    def __init__(self, images):
        self.images = images

    def __iter__(self):
        for i, image in enumerate(self.images):
            yield Frame(image, i, i / 25, time.monotonic())

    def close(self):
        pass


def test_pipelines_of_several_sources_share_a_network():
    """Three sources, one model: each gives its own frames in order, and most runs are batches."""
    model = yolokkn.load(with_free_batch(), threads=1, score_threshold=0.02)
    shared = model.batched(3, max_wait_s=0.5)
    sources = [pictures(6, (96, 128)), pictures(6, (96, 128))[::-1], pictures(6, (120, 160))]

    def play(images):
        config = PipelineConfig(num_requests=1, num_workers=1)
        with run_pipeline(Pictures(images), shared, config=config) as pipeline:
            return [result for _, result in pipeline]

    results = together([lambda images=images: play(images) for images in sources])
    for images, found in zip(sources, results, strict=True):
        assert not isinstance(found, Exception), found
        for image, got in zip(images, found, strict=True):
            assert_alike(got, model(image))
    runs = shared.backend.num_runs
    assert sum(size * count for size, count in runs.items()) == 18 and runs[2] + runs[3] >= 4, runs


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(
        ValueError, match=r"inner must have a free batch, or one above 1, in every input, got images float32 \(1, 3"
    ):
        yolokkn.load("person-vehicle").batched(2)
    inner = open_backend("onnxruntime", convolution("batch", 32), threads=1)
    for options, text in (
        ({"num_callers": 0}, "num_callers must be 1 or more, got 0"),
        ({"num_callers": 2, "max_wait_s": -1}, "max_wait_s must be 0 or more, got -1"),
        ({"num_callers": 2, "max_batch": 0}, "max_batch must be 1 or more, got 0"),
    ):
        with pytest.raises(ValueError, match=text):
            BatchingBackend(inner, **options)
    with pytest.raises(ValueError, match=r"run: feeds must be of one picture each, got images \(2, 3, 32, 32\)"):
        BatchingBackend(inner, 2).run({"images": np.zeros((2, 3, 32, 32), np.float32)})
    shared = BatchingBackend(inner, 2)
    assert shared.for_requests(4) is shared
