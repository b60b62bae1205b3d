"""One model, several trackers and pipelines in threads: the results of each are those it has alone."""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import yolokkn
from tests.ops.heads import SPECIAL
from tests.strategies import random_boxes, scaled
from tests.tracking.scenes import crowd
from yolokkn import ops, tracking
from yolokkn.geometry import Letterbox
from yolokkn.graph import GraphBuilder
from yolokkn.runtime.pipeline import PipelineConfig, run_pipeline
from yolokkn.runtime.sources import open_source

F4 = np.float32
NUM_THREADS = 4


def following_model() -> bytes:
    """A v8 segmentation model whose one box moves with the picture's brightness: each picture has its own result."""
    graph = GraphBuilder("following")
    picture = graph.input("images", "float32", (1, 3, 64, 64))
    mean = graph.node("ReduceMean", [picture], output="mean", axes=[0, 1, 2, 3], keepdims=0)
    weights, base = np.zeros((1, 4 + 2 + 2, 84), F4), np.zeros((1, 4 + 2 + 2, 84), F4)
    base[0, :, 5] = 12, 32, 10, 20, 0.9, 0, 1, 0.5
    weights[0, 0, 5], weights[0, 4, 5] = 40, -0.25
    moved = graph.node("Mul", [graph.initializer("weights", weights), mean], output="moved")
    graph.node("Add", [moved, graph.initializer("base", base)], output="output0")
    prototypes = np.random.default_rng(0).normal(0, 1, (1, 2, 16, 16)).astype(F4)
    graph.node(
        "Add",
        [
            graph.initializer("prototypes", prototypes),
            graph.node("Mul", [mean, graph.initializer("nought", np.zeros((), F4))], output="zero"),
        ],
        output="output1",
    )
    graph.output("output0", "float32", base.shape)
    graph.output("output1", "float32", prototypes.shape)
    graph.metadata({"task": "segment", "names": "{0: 'a', 1: 'b'}"})
    return graph.to_bytes()


def pictures(seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = [(48, 64), (64, 64), (50, 30), (1, 90)]
    return [np.full((*sizes[rng.integers(len(sizes))], 3), rng.integers(0, 256), np.uint8) for _ in range(count)]


def as_bytes(found) -> bytes:
    parts = [found.boxes, found.scores, found.class_ids, found.masks.data, found.masks.crops]
    parts += [found.track_ids] if hasattr(found, "track_ids") else []
    return b"".join(part.tobytes() for part in parts)


def in_threads(work, count=NUM_THREADS):
    """Run work(i) in each thread, all let go at once."""
    ready = threading.Barrier(count)

    def go(i):
        ready.wait()
        return work(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(go, range(count)))


def tracked(model, images, name):
    tracker = tracking.create(name)
    out = []
    for image in images:
        found = model(image)
        out.append(as_bytes(found) + tracker.update(found.boxes, found.scores, found.class_ids).tobytes())
    return out


def test_one_model_and_own_trackers_in_four_threads():
    model = yolokkn.load(following_model(), threads=1)
    names = [tracking.TRACKERS[i % len(tracking.TRACKERS)] for i in range(NUM_THREADS)]
    images = [pictures(seed, scaled(500)) for seed in range(NUM_THREADS)]
    alone = [tracked(model, images[i], names[i]) for i in range(NUM_THREADS)]
    assert len(set(alone[0])) > 50
    assert in_threads(lambda i: tracked(model, images[i], names[i])) == alone


def test_trackers_of_many_frames_in_four_threads():
    scenes = [list(crowd(seed, 15, scaled(1000))) for seed in range(NUM_THREADS)]

    def run(i):
        tracker = tracking.create(tracking.TRACKERS[i % len(tracking.TRACKERS)])
        return [tracker.update(*scene).tobytes() for scene in scenes[i]]

    alone = [run(i) for i in range(NUM_THREADS)]
    assert in_threads(run) == alone


def test_pipelines_side_by_side_share_a_model():
    model = yolokkn.load(following_model(), threads=1)
    config = PipelineConfig(num_requests=2, num_workers=3)

    def run(i):
        source, tracker = open_source(pictures(i, scaled(200))), tracking.create("bytetrack")
        with run_pipeline(source, model, tracker=tracker, config=config) as pipeline:
            return [(frame.index, as_bytes(result)) for frame, result in pipeline]

    alone = [run(i) for i in range(NUM_THREADS)]
    assert [index for index, _ in alone[0]] == list(range(scaled(200)))
    assert in_threads(run) == alone


def test_a_hundred_starts_and_stops():
    model = yolokkn.load(following_model(), threads=1)
    before = threading.active_count()
    rng = np.random.default_rng(0)
    images = pictures(9, 30)
    for run in range(scaled(100)):
        config = PipelineConfig(num_requests=1 + run % 3, num_workers=1 + run % 4, policy=("every", "latest")[run % 2])
        pipeline = run_pipeline(open_source(images), model, tracker=tracking.create("sort"), config=config)
        stop_at = int(rng.integers(0, 12))
        with pipeline:
            for count, _ in enumerate(pipeline):
                if count >= stop_at:
                    (pipeline.stop, pipeline.close, lambda: None)[run % 3]()
                    break
        if run % 10 == 0:
            unused = run_pipeline(open_source(images), model)
            unused.close()
    assert threading.active_count() == before
    assert not [t for t in threading.enumerate() if t.name.startswith("yolokkn-")]


def slow_calls():
    """Door -> a call that takes some milliseconds."""
    rng = np.random.default_rng(0)
    boxes, big = random_boxes(rng, 3000, 3000), rng.random((84, 60_000), F4)
    rows = np.ascontiguousarray(big.T)
    corners = rng.uniform(0, 400, (60, 2, 2)).astype(F4)
    wide = np.concatenate([corners.min(1), corners.max(1) + 500], 1)
    geometry = Letterbox.fit((1080, 1920), (640, 640))
    masks = ops.assemble_masks(
        rng.normal(0, 1, (60, 32)).astype(F4), rng.normal(0, 1, (32, 160, 160)).astype(F4), wide, geometry
    )
    image = rng.integers(0, 256, (2160, 3840, 3), np.uint8)
    heads, anchors = [rng.normal(0, 3, (3 * 85, 160, 160)).astype(F4)], [np.ones((3, 2), F4)]
    finished = rng.random((500_000, 4)).astype(F4), rng.random(500_000, F4), np.zeros(500_000, np.int32)
    counts = [rle["counts"] for rle in ops.encode_rle(masks)] * 5
    return {
        "pairwise_iou": lambda: ops.pairwise_iou(boxes, boxes),
        "nms": lambda: ops.nms(boxes, np.ones(3000, F4), iou_threshold=1.0, max_detections=3000),
        "letterbox": lambda: ops.letterbox(image, Letterbox.fit((2160, 3840), (2000, 2000))),
        "decode_channels": lambda: ops.decode_channels(big, 80, multi_label=True),
        "decode_rows": lambda: ops.decode_rows(rows, 79, objectness=True, multi_label=True),
        "decode_heads": lambda: ops.decode_heads(
            heads, num_classes=80, anchors=anchors, input_hw=(640, 640), formula="v5", multi_label=True
        ),
        "decode_distances": lambda: ops.decode_distances(
            heads, num_classes=80, input_hw=(640, 640), num_bins=16, multi_label=True
        ),
        "decode_queries": lambda: ops.decode_queries(
            finished[0], rows[:, :80].repeat(9, 0)[:500_000].copy(), input_hw=(640, 640)
        ),
        "decode_final": lambda: ops.decode_final(*finished),
        "decode_table": lambda: ops.decode_table(rows.repeat(9, 0)),
        "assemble_masks": lambda: ops.assemble_masks(
            np.ones((60, 32), F4), np.full((32, 160, 160), SPECIAL[5], F4), wide, geometry
        ),
        "encode_rle": lambda: ops.encode_rle(masks),
        "decode_rle": lambda: ops.decode_rle([{"size": (1080, 1920), "counts": c} for c in counts]),
        "paint_masks": lambda: ops.paint_masks(masks),
        "mask_polygons": lambda: ops.mask_polygons(masks),
        "inverse_letterbox": lambda: ops.inverse_letterbox(finished[0].repeat(4, 0), geometry),
        "decode_keypoints": lambda: ops.decode_keypoints(rng.random((50_000, 51)).astype(F4), 17, geometry),
        "gather_extras": lambda: ops.gather_extras(
            big, rng.integers(0, 60_000, 200_000), first=0, count=80, channel_major=True
        ),
        "assign": lambda: tracking.assign(rng.random((500, 500)).astype(F4), 1.0),
        "assign_pairs": lambda: tracking.assign_pairs(*rng.integers(0, 400, (2, 60_000)), rng.random(60_000), 1.0),
    }


def releases(call) -> bool:
    """Whether this thread gets a turn while another is inside the call."""
    turns, inside, done = 0, threading.Event(), threading.Event()

    def work():
        inside.set()
        call()
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    inside.wait()
    while not done.is_set():
        turns += 1
        time.sleep(0)
    worker.join()
    return turns > 1


def test_every_kernel_lets_other_threads_go_on():
    interval = sys.getswitchinterval()
    calls = slow_calls()
    others = {"Candidates", "implementations", "instruction_set", "reference"}
    assert set(calls) == set(ops.__all__) - others | {"assign", "assign_pairs"}
    try:
        sys.setswitchinterval(60)  # a thread gives way only where it releases the lock itself
        held = [name for name, call in calls.items() if not any(releases(call) for _ in range(5))]
    finally:
        sys.setswitchinterval(interval)
    assert held == []
