"""Arrays of other libraries in the CUDA kernels, and ours in theirs: no copies, lifetimes by their owners."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from yolokkn import ops
from yolokkn.geometry import Letterbox
from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.cuda_device import DeviceBuffer, Stream

BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)


class TestDlpack:
    def test_there_and_back_is_the_same_memory(self, cuda_op):
        given = cuda_op.upload(BOXES)
        taken = DeviceArray.from_dlpack(given)
        assert (taken.pointer, taken.shape, taken.dtype) == (given.pointer, given.shape, given.dtype)
        np.testing.assert_array_equal(cuda_op.download(taken), BOXES)
        assert given.__dlpack_device__() == (2, 0)

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.int32, np.uint32, np.uint64])
    def test_every_dtype(self, cuda_op, dtype):
        array = cuda_op.upload(np.arange(6).astype(dtype).reshape(2, 3))
        np.testing.assert_array_equal(cuda_op.download(DeviceArray.from_dlpack(array)), np.arange(6).reshape(2, 3))

    def test_the_memory_lives_as_long_as_whoever_took_it(self, cuda_op):
        given = cuda_op.upload(BOXES)
        memory = weakref.ref(given.owner)
        taken = DeviceArray.from_dlpack(given)
        del given
        gc.collect()
        assert memory() is not None
        np.testing.assert_array_equal(cuda_op.download(taken), BOXES)
        del taken
        gc.collect()
        assert memory() is None

    def test_a_capsule_that_nobody_takes_gives_the_memory_back(self, cuda_op):
        given = cuda_op.upload(BOXES)
        memory, capsule = weakref.ref(given.owner), given.__dlpack__()
        del given
        gc.collect()
        assert memory() is not None
        del capsule
        gc.collect()
        assert memory() is None

    def test_a_capsule_is_taken_once(self, cuda_op):
        given = cuda_op.upload(BOXES)
        capsule = given.__dlpack__()

        class Giver:
            def __dlpack_device__(self):
                return given.__dlpack_device__()

            def __dlpack__(self, stream=None):
                return capsule

        DeviceArray.from_dlpack(Giver())
        with pytest.raises(ValueError, match="must give a capsule called dltensor"):
            DeviceArray.from_dlpack(Giver())

    def test_arrays_of_the_host_are_refused(self, cuda_op):
        with pytest.raises(TypeError, match="must be on an NVIDIA GPU, got one on DLPack's device 1"):
            DeviceArray.from_dlpack(BOXES.copy())


def test_items_and_shapes(cuda_op):
    array = cuda_op.upload(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    np.testing.assert_array_equal(cuda_op.download(array[1]), np.arange(12, 24).reshape(3, 4))
    np.testing.assert_array_equal(cuda_op.download(array.reshape(6, 4)[5]), np.arange(20, 24))
    with pytest.raises(IndexError):
        array[2]
    with pytest.raises(ValueError, match="as many values"):
        array.reshape(5, 5)


class TestTorch:
    @pytest.fixture
    def torch(self, request, gpu):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")
        return torch

    def test_its_tensors_on_its_stream(self, torch):
        """A letterbox of a strided tensor and NMS of tensors, queued on a stream of torch's, beside its own work."""
        kernels = ops.cuda.kernels()
        stream = torch.cuda.Stream()
        frame = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
        place = Letterbox.fit((60, 80), (64, 64))
        with torch.cuda.stream(stream):
            image = torch.from_numpy(frame).cuda()
            out = torch.empty((3, 64, 64), device="cuda")
            kernels.letterbox(image[:, :80], place, out=out, stream=stream)
            doubled = out * 2
        stream.synchronize()
        want = ops.letterbox(np.ascontiguousarray(frame[:, :80]), place)
        np.testing.assert_array_equal(out.cpu().numpy(), want)
        np.testing.assert_array_equal(doubled.cpu().numpy(), want * 2)

    def test_ours_in_torch(self, torch):
        ours = DeviceArray.allocate((3, 4), np.float32, DeviceBuffer)
        stream = Stream()
        staged = torch.from_numpy(np.ones((3, 4), np.float32)).pin_memory()
        stream.copy(ours.pointer, staged.data_ptr(), ours.num_bytes)
        stream.synchronize()
        for tensor in (torch.as_tensor(ours, device="cuda"), torch.from_dlpack(ours)):
            assert tensor.sum().item() == 12 and tensor.data_ptr() == ours.pointer

    def test_a_module_on_the_gpu_keeps_frames_there(self, torch):
        """load(module, device="cuda"): a captured module between two graphs gives the CPU's detections."""
        import yolokkn

        torch.manual_seed(0)
        module = torch.nn.Conv2d(3, 84, 8, stride=8)

        class Head(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = module

            def forward(self, x):
                maps = [self.conv(torch.nn.functional.avg_pool2d(x, k)).flatten(2) for k in (1, 2, 4)]
                out = torch.cat(maps, 2)
                return torch.cat([out[:, :4].abs() * 200, (out[:, 4:] * 3).sigmoid()], 1)

        image = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
        options = {"layout": "v8", "imgsz": 64, "score_threshold": 0.5}
        on_gpu = yolokkn.load(Head(), device="cuda", **options)
        for _ in range(3):
            got = on_gpu(image)
        want = yolokkn.load(Head().cpu(), **options)(image)
        assert on_gpu.backend.has_device_network and len(want) > 0
        np.testing.assert_allclose(np.sort(got.scores), np.sort(want.scores), rtol=1e-3)


def test_cupy_arrays_come_and_go(gpu):
    cupy = pytest.importorskip("cupy")
    kernels, stream = ops.cuda.kernels(), cupy.cuda.Stream(non_blocking=True)
    place = Letterbox.fit((1080, 1920), (640, 640))
    with stream:
        boxes = cupy.asarray(BOXES)
        out = cupy.empty_like(boxes)
        kernels.inverse_letterbox(boxes, place, out=out, stream=stream)
    stream.synchronize()
    np.testing.assert_array_equal(out.get(), ops.inverse_letterbox(BOXES, place))
    np.testing.assert_array_equal(cupy.from_dlpack(DeviceArray.from_dlpack(boxes)).get(), BOXES)


def test_pycuda_arrays_come_and_go(gpu):
    pytest.importorskip("pycuda")
    import pycuda.autoprimaryctx  # noqa: F401
    from pycuda import gpuarray

    place = Letterbox.fit((1080, 1920), (640, 640))
    boxes = gpuarray.to_gpu(BOXES)
    out = gpuarray.empty_like(boxes)
    ops.cuda.kernels().inverse_letterbox(boxes, place, out=out)
    np.testing.assert_array_equal(out.get(), ops.inverse_letterbox(BOXES, place))
