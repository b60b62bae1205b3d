"""A frame's whole way on the GPU against the CPU's: the same detections bit for bit; graphs that stay right."""

from __future__ import annotations

import ctypes
from dataclasses import replace

import cv2
import numpy as np
import pytest

import yolokkn
from tests.gpu.device_backends import HostNetwork
from tests.ops.heads import random_values
from tests.runtime.simulated_gpu import Cuda, engines  # noqa: F401
from yolokkn.errors import DeviceError, LayoutError
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions
from yolokkn.layouts.channels import ChannelsLayout, ChannelsPoseLayout, ChannelsSegLayout, ChannelsSegPoseLayout
from yolokkn.layouts.heads import DarknetLayout, DistanceRawLayout, V5RawLayout
from yolokkn.layouts.queries import RfDetrLayout, RtDetrLayout
from yolokkn.layouts.rows import V5Layout, V5SegLayout, YoloxLayout
from yolokkn.layouts.tables import DeepStreamLayout, TableLayout, TableSegLayout
from yolokkn.ops import cuda as ops_cuda
from yolokkn.ops.cuda import CudaKernels, DeviceArray
from yolokkn.runtime import cuda_device
from yolokkn.runtime.cuda_device import DeviceBuffer, PinnedArray, Stream
from yolokkn.runtime.engine_cache import EngineCache
from yolokkn.runtime.gpu_frame import GpuFrame, strips
from yolokkn.runtime.postprocess import postprocess

HW = (128, 160)
CELLS = sum((HW[0] // s) * (HW[1] // s) for s in (8, 16, 32))
NC = 5


class RecordedNetwork:
    """Gives the outputs that the test chose, whatever it sees."""

    can_be_captured, gpu_index = True, 0

    def __init__(self, outputs, dtype=np.float32, hw=HW):
        self.picture = DeviceArray.allocate((1, 3, *hw), dtype, DeviceBuffer)
        self.pinned, self.outputs = {}, {}
        for name, value in outputs.items():
            self.pinned[name] = PinnedArray(value.shape, value.dtype)
            self.outputs[name] = DeviceArray.allocate(value.shape, value.dtype, DeviceBuffer)
        self.choose(outputs)

    def choose(self, outputs):
        for name, value in outputs.items():
            np.copyto(self.pinned[name].array, value)

    def enqueue(self, stream):
        for name, source in self.pinned.items():
            stream.copy(self.outputs[name].pointer, source.pointer, source.num_bytes)


def boxes(rng, count):
    """Centres and sizes within and about the input."""
    centre = rng.uniform(-20, 180, (count, 2))
    return np.concatenate([centre, rng.gamma(2, 15, (count, 2))], 1).astype(np.float32)


def corners(values):
    return np.concatenate([values[:, :2] - values[:, 2:] / 2, values[:, :2] + values[:, 2:] / 2], 1)


def dense(rng, count, extras=0, objectness=False):
    scores = random_values(rng, (count, NC + objectness))
    rest = rng.normal(0, 40, (count, extras)).astype(np.float32)
    rest[rng.random(rest.shape) < 0.001] = np.inf
    return np.concatenate([boxes(rng, count), scores, rest], 1).astype(np.float32)


def channels(rng, extras=0):
    return {"out": np.ascontiguousarray(dense(rng, CELLS, extras).T)[None]}


def rows(rng, extras=0, count=CELLS):
    return {"out": dense(rng, count, extras, objectness=True)[None]}


def grid_rows(rng):
    values = rows(rng)["out"]
    values[..., :4] /= 20
    return {"out": values}


def prototypes(rng):
    return {"protos": rng.normal(size=(1, 8, HW[0] // 4, HW[1] // 4)).astype(np.float32)}


def levels(rng, num_channels):
    return {str(s): rng.normal(0, 2, (1, num_channels, HW[0] // s, HW[1] // s)).astype(np.float32) for s in (8, 16, 32)}


def table(rng, count, extras=0):
    values = dense(rng, count, extras)
    ids = rng.integers(-1, NC + 1, (count, 1)).astype(np.float32)
    return {"out": np.concatenate([corners(values[:, :4]), values[:, 4:5], ids, values[:, 4 + NC :]], 1)[None]}


ANCHORS = tuple(np.full((3, 2), size, np.float32) for size in (12, 30, 70))
SEG = {"task": "segment", "prototypes": "protos", "num_extras": 8}
LAYOUTS = {
    "v8": (ChannelsLayout(NC, head="out"), channels),
    "v8-seg": (ChannelsSegLayout(NC, head="out", **SEG), lambda r: channels(r, 8) | prototypes(r)),
    "v8-pose": (ChannelsPoseLayout(NC, "pose", 17, head="out", num_extras=51), lambda r: channels(r, 51)),
    "v8-pose without visibility": (ChannelsPoseLayout(NC, "pose", 4, head="out", num_extras=8), lambda r: channels(r, 8)),
    "v8-seg-pose": (
        ChannelsSegPoseLayout(NC, "segment-pose", 3, head="out", prototypes="protos", num_extras=17),
        lambda r: channels(r, 17) | prototypes(r),
    ),
    "v5": (V5Layout(NC, head="out"), lambda r: rows(r, count=3 * CELLS)),
    "v5-seg": (V5SegLayout(NC, head="out", **SEG), lambda r: rows(r, 8) | prototypes(r)),
    "yolox": (YoloxLayout(NC, head="out", strides=(8, 16, 32)), grid_rows),
    "darknet": (
        DarknetLayout(NC, heads=("8", "16", "32"), anchors=ANCHORS, scale_xy=(1.05, 1.0, 1.1)),
        lambda r: levels(r, 3 * (5 + NC)),
    ),
    "v5-raw": (
        V5RawLayout(NC, heads=("8", "16", "32"), anchors=ANCHORS, scale_xy=(1.0,) * 3),
        lambda r: levels(r, 3 * (5 + NC)),
    ),
    "kkn-raw": (
        DistanceRawLayout(
            NC, "segment-pose", 3, levels=("8", "16", "32"), strides=(8, 16, 32), num_bins=16, prototypes="protos", num_coeffs=8
        ),
        lambda r: levels(r, 64 + NC + 8 + 9) | prototypes(r),
    ),
    "rfdetr": (
        RfDetrLayout(NC),
        lambda r: {
            "dets": r.random((1, 300, 4)).astype(np.float32),
            "labels": r.normal(-1, 2, (1, 300, NC + 1)).astype(np.float32),
        },
    ),
    "end2end": (TableLayout(NC, head="out"), lambda r: table(r, 300)),
    "end2end-seg": (TableSegLayout(NC, head="out", **SEG), lambda r: table(r, 300, 8) | prototypes(r)),
    "deepstream": (DeepStreamLayout(NC, head="out"), lambda r: table(r, CELLS)),
}  # fmt: skip


def process(frame, image):
    frame.load(image)
    frame.run()


def assert_equal(got, want, exact=True):
    np.testing.assert_array_equal(got.boxes, want.boxes)
    np.testing.assert_array_equal(got.scores, want.scores)
    np.testing.assert_array_equal(got.class_ids, want.class_ids)
    assert got.num_dropped == want.num_dropped
    assert (got.masks is None) == (want.masks is None) and (got.keypoints is None) == (want.keypoints is None)
    if want.masks is not None:
        np.testing.assert_array_equal(got.masks.crops, want.masks.crops)
        np.testing.assert_array_equal(got.masks.data, want.masks.data)
    if want.keypoints is not None and exact:
        np.testing.assert_array_equal(got.keypoints, want.keypoints)
    elif want.keypoints is not None:
        np.testing.assert_allclose(got.keypoints, want.keypoints, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_equals_the_cpu_frame_after_frame(cuda_op, name):
    """Each frame has other outputs: what a graph plays again must read them, and leave nothing of the frame before."""
    layout, make = LAYOUTS[name]
    place = Letterbox.fit((90, 150), HW)
    options = DecodeOptions(score_threshold=0.3, iou_threshold=0.5, max_detections=60)
    network, frame, seen = None, None, 0
    for seed in range(4):
        rng = np.random.default_rng([seed, len(name)])
        outputs = make(rng)
        if seed == 2:
            outputs = {k: np.full_like(v, -9) for k, v in outputs.items()}  # an empty frame
        if frame is None:
            network = RecordedNetwork(outputs)
            frame = GpuFrame(network, cuda_op.kernels, layout, options, place, Stream())
        network.choose(outputs)
        image = rng.integers(0, 256, (90, 150, 3), np.uint8)
        process(frame, image)
        want = postprocess(layout, outputs, 0, place, options)
        # raw keypoints go through NumPy's exp on the CPU, through our own here
        assert_equal(frame.detections(()), want, exact=name != "kkn-raw")
        np.testing.assert_array_equal(cuda_op.download(network.picture)[0], yolokkn.ops.letterbox(image, place))
        seen += len(want)
    assert seen > 20


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions(score_threshold=0.05, multi_label=True, max_candidates=100, max_detections=1024),
        DecodeOptions(score_threshold=0.2, agnostic=True, iou_threshold=0.2),
        DecodeOptions(score_threshold=0.2, classes=(1, 3)),
        DecodeOptions(score_threshold=0.0, max_detections=1),
    ],
)
def test_options_equal_the_cpu(cuda_op, options):
    layout, make = LAYOUTS["v8"]
    outputs = make(np.random.default_rng(1))
    place = Letterbox.fit((128, 160), HW)
    frame = GpuFrame(RecordedNetwork(outputs), cuda_op.kernels, layout, options, place, Stream())
    for _ in range(2):
        process(frame, np.zeros((128, 160, 3), np.uint8))
        assert_equal(frame.detections(()), postprocess(layout, outputs, 0, place, options))


def test_float16_networks(cuda_op):
    layout, make = LAYOUTS["v8-seg"]
    with np.errstate(over="ignore"):
        outputs = {k: v.astype(np.float16) for k, v in make(np.random.default_rng(4)).items()}
    place, options = Letterbox.fit((90, 150), HW), DecodeOptions()
    network = RecordedNetwork(outputs, np.float16)
    frame = GpuFrame(network, cuda_op.kernels, layout, options, place, Stream())
    process(frame, np.full((90, 150, 3), 200, np.uint8))
    wide = {k: v.astype(np.float32) for k, v in outputs.items()}
    assert_equal(frame.detections(()), postprocess(layout, wide, 0, place, options))
    assert abs(float(cuda_op.download(network.picture)[0, 0, 64, 80]) - 200 / 255) < 1e-3


@pytest.mark.parametrize("name", ["v8", "v8-pose", "v8-pose without visibility", "v8-seg-pose"])
def test_hundreds_of_rows_some_of_which_fall_out(cuda_op, name):
    """Rows outside the frame, and rows whose extras are not finite, leave no gaps."""
    layout, make = LAYOUTS[name]
    outputs, place = make(np.random.default_rng(6)), Letterbox.fit((90, 150), HW)
    options = DecodeOptions(score_threshold=0.01, iou_threshold=1.0, max_detections=1024)
    frame = GpuFrame(RecordedNetwork(outputs), cuda_op.kernels, layout, options, place, Stream())
    process(frame, np.zeros((90, 150, 3), np.uint8))
    want = postprocess(layout, outputs, 0, place, options)
    assert_equal(frame.detections(()), want)
    assert len(want) > 200 and (want.num_dropped > 5 or name == "v8")


@pytest.mark.parametrize("name", ["v8-pose", "v8-seg-pose"])
def test_results_are_written_where_the_host_reads_them(cuda_op, monkeypatch, name):
    """Nothing is copied in a frame but the picture, and what the network itself copies."""
    layout, make = LAYOUTS[name]
    outputs, place = make(np.random.default_rng(6)), Letterbox.fit((90, 150), HW)
    options = DecodeOptions(max_detections=4)
    frame = GpuFrame(RecordedNetwork(outputs), cuda_op.kernels, layout, options, place, Stream())
    copies, copy = [], Stream.copy
    monkeypatch.setattr(Stream, "copy", lambda *arguments: (copies.append(arguments), copy(*arguments)))
    frame.load(np.zeros((90, 150, 3), np.uint8))
    for part in frame._parts():
        part()
    frame._stream.synchronize()
    assert len(copies) == 1 + len(outputs)
    assert_equal(frame.detections(()), postprocess(layout, outputs, 0, place, options))


def test_masks_that_need_more_room_than_any_before(cuda_op):
    """Every anchor a box of the whole frame, none suppressed: far more bits than there is room for at first."""
    layout, make = LAYOUTS["v8-seg"]
    options, place = DecodeOptions(iou_threshold=1.0, max_detections=50), Letterbox.fit(HW, HW)
    few, many = (make(np.random.default_rng(seed)) for seed in (1, 2))
    few["out"][:] = 0
    many["out"][0, :4] = np.array([80, 64, 160, 128])[:, None]
    many["out"][0, 4:] = np.nan_to_num(many["out"][0, 4:], posinf=0, neginf=0)
    network = RecordedNetwork(few)
    frame = GpuFrame(network, cuda_op.kernels, layout, options, place, Stream())
    room = frame.rows.bits.shape[0]
    for outputs in (few, many, few, many):
        network.choose(outputs)
        process(frame, np.zeros((*HW, 3), np.uint8))
        assert_equal(frame.detections(()), postprocess(layout, outputs, 0, place, options))
    assert frame.rows.bits.shape[0] > room


def test_a_network_that_cannot_be_captured_runs_between_two_graphs(cuda_op):
    layout, make = LAYOUTS["v8"]
    outputs = make(np.random.default_rng(3))
    network = RecordedNetwork(outputs)
    network.can_be_captured = False
    calls = []
    network.enqueue = lambda stream: calls.append(RecordedNetwork.enqueue(network, stream))
    place, options = Letterbox.fit((90, 150), HW), DecodeOptions()
    frame = GpuFrame(network, cuda_op.kernels, layout, options, place, Stream())
    for _ in range(3):
        process(frame, np.zeros((90, 150, 3), np.uint8))
        assert_equal(frame.detections(()), postprocess(layout, outputs, 0, place, options))
    assert len(calls) == 3


def test_a_network_that_wrongly_says_it_can_be_captured_runs_on(cuda_op):
    """It allocates at each run: CUDA refuses the capture, and the frame's results are there all the same."""
    layout, make = LAYOUTS["v8"]
    outputs = make(np.random.default_rng(3))
    network, calls = RecordedNetwork(outputs), []

    def enqueue(stream):
        calls.append(DeviceBuffer(100))
        RecordedNetwork.enqueue(network, stream)

    network.enqueue = enqueue
    place, options = Letterbox.fit((90, 150), HW), DecodeOptions()
    frame = GpuFrame(network, cuda_op.kernels, layout, options, place, Stream())
    for _ in range(3):
        process(frame, np.zeros((90, 150, 3), np.uint8))
        assert_equal(frame.detections(()), postprocess(layout, outputs, 0, place, options))
    assert len(calls) == 3


def test_what_must_not_stand_in_a_graph_is_an_error(cuda_op):
    """The rule that the kernels keep is one that CUDA enforces: an allocation spoils a capture."""
    stream = Stream()
    with pytest.raises(DeviceError):
        stream.capture(lambda: DeviceBuffer(100))


@pytest.mark.parametrize("layout", [RtDetrLayout(NC), replace(RfDetrLayout(NC), masks="masks")])
def test_layouts_that_stay_on_the_cpu_say_so(cuda_op, layout):
    network = RecordedNetwork({"dets": np.zeros((1, 3, 4), np.float32)})
    with pytest.raises(LayoutError, match="on the GPU"):
        GpuFrame(network, cuda_op.kernels, layout, DecodeOptions(), Letterbox.fit(HW, HW), Stream())


@pytest.mark.parametrize("name", ["person-vehicle", "person-segment"])
def test_real_networks_on_real_frames(emulated_runtime, monkeypatch, shared_data, name):
    """The packaged models over a clip: the CPU's detections and masks, frame after frame, out of one captured graph."""
    monkeypatch.setattr(cuda_device, "_runtime", lambda: emulated_runtime)
    emulated_runtime.set_order(3)
    model = yolokkn.load(name)
    clip = cv2.VideoCapture(str(shared_data / "videos" / "vtest.avi"))
    frame, found = None, 0
    for _ in range(4):
        _, image = clip.read()
        place = model.letterbox_for(image.shape[:2])
        if frame is None:
            network = HostNetwork(model.backend, model.picture, emulated_runtime, place.input_hw)
            frame = GpuFrame(network, CudaKernels(emulated_runtime), model.layout, model.options, place, Stream())
        process(frame, image)
        got, want = frame.detections(model.class_names), model(image)
        assert_equal(got, want)
        found += len(got)
    assert found > 4


@pytest.fixture
def unordered(emulated_runtime, monkeypatch):
    """Lets streams run in an order of the test's choice, and a frame's kernels on them."""
    monkeypatch.setattr(cuda_device, "_runtime", lambda: emulated_runtime)
    yield emulated_runtime
    emulated_runtime.set_streams(emulated_runtime.Streams.at_once)


def frames_in_turn(runtime, network, place, options):
    """Two frames of one size on one network, as two workers would have them: each loads while the other runs."""
    layout = LAYOUTS["v8"][0]
    return [GpuFrame(network, CudaKernels(runtime), layout, options, place, Stream()) for _ in range(2)]


@pytest.mark.parametrize("order", ["late", "others_first"])
@pytest.mark.parametrize("hw", [(90, 150), (1000, 1100)])
def test_what_is_uploaded_beside_other_work_is_waited_for(unordered, order, hw):
    """The upload of a frame is queued with its load, before the frame before it runs; every event is in its place."""
    outputs = LAYOUTS["v8"][1](np.random.default_rng(1))
    place, options = Letterbox.fit(hw, HW), DecodeOptions(score_threshold=0.3)
    network = RecordedNetwork(outputs)
    frames = frames_in_turn(unordered, network, place, options)
    unordered.set_streams(getattr(unordered.Streams, order))
    images = [np.random.default_rng(i).integers(0, 256, (*hw, 3), np.uint8) for i in range(6)]
    mutable = images[0].copy()
    frames[0].load(mutable)
    mutable[:] = 0  # the caller's again
    for i, image in enumerate(images):
        if i + 1 < len(images):
            frames[(i + 1) % 2].load(images[i + 1])
        frames[i % 2].run()
        seen = np.ctypeslib.as_array((ctypes.c_float * (3 * HW[0] * HW[1])).from_address(network.picture.pointer))
        np.testing.assert_array_equal(seen.reshape(3, *HW), yolokkn.ops.letterbox(image, place))
        assert_equal(frames[i % 2].detections(()), postprocess(LAYOUTS["v8"][0], outputs, 0, place, options))


def test_a_frame_that_does_not_wait_for_its_upload_is_found(unordered, monkeypatch):
    """The test above can fail: without the event the picture is another one."""
    monkeypatch.setattr(Stream, "wait_for", lambda self, event: None)
    with pytest.raises(AssertionError, match="not equal"):
        test_what_is_uploaded_beside_other_work_is_waited_for(unordered, "late", (90, 150))


def test_a_frame_goes_up_while_it_is_loaded(cuda_op):
    """In strips, each as soon as its rows are there; all of it before anybody says run."""
    assert strips(90, 150) == [(0, 90)] and len(strips(4000, 4000)) == 8 and strips(1, 9_000_000) == [(0, 1)]
    assert [end - first for first, end in strips(1080, 1920)] == [216] * 5
    layout, make = LAYOUTS["v8"]
    network = RecordedNetwork(make(np.random.default_rng(3)))
    place = Letterbox.fit((1001, 1100), HW)
    frame = GpuFrame(network, cuda_op.kernels, layout, DecodeOptions(), place, Stream())
    image = np.random.default_rng(0).integers(0, 256, (1001, 2200, 3), np.uint8)[:, ::2]
    frame.load(image)
    frame._uploads.synchronize()
    np.testing.assert_array_equal(cuda_op.download(frame._frame), image)


class EmulatedCuda(Cuda):
    """The simulated CUDA runtime of the engines' tests, whose streams and graphs are those that the kernels are queued on."""

    def __init__(self, emulated):
        super().__init__()
        self.emulated = emulated

    def cudaStreamCreateWithFlags(self, flags):
        status, stream = self.emulated.cudaStreamCreateWithFlags(flags)
        self.streams.add(stream)
        return status, stream

    def cudaStreamDestroy(self, stream):
        self.streams.remove(stream)
        return self.emulated.cudaStreamDestroy(stream)

    def cudaStreamSynchronize(self, stream):
        return self.emulated.cudaStreamSynchronize(stream)

    def enqueue(self, stream, work):
        assert stream in self.streams
        self.emulated.enqueue(stream, work)

    def cudaEventCreateWithFlags(self, flags):
        return self.emulated.cudaEventCreateWithFlags(flags)

    def cudaEventDestroy(self, event):
        return self.emulated.cudaEventDestroy(event)

    def cudaEventRecord(self, event, stream):
        return self.emulated.cudaEventRecord(event, stream)

    def cudaEventSynchronize(self, event):
        return self.emulated.cudaEventSynchronize(event)

    def cudaStreamWaitEvent(self, stream, event, flags):
        return self.emulated.cudaStreamWaitEvent(stream, event, flags)

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording[stream] = None
        thread = self.emulated.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        return self.emulated.cudaStreamBeginCapture(stream, thread)

    def cudaStreamEndCapture(self, stream):
        self.recording.pop(stream)
        return self.emulated.cudaStreamEndCapture(stream)

    def cudaGraphInstantiate(self, graph, flags):
        return self.emulated.cudaGraphInstantiate(graph, flags)

    def cudaGraphLaunch(self, graph, stream):
        self.calls.append("launch")
        return self.emulated.cudaGraphLaunch(graph, stream)

    def cudaGraphDestroy(self, graph):
        return self.emulated.cudaGraphDestroy(graph)

    def cudaGraphExecDestroy(self, graph):
        return self.emulated.cudaGraphExecDestroy(graph)


@pytest.fixture
def cuda(emulated_runtime, monkeypatch):
    """Stands in for the fixture of that name in tests/runtime/simulated_gpu.py, on which `engines` stands."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX (extra engine) is not installed")
    simulated = EmulatedCuda(emulated_runtime)
    monkeypatch.setattr(cuda_device, "_runtime", lambda: simulated)
    monkeypatch.setattr(cuda_device, "_driver", lambda: simulated)
    monkeypatch.setattr(ops_cuda, "why_not", lambda: None)
    monkeypatch.setattr(ops_cuda, "kernels", lambda: CudaKernels(emulated_runtime))
    return simulated


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_tensorrt_backend_keeps_frames_on_the_gpu(cuda, engines, shared_data, monkeypatch, precision):  # noqa: F811
    """load(..., backend="tensorrt"): frames of two sizes in turn, each one launch, equal to the CPU's on the same network."""
    path = shared_data / "weights" / "yolox" / "yolox_nano.onnx"
    model = yolokkn.load(path, backend="tensorrt", precision=precision)
    truth = yolokkn.load(engines[0].content)
    clip = cv2.VideoCapture(str(shared_data / "videos" / "vtest.avi"))
    found, kept = 0, []
    monkeypatch.setattr(
        EngineCache, "store_blob", lambda self, name, content: kept.append((name, bool(cuda.recording)))
    )
    for index in range(6):
        image = clip.read()[1]
        image = image[:, :500] if index % 2 else image
        before = len(cuda.calls)
        got, want = model(image), truth(np.ascontiguousarray(image))
        assert_equal(got, want)
        found += len(got)
        if index > 1:
            assert cuda.calls[before:].count("launch") == 1 and "down" not in cuda.calls[before:]
    assert (
        len(kept) == 1 and kept[0][0].startswith("kernels-tensorrt_rtx-") and not kept[0][1]
    )  # what was compiled at first
    assert engines[0].chosen_profiles == engines[0].contexts
    assert found > 10 and set(got.timing_ms) == {"preprocess", "inference", "postprocess"}
