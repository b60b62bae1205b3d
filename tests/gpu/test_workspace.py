"""Who goes by the GPU, on which one, and what is kept for it."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

import yolokkn
from tests.gpu.device_backends import HostBackend
from yolokkn.layouts.base import AnchorPlaces
from yolokkn.ops import cuda as ops_cuda
from yolokkn.ops.cuda import AnchorExtras, CudaKernels, DeviceArray
from yolokkn.runtime import cuda_device, gpu_workspace
from yolokkn.runtime.cuda_device import DeviceBuffer, Stream, on_gpu
from yolokkn.runtime.gpu_rows import ResultRows


@pytest.fixture
def gpu_runtime(emulated_runtime, monkeypatch):
    """Two emulated GPUs as the package's own."""
    monkeypatch.setattr(cuda_device, "_runtime", lambda: emulated_runtime)
    monkeypatch.setattr(cuda_device, "_is_used", lambda index: True)
    monkeypatch.setattr(ops_cuda, "is_built", lambda: True)
    monkeypatch.setattr(ops_cuda, "kernels", lambda: CudaKernels(emulated_runtime))
    gpu_workspace._say_once.cache_clear()
    emulated_runtime.set_order(0)
    yield emulated_runtime
    emulated_runtime.set_images(2)
    emulated_runtime.set_streams(emulated_runtime.Streams.at_once)


def on_the_gpu(runtime, gpu_index=0):
    model = yolokkn.load("person-vehicle")
    return replace(model, backend=HostBackend(model, runtime, gpu_index)), model


def picture(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def test_a_gpu_without_code_for_it_leaves_frames_to_the_cpu_and_says_so_once(gpu_runtime, capsys):
    gpu_runtime.set_images(1)  # the first GPU has one, the second has not
    model, on_cpu = on_the_gpu(gpu_runtime, gpu_index=1)
    for _ in range(2):
        assert not replace(model).workspace().is_on_gpu
    np.testing.assert_array_equal(model(picture(120, 160)).boxes, on_cpu(picture(120, 160)).boxes)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no code for this GPU (cudaErrorNoKernelImageForDevice)" in said
    assert "only the network runs on the GPU" in said and "CMAKE_CUDA_ARCHITECTURES=native" in said
    assert model.backend.num_made == 0  # nothing was put on a GPU that is not used
    assert on_the_gpu(gpu_runtime)[0].workspace().is_on_gpu
    with on_gpu(1):
        assert "no code" in ops_cuda.why_not()
    assert ops_cuda.why_not() is None and not capsys.readouterr().err


def test_a_build_for_cpus_says_nothing(gpu_runtime, monkeypatch, capsys):
    monkeypatch.setattr(ops_cuda, "is_built", lambda: False)
    assert not on_the_gpu(gpu_runtime)[0].workspace().is_on_gpu
    assert capsys.readouterr().err == ""


def test_networks_are_bounded_as_frames_are(gpu_runtime):
    model, on_cpu = on_the_gpu(gpu_runtime)
    assert model.rectangular
    sizes = [(h, 384) for h in range(64, 288, 32)]
    assert len({model.letterbox_for(hw).input_hw for hw in sizes}) == 7
    for turn in range(2):
        for hw in sizes:
            image = picture(*hw, seed=turn)
            np.testing.assert_array_equal(model(image).boxes, on_cpu(image).boxes)
            gc.collect()
            assert len(model.backend.networks) <= 4
    assert model.backend.num_made == 14
    for _ in range(3):
        model(picture(*sizes[-1]))
    assert model.backend.num_made == 14  # those used last are kept
    assert model.backend.told == [True] * 14 + [False] * 3


def test_arrays_know_their_gpu(gpu_runtime):
    places = AnchorPlaces(10, AnchorExtras(num_coeffs=4), prototypes=DeviceArray(0, (4, 8, 8), np.dtype(np.float32)))
    with on_gpu(1):
        rows = ResultRows(5, places, (40, 50))
        one = DeviceArray.allocate((2, 3), np.float32, DeviceBuffer)
    arrays = [v for v in vars(rows.device).values() if v is not None] + [rows.bits, one, one[1], one.reshape(6)]
    assert len(arrays) == 11 and all(a.__dlpack_device__() == (2, 1) for a in arrays)
    assert DeviceArray.from_dlpack(one).device == 1
    assert DeviceArray.allocate((2,), np.float32, DeviceBuffer).device == 0


def test_masks_that_the_kernels_cannot_count_are_refused(gpu_runtime):
    places = AnchorPlaces(10, AnchorExtras(num_coeffs=4), prototypes=DeviceArray(0, (4, 8, 8), np.dtype(np.float32)))
    with pytest.raises(ValueError, match=r"1024 detections of a 8192 x 8192 frame must fit 2147483647 words"):
        ResultRows(1024, places, (8192, 8192))


class TestGivenArrays:
    def test_what_cannot_be_had_is_refused(self, gpu_runtime):
        array = DeviceArray.allocate((4,), np.float32, DeviceBuffer)
        with pytest.raises(BufferError, match="copy must be None or False"):
            array.__dlpack__(copy=True)
        for device in ((1, 0), (2, 1)):
            with pytest.raises(BufferError, match=r"dl_device must be \(2, 0\)"):
                array.__dlpack__(dl_device=device)
        with pytest.raises(ValueError, match="stream must be 1 for the default stream, got 0"):
            array.__dlpack__(stream=0)
        assert array.__dlpack__(stream=1, max_version=(1, 1), dl_device=(2, 0), copy=False) is not None

    @pytest.mark.parametrize("waits", [True, False])
    def test_the_takers_stream_waits_for_the_arrays_own(self, gpu_runtime, waits):
        """Written on a stream, copied away on another: in order where the taker names its stream, too early where not."""
        source, target = (cuda_device.PinnedArray((4,), np.dtype(np.float32)) for _ in range(2))
        source.array[:], target.array[:] = 7, 0
        ours, theirs = Stream(), Stream()
        array = replace(DeviceArray.allocate((4,), np.float32, DeviceBuffer), stream=ours)
        assert array.__cuda_array_interface__["stream"] == ours.number
        gpu_runtime.set_streams(gpu_runtime.Streams.late)
        ours.copy(array.pointer, source.pointer, 16)
        taken = DeviceArray.from_dlpack(array, stream=theirs.number if waits else -1)
        theirs.copy(target.pointer, taken.pointer, 16)
        theirs.synchronize()
        assert (target.array == 7).all() == waits
