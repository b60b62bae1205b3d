"""The CUDA kernels on a GPU: each against its twin, torch's equivalent and the time its launches and bytes need; whole frames.

Outputs are held against the CPU's before they are timed; what differs gets no row. A kernel's time is that of one among many
in a CUDA graph, so that it holds what a frame's graph pays for it and no launch from Python; torch's equivalents are timed in
the same way where they can be captured, eagerly else, and the row says which. "floor" is the time of the smallest kernel for
each launch, and the bytes that must move over the bandwidth that a copy reaches here. A "cold" row goes through inputs of
twice the L2 cache in turn, a warm one uses one input again and again. Each goal stands beside its figure.

    python benchmarks/bench_gpu.py [--json FILE] [--frames 400]

Exit status: 0 everything was measured, 1 a group ended early (the others' rows are there).
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks import gpu_measure, gpu_torch
from benchmarks.gpu_measure import Bench, Goal, Report, Row, must_be, same, single_frames
from yolokkn import ops
from yolokkn.benchmark.heads import v8_head
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions
from yolokkn.layouts.channels import ChannelsLayout, ChannelsSegLayout
from yolokkn.ops.cuda import CandidateBuffers, DeviceArray, Selection
from yolokkn.runtime.cuda_device import DeviceBuffer, PinnedArray, Stream, find_gpu
from yolokkn.runtime.gpu_frame import GpuFrame
from yolokkn.runtime.gpu_rows import ResultRows
from yolokkn.runtime.postprocess import postprocess
from yolokkn.types import Detections

PLACE = Letterbox.fit((1080, 1920), (640, 640))
HEADS = {"sparse": (0, 80, 0.25, 25), "dense": (5000, 80, 0.25, 120), "crowd": (0, 1, 0.001, None)}


def check_nv12(bench: Bench, luma: np.ndarray, chroma: np.ndarray, planes: Any) -> np.ndarray:
    """Return the frame in BGR, after holding it against BT.601's formula in floating point."""
    hw = luma.shape
    plain = DeviceArray.allocate((3, *hw), np.float32, DeviceBuffer)
    whole = Letterbox.fit(hw, hw)
    bench.kernels.letterbox(planes, whole, out=plain, scale=(1, 1, 1), swap_rb=False, stream=bench.stream.number)
    got = bench.download(plain)
    y = (luma.astype(np.float32) - 16) * 255 / 219
    uv = chroma.reshape(hw[0] // 2, hw[1] // 2, 2).repeat(2, 0).repeat(2, 1).astype(np.float32) - 128
    u, v = np.moveaxis(uv * 255 / 224, 2, 0)
    r, b = y + 2 * (1 - 0.299) * v, y + 2 * (1 - 0.114) * u
    g = (y - 0.299 * r - 0.114 * b) / (1 - 0.299 - 0.114)
    must_be(bool(np.abs(got - np.stack([b, g, r]).clip(0, 255)).max() <= 0.52), "NV12")
    return np.ascontiguousarray(np.moveaxis(got, 0, 2)).astype(np.uint8)


def letterbox_rows(bench: Bench, torch: Any) -> Iterator[Row]:
    """BGR and NV12 of 1080p into 640 x 640, from the cache and from memory."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1080, 1920, 3), np.uint8)
    luma, chroma = rng.integers(0, 256, (1080, 1920), np.uint8), rng.integers(0, 256, (540, 1920), np.uint8)
    for word, num_bytes in (("BGR", frame.size), ("NV12", frame.size // 2)):

        def upload(is_nv12: bool = word == "NV12") -> Any:
            return (bench.upload(luma), bench.upload(chroma)) if is_nv12 else bench.upload(frame)

        sources = [upload() for _ in range(bench.copies(num_bytes))]
        bgr = check_nv12(bench, luma, chroma, sources[0]) if word == "NV12" else frame
        for dtype in (np.float16, np.float32):
            out = DeviceArray.allocate((3, 640, 640), dtype, DeviceBuffer)
            queues = [
                partial(bench.kernels.letterbox, one, PLACE, out=out, stream=bench.stream.number) for one in sources
            ]
            queues[0]()
            same([bench.download(out)], [ops.letterbox(bgr, PLACE).astype(dtype)], f"the letterbox of {word}")
            name = f"letterbox 1080p {word} -> 640 {np.dtype(dtype).name}"
            floor = bench.floor(num_bytes + 3 * 640 * 640 * np.dtype(dtype).itemsize)
            for state, some in (("", queues[:1]), (", cold", queues)):
                row = Row(name + state, *bench.time(*some), floor=floor)
                row.goals.append(Goal("2 x floor", row.p50 / floor, 2.0))
                if torch is not None and word == "BGR" and not state:
                    image, kind = torch.from_numpy(frame).cuda(), getattr(torch, np.dtype(dtype).name)
                    row.torch, row.torch_way = torch_time(torch, partial(gpu_torch.letterbox, torch, image, kind))
                yield row


def torch_time(torch: Any, run: Any) -> tuple[float, str]:
    """The same as `Bench.time`, where torch can capture it."""
    return gpu_torch.measure(torch, run, gpu_measure.IN_GRAPH, gpu_measure.ROUNDS)


class Recorded:
    """A network that gives the same outputs each time, already on the GPU."""

    can_be_captured, gpu_index = True, 0

    def __init__(self, bench: Bench, outputs: dict[str, np.ndarray]) -> None:
        self.picture = DeviceArray.allocate((1, 3, 640, 640), np.float32, DeviceBuffer)
        self.outputs = {name: bench.upload(value) for name, value in outputs.items()}

    def enqueue(self, stream: Stream) -> None:
        """Nothing: the outputs are there."""


def head_of(word: str) -> np.ndarray:
    """(4 + classes, 8400) with as many candidates as HEADS says, or as many as some objects give."""
    wanted, num_classes, *_ = HEADS[word]
    if not wanted:
        return v8_head(0, num_objects=150 if num_classes == 1 else 40, num_classes=num_classes)
    head = v8_head(0, num_objects=400, background=-6.0)
    scores, best = head[4:], head[4:].max(0)
    lift = np.zeros(head.shape[1], bool)
    lift[np.argsort(-best, kind="stable")[:wanted]] = True
    scores[:, lift & (best <= 0.25)] += np.float32(0.26)
    scores[:, ~lift] *= 0.2
    return head


class Chain:
    """Decoding, suppression, and results in the host's memory, of one v8 head."""

    def __init__(self, bench: Bench, head: np.ndarray, score_threshold: float) -> None:
        self.bench, self.head, self.number, self.score_threshold = bench, head, bench.stream.number, score_threshold
        self.num_classes = len(head) - 4
        self.outputs = [bench.upload(head) for _ in range(bench.copies(head.nbytes))]
        room = CandidateBuffers.allocate(8400, 8400, DeviceBuffer)
        self.candidates = CandidateBuffers(room.keys, room.boxes, bench.upload(np.zeros(2, np.int32)))
        self.selection = Selection.allocate(300, DeviceBuffer)
        self.layout = ChannelsLayout(self.num_classes, head="out")
        places = self.layout.places({"out": self.outputs[0].reshape(1, *head.shape)}, 0)
        self.result = ResultRows(300, places, PLACE.image_hw)

    def select(self, copy: int = 0) -> None:
        """Decode, and take the best: the second empties what the first fills."""
        kernels = self.bench.kernels
        kernels.decode_channels(
            self.outputs[copy], self.num_classes, candidates=self.candidates, score_threshold=self.score_threshold,
            stream=self.number,
        )  # fmt: skip
        kernels.select_best(self.candidates, self.num_classes, selection=self.selection, stream=self.number)

    def run(self) -> None:
        """All of it."""
        self.select()
        self.bench.kernels.gather_detections(
            self.selection, self.candidates, self.num_classes, PLACE, detections=self.result.device, stream=self.number
        )

    def check(self) -> str:
        """Hold the result against the CPU's; says what it was."""
        self.run()
        self.bench.stream.synchronize()
        options = DecodeOptions(score_threshold=self.score_threshold)
        want = postprocess(self.layout, {"out": self.head[None]}, 0, PLACE, options)
        same(fields(self.result.detections(())), fields(want), "decoding and NMS")
        found = ops.decode_channels(self.head, self.num_classes, score_threshold=self.score_threshold)
        return f"{len(found.scores)} candidates, {len(want)} kept"


def fields(detections: Detections) -> list[np.ndarray]:
    """What two results are compared by."""
    return [detections.boxes, detections.scores, detections.class_ids]


def chain_rows(bench: Bench, torch: Any, frames: int) -> Iterator[Row]:
    """Sparse, dense and crowded heads."""
    for word, (_, _, score_threshold, limit) in HEADS.items():
        head = head_of(word)
        chain = Chain(bench, head, score_threshold)
        note, floor = chain.check(), bench.floor(head.nbytes, launches=2)
        size = f"{len(head)} x 8400, {word}"
        queues = [partial(chain.select, copy) for copy in range(len(chain.outputs))]
        for state, some in (("", queues[:1]), (", cold", queues)):
            row = Row(f"decode + NMS of {size}{state}", *bench.time(*some), floor=floor, note=note)
            if limit is not None:
                row.goals.append(Goal(f"{limit} us", row.p50, limit))
            yield row
        yield Row(f"decode + NMS + results on the host of {size}", *bench.time(chain.run))
        p50, p99 = bench.singly(chain.run, frames)
        row = Row(f"the same alone, from its launch until its rows are on the host, {word}", p50, p99=p99)
        if torch is not None:
            output, (nms, called) = torch.from_numpy(head).cuda(), gpu_torch.find_nms(torch)
            work = partial(gpu_torch.postprocess, torch, nms, output, PLACE, score_threshold)
            row.torch, row.torch_way = gpu_torch.eager(torch, work), f"{called}, eager: its sizes depend on its values"
            if called == "torchvision":
                row.goals.append(Goal("10 x torchvision", row.torch / row.p50, 10, at_least=True))
        yield row


def mask_rows(bench: Bench, torch: Any) -> Iterator[Row]:
    """Masks of about 50 objects from 160 x 160 prototypes, at the prototypes' size and at that of a 1080p frame."""
    rng = np.random.default_rng(3)
    head = v8_head(5, num_objects=60, num_classes=80)
    head = np.concatenate([head, rng.normal(size=(32, 8400)).astype(np.float32)])
    outputs = {"out": head[None], "protos": rng.normal(size=(1, 32, 160, 160)).astype(np.float32)}
    layout = ChannelsSegLayout(80, "segment", head="out", prototypes="protos", num_extras=32)
    options = DecodeOptions(max_detections=50)
    for hw in ((160, 160), (1080, 1920)):
        place = Letterbox.fit(hw, (640, 640))
        network = Recorded(bench, outputs)
        frame = GpuFrame(network, bench.kernels, layout, options, place, bench.stream)
        frame.load(np.zeros((*hw, 3), np.uint8))
        frame.run()
        want, found = postprocess(layout, outputs, 0, place, options), frame.detections(())
        pixels = [masks.data for masks in (found.masks, want.masks) if masks is not None]
        must_be(len(pixels) == 2, "masks")
        same(pixels[:1], pixels[1:], "masks")
        kept = bench.download(frame.rows.bits)
        used = int(bench.download(frame.rows.device.header)[3])
        on_device = DeviceArray.allocate(frame.rows.bits.shape, np.uint32, DeviceBuffer)
        for where, bits in (("pinned memory, as frames do", frame.rows.bits), ("device memory", on_device)):
            queue = partial(
                bench.kernels.assemble_masks, frame.rows.device, network.outputs["protos"][0], place, bits=bits,
                stream=bench.stream.number,
            )  # fmt: skip
            queue()
            same([bench.download(bits)[:used]], [kept[:used]], f"masks in {where}")
            row = Row(f"masks of {len(want)} objects, {hw[1]} x {hw[0]}, to {where}", *bench.time(queue))
            row.floor = bench.floor(outputs["protos"].nbytes)
            row.note = f"{len(pixels[0]) / 1e6:.1f} million pixels"
            if hw == (160, 160):
                row.goals.append(Goal("20 us", row.p50, 20))
            if torch is not None and hw == (160, 160):
                row.torch, row.torch_way = torch_masks(torch, outputs["protos"][0], want)
            yield row


def torch_masks(torch: Any, prototypes: np.ndarray, want: Detections) -> tuple[float, str]:
    """As many masks of the same boxes."""
    planes, coeffs = torch.from_numpy(prototypes).cuda(), torch.randn(len(want), len(prototypes)).cuda()
    return torch_time(torch, partial(gpu_torch.masks, torch, planes, coeffs, torch.from_numpy(want.boxes).cuda()))


def upload_rows(bench: Bench, torch: Any) -> Iterator[Row]:
    """A frame's way to the GPU."""
    image = frames_of(1)[0]
    for word, num_bytes in (("BGR", image.size), ("NV12", image.size // 2)):
        pinned = PinnedArray((num_bytes,), np.dtype(np.uint8))
        target = DeviceArray.allocate((num_bytes,), np.uint8, DeviceBuffer)
        pinned.array[:] = image.ravel()[:num_bytes]
        queue = partial(bench.stream.copy, target.pointer, pinned.pointer or 0, num_bytes)
        queue()
        same([bench.download(target)], [pinned.array], "the uploaded frame")
        row = Row(f"upload of a 1080p {word} frame from pinned memory", *bench.time(queue))
        row.note = f"{num_bytes / max(row.p50, 1e-3) / 1e3:.1f} GB/s"
        yield row


def pipeline_rows(bench: Bench, torch: Any, frames: int) -> Iterator[Row]:
    """Whole frames of 1080p, one by one, to detections on the host."""
    images, head = frames_of(4), head_of("sparse")
    chain = Chain(bench, head, 0.25)
    on_gpu, picture = bench.upload(images[0]), DeviceArray.allocate((3, 640, 640), np.float32, DeviceBuffer)

    def everything() -> None:
        bench.kernels.letterbox(on_gpu, PLACE, out=picture, stream=bench.stream.number)
        chain.run()

    everything()
    chain.check()
    same([bench.download(picture)], [ops.letterbox(images[0], PLACE)], "the letterbox")
    everything()
    p50, p99 = bench.singly(everything, frames)
    goals = [Goal("40 us", p50, 40), Goal("p99 1.3 x p50", p99 / p50, 1.3)]
    name = "everything but network and upload: launch until rows are on the host"
    yield Row(name, p50, p99=p99, goals=goals, note="the frame is on the GPU already")
    yield Row("the same, one among many in a graph", *bench.time(everything))
    frame = GpuFrame(
        Recorded(bench, {"out": head[None]}), bench.kernels, chain.layout, DecodeOptions(), PLACE, bench.stream
    )

    def whole(index: int, load: bool = True) -> Detections:
        if load or not index:
            frame.load(images[index % len(images)])
        frame.run()
        return frame.detections(())

    same(fields(whole(0)), fields(postprocess(chain.layout, {"out": head[None]}, 0, PLACE, DecodeOptions())), "a frame")
    for name, load in (
        ("frame 1080p without a network (upload, everything else, Detections)", True),
        ("the same without the copy into pinned memory (it is uploaded)", False),
    ):
        yield frame_row(name, partial(whole, load=load), frames)


def frame_row(name: str, run: Any, frames: int) -> Row:
    """Single frames, by the host's clock."""
    p50, p99 = single_frames(run, frames)
    return Row(name, p50, p99=p99, goals=[Goal("p99 1.3 x p50", p99 / p50, 1.3)])


def frames_of(count: int) -> list[np.ndarray]:
    """Frames of noise, 1080p."""
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (1080, 1920, 3), np.uint8) for _ in range(count)]


def network_rows(bench: Bench, torch: Any, frames: int) -> Iterator[Row]:
    """The project's own networks with random weights, float16, captured by torch."""
    images = frames_of(4)
    for name in ("yolovkkn2-n", "yolovkkn2-s"):
        model = gpu_torch.half_model(torch, name, "cuda", score_threshold=0.5)
        note = check_network(bench, model, images[0])
        model = model.with_options(score_threshold=float(note))
        check_network(bench, model, images[0])
        workspace = model.workspace()
        workspace.process(images[0])

        def run(index: int, workspace: Any = workspace) -> Detections:
            return workspace.process(images[index % len(images)])

        row = frame_row(f"frame 1080p through {name} 640, float16, captured by torch", run, frames)
        row.note = f"{len(run(0))} detections above {note}"
        yield row


def check_network(bench: Bench, model: Any, image: np.ndarray) -> float:
    """Hold a frame against the CPU's treatment of the same outputs; returns a threshold that about 100 of them pass."""
    workspace = model.workspace()
    found = workspace.process(image)
    must_be(workspace.is_on_gpu, "the way of a frame, which left the GPU and")
    (network,) = workspace._on_gpu._networks.values()
    place = model.letterbox_for(image.shape[:2])
    outputs = {name: bench.download(value).astype(np.float32) for name, value in network.outputs.items()}
    same(fields(found), fields(postprocess(model.layout, outputs, 0, place, model.options)), "a network's frame")
    low = DecodeOptions(score_threshold=0.0, max_detections=1000)
    scores = postprocess(model.layout, outputs, 0, place, low).scores
    return round(float(scores[min(100, len(scores) - 1)]), 6)


def environment(bench: Bench) -> dict[str, Any]:
    """What the figures were measured on."""

    def say(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except OSError:
            return f"no {command[0]}"

    return {
        "gpu": str(find_gpu(0)),
        "driver": say("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "nvcc": say("nvcc", "--version").splitlines()[-1:],
        "commit": say("git", "rev-parse", "HEAD") or os.environ.get("COMMIT", "unknown"),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
        "copy_bandwidth_GB_s": round(bench.bandwidth / 1e9, 1),
        "smallest_kernel_us": round(bench.launch, 2),
        "l2_MiB": round(bench.l2_bytes / 2**20, 1),
    }


def measure(bench: Bench, torch: Any, frames: int, path: Path | None) -> Report:
    """Every group; one that fails does not cost the others."""
    report = Report(path, environment(bench))
    groups = {
        "letterbox": partial(letterbox_rows, bench, torch),
        "decode + NMS": partial(chain_rows, bench, torch, frames),
        "pipeline": partial(pipeline_rows, bench, torch, frames),
        "masks": partial(mask_rows, bench, torch),
        "upload": partial(upload_rows, bench, torch),
    }
    if torch is not None:
        groups["networks"] = partial(network_rows, bench, torch, frames)
    for name, group in groups.items():
        try:
            for row in group():
                report.add(row)
        except Exception as error:  # noqa: BLE001  the others' figures are worth having all the same
            report.fail(f"{name}: {type(error).__name__}: {error}")
    return report


def torch_of_this_gpu() -> Any:
    """Torch where it sees a GPU, else None."""
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--frames", type=int, default=400)
    arguments = parser.parse_args()
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
    if (why := ops.cuda.why_not()) is not None:
        raise SystemExit(f"bench_gpu.py: {why}")
    torch = torch_of_this_gpu()
    if torch is None:
        print("torch is not here or sees no GPU: its columns and the networks are left out")
    if measure(Bench(), torch, arguments.frames, arguments.json).failed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
