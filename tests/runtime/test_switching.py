"""ONNX Runtime runs while OpenVINO gets ready, and hands over under load."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import yolokkn
from tests.runtime.engines import convolution
from yolokkn.errors import ModelError
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.backends.switching import SwitchingBackend

X = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def ort(content=None):
    return open_backend("onnxruntime", content or convolution(), threads=1)


def openvino(content=None):
    pytest.importorskip("openvino", reason="OpenVINO (extra openvino) is not installed")
    return open_backend("openvino", content or convolution(), threads=1)


class Counting:
    """Wraps a real backend's run and counts."""

    def __init__(self, backend):
        self.backend, self.runs, run = backend, 0, backend.run

        def counted(feeds):
            self.runs += 1
            return run(feeds)

        backend.run = counted


def test_it_hands_over_under_concurrent_runs():
    go, first, second = threading.Event(), Counting(ort()), Counting(openvino())
    both = SwitchingBackend(first.backend, lambda: go.wait(30) and second.backend)
    assert (both.state, both.switch()) == ("preparing", False)
    wanted = first.backend.run({"images": X})["y"]
    stop, errors, results = threading.Event(), [], []

    def work():
        while not stop.is_set():
            try:
                results.append(float(np.abs(both.run({"images": X})["y"] - wanted).max()))
            except Exception as error:  # noqa: BLE001 - any failure is the test's
                errors.append(error)
                return

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    time.sleep(0.1)
    assert second.runs == 0 and first.runs > 4
    go.set()
    assert both.switch(30) is True and both.state == "switched" and both.current is second.backend
    time.sleep(0.05)  # whoever had begun has ended
    before = first.runs
    time.sleep(0.1)
    stop.set()
    for worker in workers:
        worker.join(30)
    assert not errors and max(results) < 1e-4
    assert second.runs > 4 and first.runs == before
    assert both.switch() is True  # again: nothing to do


def test_views_for_requests_switch_together():
    pytest.importorskip("openvino")
    go = threading.Event()
    both = SwitchingBackend(ort(), lambda: go.wait(30) and openvino())
    early = both.for_requests(2)
    assert early.current.name == "onnxruntime" and early.inputs == both.inputs
    go.set()
    assert both.switch(30)
    late = early.for_requests(3)
    assert [view.current.name for view in (both, early, late)] == ["openvino"] * 3
    for view in (both, early, late):
        assert view.run({"images": X})["y"].shape == (1, 4, 32, 32)


def test_the_first_is_let_go_after_the_switch():
    first = ort()
    both, kept = SwitchingBackend(first, lambda: ort()), weakref.ref(first)
    del first
    early = both.for_requests(1)
    both.run({"images": X})
    assert kept() is not None
    assert both.switch(30)
    gc.collect()
    assert kept() is None  # its memory is free
    for view in (both, early, both.for_requests(2)):
        assert view.run({"images": X})["y"].shape == (1, 4, 32, 32)
        assert view.inputs[0].name == "images" and view.metadata["stride"] == "32"
    assert both.switch() is True


def test_a_second_that_cannot_be_made_leaves_the_first_running():
    def fail():
        raise ModelError("no such engine")

    both = SwitchingBackend(ort(), fail)
    with pytest.raises(ModelError, match="the second backend could not be made: no such engine"):
        both.switch(10)
    assert both.state == "failed" and isinstance(both.error, ModelError)
    assert both.run({"images": X})["y"].shape == (1, 4, 32, 32) and both.current.name == "onnxruntime"


def test_another_model_is_refused():
    both = SwitchingBackend(ort(), lambda: ort(convolution(side=64)))
    with pytest.raises(ModelError, match=r"both backends must have the same inputs, got .*32.* and .*64"):
        both.switch(10)


def test_a_model_and_a_pipeline_take_it(tmp_path):
    pytest.importorskip("openvino")
    path = resolve_model("person-vehicle")
    both = SwitchingBackend(open_backend("onnxruntime", path), lambda: open_backend("openvino", path))
    model = yolokkn.load(both, score_threshold=0.02)
    picture = np.random.default_rng(1).integers(0, 255, (240, 320, 3), np.uint8)
    before = model(picture)
    assert both.switch(60)
    after = model(picture)
    assert len(before) == len(after)
    np.testing.assert_allclose(after.scores, before.scores, atol=2e-3)
    assert len(list(yolokkn.predict([picture] * 3, model=model))) == 3


def test_a_second_that_does_not_take_what_runs_is_not_switched_to():
    """The engine's profile ends below the size of the frames in flight."""
    go = threading.Event()
    both = SwitchingBackend(ort(convolution("batch", "side")), lambda: go.wait(30) and ort(convolution(1, 32)))
    frame = np.zeros((1, 3, 64, 64), np.float32)
    both.run({"images": frame})
    go.set()
    with pytest.raises(ModelError, match=r"does not take images \(1, 3, 64, 64\)"):
        both.switch(30)
    assert both.run({"images": frame})["y"].shape == (1, 4, 64, 64)


def test_sizes_that_come_after_it_was_made_are_tried_at_the_switch():
    both = SwitchingBackend(ort(convolution("batch", "side")), lambda: ort(convolution(1, 32)))
    while both.state == "preparing":
        time.sleep(0.01)
    both.run({"images": np.zeros((1, 3, 64, 64), np.float32)})
    with pytest.raises(ModelError, match="does not take images"):
        both.switch()
    assert both.state == "ready"


def test_another_models_names_are_another_model():
    other = ort(convolution())
    other.metadata = {**other.metadata, "names": '["cat"]'}
    both = SwitchingBackend(ort(), lambda: other)
    with pytest.raises(ModelError, match="both backends must be of the same model, got names"):
        both.switch(30)


def test_a_process_may_end_while_an_engine_is_built():
    """A build in the background calls Python back; the interpreter must not be gone by then."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    script = """
import threading, time
from tests.runtime.engines import convolution
from yolokkn.graph import parse_model
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.backends.switching import SwitchingBackend
from yolokkn.runtime.backends.tensorrt_onnx import _stop_with_the_process
from yolokkn.runtime.engine_build import EngineOptions, build_plan
from yolokkn.runtime.engine_library import find_library

library, begun = find_library("tensorrt_rtx"), threading.Event()

def build():
    while True:  # as one that takes minutes
        begun.set()
        build_plan(convolution(), {}, library, EngineOptions(capabilities=("SM86",)), on_progress=_stop_with_the_process)

both = SwitchingBackend(open_backend("onnxruntime", convolution(), threads=1), build)
begun.wait(60)
time.sleep(0.3)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
