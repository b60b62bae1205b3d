"""ONNX Runtime between tensors that are bound by their addresses.

Where its CUDA provider is missing, its CPU provider is bound to the emulated GPU's memory, which is the host's own: the same
calls on the same code. What only the CUDA provider can show is run where it is there.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import yolokkn
from tests.gpu.conftest import absent
from tests.gpu.test_frames import assert_equal
from tests.runtime.engines import convolution
from yolokkn.errors import DeviceError, MissingDependencyError, ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.ops.cuda import CudaKernels
from yolokkn.runtime import cuda_device
from yolokkn.runtime.backends import onnxruntime as module
from yolokkn.runtime.backends import open_backend
from yolokkn.runtime.cuda_device import Stream
from yolokkn.runtime.gpu_frame import GpuFrame

ort = pytest.importorskip("onnxruntime")


@pytest.fixture
def runtime(emulated_runtime, monkeypatch):
    monkeypatch.setattr(cuda_device, "_runtime", lambda: emulated_runtime)
    monkeypatch.setattr(cuda_device, "_is_used", lambda index: True)
    emulated_runtime.set_order(0)
    yield emulated_runtime
    emulated_runtime.set_streams(emulated_runtime.Streams.at_once)


def picture(seed, hw=(120, 160)):
    return np.random.default_rng(seed).integers(0, 256, (*hw, 3), np.uint8)


def test_a_bound_session_stands_between_two_graphs(runtime):
    """The packaged model, its tensors bound by address: the CPU's detections, frame after frame."""
    model = yolokkn.load("person-vehicle").with_options(score_threshold=0.02)
    place = model.letterbox_for((120, 160))
    network = model.backend._bound(place.input_hw, Stream(), "cpu")
    assert not network.can_be_captured and network.picture.shape == (1, 3, *place.input_hw)
    frame = GpuFrame(network, CudaKernels(runtime), model.layout, model.options, place, Stream())
    found = 0
    for seed in range(4):
        image = picture(seed)
        frame.load(image)
        frame.run()
        got = frame.detections(model.class_names)
        assert_equal(got, model(image))
        found += len(got)
    assert found > 0


def test_a_size_that_the_network_does_not_take_is_an_error(runtime):
    backend = open_backend("onnxruntime", convolution(side=32), threads=1)
    with pytest.raises(ModelError, match="ONNX Runtime cannot run it"):
        backend._bound((64, 64), Stream(), "cpu")


def test_a_tensor_of_the_wrong_size_is_an_error(runtime):
    """What ONNX Runtime says in a run comes as ours."""
    backend = open_backend("onnxruntime", convolution(side=32), threads=1)
    wrong = {"y": ((1, 4, 16, 16), np.dtype(np.float32))}
    network = module.BoundSession(
        backend._session, Stream(), backend._guard, backend.inputs[0], (1, 3, 32, 32), wrong, 0, "cpu", "a.onnx"
    )
    with pytest.raises(ModelError, match=r"a\.onnx: ONNX Runtime cannot run it on the GPU"):
        network.enqueue(Stream())


def test_networks_whose_outputs_follow_the_content_come_and_go_by_the_host(runtime):
    backend = open_backend("onnxruntime", convolution(side=32), threads=1)
    backend.op_types |= {"NonMaxSuppression"}
    assert backend._bound((32, 32), Stream(), "cpu") is None
    backend.op_types = frozenset({"Conv"})
    backend.inputs = (*backend.inputs, TensorSpec("orig_target_sizes", "int64", (1, 2)))
    assert backend._bound((32, 32), Stream(), "cpu") is None


@pytest.mark.parametrize("order", ["late", "others_first"])
def test_its_stream_and_the_frames_wait_for_each_other(runtime, order):
    """What the session would queue on its own stream, played by a copy: after the frame's upload, and before its tail."""
    backend = open_backend("onnxruntime", convolution(side=32), threads=1)
    own, stream = Stream(), Stream()
    network = backend._bound((32, 32), own, "cpu")
    source, seen = (cuda_device.PinnedArray((1, 4, 32, 32), np.dtype(np.float32)) for _ in range(2))
    source.array[:], seen.array[:] = 5, 0
    size = seen.num_bytes

    class Session:
        def run_with_iobinding(self, binding, options):
            assert options.get_run_config_entry("disable_synchronize_execution_providers") == "1"
            own.copy(network.outputs["y"].pointer, network.picture.pointer, network.picture.num_bytes)

    network._session = Session()
    runtime.set_streams(getattr(runtime.Streams, order))
    for value in (5, 6):
        source.array[:] = value
        stream.copy(network.picture.pointer, source.pointer, network.picture.num_bytes)
        network.enqueue(stream)
        stream.copy(seen.pointer, network.outputs["y"].pointer, size)
        stream.synchronize()
        assert (seen.array.ravel()[: 3 * 32 * 32] == value).all()


def test_without_the_provider_the_error_says_what_to_install(monkeypatch):
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("it is here")
    want = re.escape(
        "device 'cuda:1': this build of ONNX Runtime has no CUDAExecutionProvider; run: pip uninstall onnxruntime, "
    )
    monkeypatch.setattr(module, "driver_trouble", lambda: "no NVIDIA driver")
    with pytest.raises(DeviceError, match=r"^device 'cuda': no NVIDIA driver; device cpu runs everywhere$"):
        open_backend("onnxruntime", convolution(), device="cuda")
    monkeypatch.setattr(module, "driver_trouble", lambda: "")
    with pytest.raises(
        MissingDependencyError, match=want + re.escape("then pip install 'onnxruntime-gpu[cuda,cudnn]'")
    ):
        open_backend("onnxruntime", convolution(), device="cuda:1")
    with pytest.raises(ValueError, match="device: must be one of cpu, cuda, cuda:N for onnxruntime, got 'gpu'"):
        open_backend("onnxruntime", convolution(), device="gpu")


def test_a_provider_that_does_not_start_is_an_error_not_a_slow_run(runtime, monkeypatch):
    """ONNX Runtime goes on by the CPU then, with a warning in its log."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    told = []

    def session(content, threads, cuda, optimize):
        told.append(cuda)
        return real(content, threads, None, optimize)

    real = module._session
    monkeypatch.setattr(module, "_session", session)
    with pytest.raises(
        MissingDependencyError, match="does not start here, mostly because CUDA or cuDNN is missing; run: pip"
    ):
        open_backend("onnxruntime", convolution(), device="cuda:1")
    stream = int(told[0].pop("user_compute_stream"))
    assert told == [{"device_id": "1", "enable_cuda_graph": "0"}] and stream > 2  # a stream of its own


def test_frames_stay_on_a_real_gpu(gpu):
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        absent("ONNX Runtime has no CUDAExecutionProvider")
    model, on_cpu = (yolokkn.load("person-vehicle", device=device) for device in ("cuda", "cpu"))
    for seed in range(3):
        got, want = model(picture(seed)), on_cpu(picture(seed))
        np.testing.assert_allclose(got.scores, want.scores, atol=1e-2)
    assert model.workspace().is_on_gpu
