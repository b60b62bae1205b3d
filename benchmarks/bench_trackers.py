"""Time of one tracker update by the number of objects, against the peers that can be imported.

Trackers take turns after every `--block` frames, in an order that changes; the median over all frames counts. With
`--block 1` every update finds caches that the others have filled, as after a network in a pipeline.
Peers: benchmarks/peers/requirements-trackers.txt.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from yolokkn import tracking


class Crowd(NamedTuple):
    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray


def crowd(num_objects: int, num_frames: int, density: float, seed: int = 0) -> Iterator[Crowd]:
    """Walking people of a 1080p camera; a tenth missed, a tenth of low score, a twentieth of false positives.

    The scene grows with the number of objects beyond 50 / density of them, so that boxes overlap alike.
    """
    rng = np.random.default_rng(seed)
    size = np.array([1920.0, 1080.0]) * max(np.sqrt(num_objects * density / 50), 1.0)
    centres, speeds = rng.uniform(0, size, (num_objects, 2)), rng.normal(0, 3, (num_objects, 2))
    heights = rng.uniform(60, 160, num_objects)
    extents = np.stack([heights * rng.uniform(0.35, 0.5, num_objects), heights], 1)
    num_false = max(num_objects // 20, 1)
    for _ in range(num_frames):
        centres += speeds
        speeds = np.where((centres < 0) | (centres > size), -speeds, speeds)
        seen = rng.random(num_objects) > 0.1
        middle = (centres + rng.normal(0, 1.5, centres.shape))[seen]
        scores = np.where(rng.random(len(middle)) < 0.1, 0.15, rng.uniform(0.3, 0.95, len(middle)))
        corner = rng.uniform(0, size, (num_false, 2))
        boxes = np.concatenate(
            [
                np.concatenate([middle - extents[seen] / 2, middle + extents[seen] / 2], 1),
                np.concatenate([corner, corner + rng.uniform(30, 150, corner.shape)], 1),
            ]
        )
        scores = np.concatenate([scores, rng.uniform(0.1, 0.6, num_false)])
        order = rng.permutation(len(boxes))
        yield Crowd(boxes[order].astype(np.float32), scores[order].astype(np.float32), np.zeros(len(boxes), np.int32))


Update = Callable[[Crowd], object]


def own(name: str) -> Callable[[], Update]:
    def make() -> Update:
        tracker = tracking.create(name)
        return lambda c: tracker.update(c.boxes, c.scores, c.class_ids)

    return make


def visiontrack(gated: bool) -> Callable[[], Update]:
    def make() -> Update:
        import visiontrack_cpp as v

        tracker = v.ByteTracker(v.TrackerConfig(use_mahalanobis_gating=gated))
        return lambda c: tracker.update(c.boxes.astype(np.float64), c.scores.astype(np.float64), c.class_ids)

    return make


def edgefirst() -> Update:
    from edgefirst.tracker import ByteTrack

    tracker = ByteTrack()
    return lambda c: tracker.update(c.boxes, c.scores, c.class_ids.astype(np.uintp), time.monotonic_ns())


def _with_scores(c: Crowd) -> np.ndarray:
    return np.concatenate([c.boxes, c.scores[:, None]], 1)


def pyxtrackers(kind: str) -> Callable[[], Update]:
    def make() -> Update:
        import pyxtrackers as p

        tracker = p.BYTETracker(track_thresh=0.25) if kind == "bytetrack" else p.Sort(max_age=30)
        return lambda c: tracker.update(_with_scores(c).astype(np.float64))

    return make


def ioutrack(kind: str) -> Callable[[], Update]:
    def make() -> Update:
        import ioutrack as i

        if kind == "sort":
            tracker = i.Sort(max_age=30)
        else:
            tracker = i.ByteTrack(max_age=30, high_score_threshold=0.25, init_tracker_min_score=0.25)
        return lambda c: tracker.update(_with_scores(c), return_all=False)

    return make


def roboflow(kind: str) -> Callable[[], Update]:
    def make() -> Update:
        import supervision as sv
        import trackers as t

        tracker = t.ByteTrackTracker() if kind == "bytetrack" else t.SORTTracker()
        return lambda c: tracker.update(sv.Detections(c.boxes, confidence=c.scores, class_id=c.class_ids))

    return make


CANDIDATES: dict[str, Callable[[], Update]] = {
    "yolokkn bytetrack": own("bytetrack"),
    "yolokkn sort": own("sort"),
    "visiontrack-cpp bytetrack": visiontrack(False),
    "visiontrack-cpp bytetrack, gated": visiontrack(True),
    "edgefirst bytetrack": edgefirst,
    "pyxtrackers bytetrack": pyxtrackers("bytetrack"),
    "pyxtrackers sort": pyxtrackers("sort"),
    "ioutrack bytetrack": ioutrack("bytetrack"),
    "ioutrack sort": ioutrack("sort"),
    "trackers bytetrack": roboflow("bytetrack"),
    "trackers sort": roboflow("sort"),
}


def usable(frames: list[Crowd]) -> tuple[dict[str, Callable[[], Update]], dict[str, str]]:
    """Return the trackers that run here and why others do not."""
    good, missing = {}, {}
    for name, make in CANDIDATES.items():
        try:
            update = make()
            for frame in frames[:3]:
                update(frame)
            good[name] = make
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way; it is named and left out
            missing[name] = f"{type(error).__name__}: {error}"
    return good, missing


def measure(makers: dict[str, Callable[[], Update]], frames: list[Crowd], block: int) -> dict[str, float]:
    """Return the median milliseconds of an update."""
    updates = {name: make() for name, make in makers.items()}
    times: dict[str, list[float]] = {name: [] for name in makers}
    names = list(updates)
    for begin in range(0, len(frames), block):
        turn = begin // block % len(names)
        for name in names[turn:] + names[:turn]:
            for index in range(begin, min(begin + block, len(frames))):
                start = time.perf_counter()
                updates[name](frames[index])
                elapsed = time.perf_counter() - start
                if index >= len(frames) // 5:  # the first fifth warms up
                    times[name].append(elapsed * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 50, 100, 300, 1000])
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--block", type=int, default=10, help="frames that a tracker takes in one turn")
    parser.add_argument("--density", type=float, default=1.0, help="1: about 50 people in a 1080p picture")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    makers, missing = usable(list(crowd(10, 3, args.density)))
    results = {n: measure(makers, list(crowd(n, args.frames, args.density)), args.block) for n in args.objects}
    best_peer = {
        n: min((ms for name, ms in row.items() if not name.startswith("yolokkn")), default=float("nan"))
        for n, row in results.items()
    }
    if args.json:
        print(json.dumps({"ms": results, "best_peer_ms": best_peer, "missing": missing}, indent=1))
        return
    print("| tracker, median ms an update | " + " | ".join(f"N={n}" for n in args.objects) + " |")
    print("|---" * (len(args.objects) + 1) + "|")
    for name in makers:
        cells = (f"{results[n][name]:.4f} ({best_peer[n] / results[n][name]:.2f}x)" for n in args.objects)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("(x): how many times faster than the best peer")
    for name, reason in missing.items():
        print(f"not measured: {name}: {reason}")


if __name__ == "__main__":
    main()
