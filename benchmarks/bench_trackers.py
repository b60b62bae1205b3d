"""Time of one tracker update by the number of objects, against the peers that can be imported.

Trackers take turns after every `--block` frames, in an order that changes; the median over all frames counts. With
`--block 1` every update finds caches that the others have filled, as after a network in a pipeline.

    python benchmarks/bench_trackers.py --plot time.png --mot MOT17/train

`--mot` adds what the trackers are worth on given detections: HOTA, IDF1 and frames a second of association alone, without the
camera's motion, as they run live. Peers: benchmarks/peers/requirements-trackers.txt.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolokkn import tracking
from yolokkn.evaluation.mot import MotFigures, MotTable, measure_sequence, read_table
from yolokkn.evaluation.mot_tables import find_sequences
from yolokkn.plotting import new_figure, save_figure


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

        kinds = {
            "sort": t.SORTTracker, "bytetrack": t.ByteTrackTracker, "ocsort": t.OCSORTTracker, "cbiou": t.CBIoUTracker,
            "botsort": lambda: t.BoTSORTTracker(enable_cmc=False),
        }  # fmt: skip
        tracker = kinds[kind]()
        return lambda c: tracker.update(sv.Detections(c.boxes, confidence=c.scores, class_id=c.class_ids))

    return make


CANDIDATES: dict[str, Callable[[], Update]] = {
    **{f"yolokkn {name}": own(name) for name in ("bytetrack", "sort", "botsort", "ocsort", "cbiou", "kkn")},
    "visiontrack-cpp bytetrack": visiontrack(False),
    "visiontrack-cpp bytetrack, gated": visiontrack(True),
    "edgefirst bytetrack": edgefirst,
    "pyxtrackers bytetrack": pyxtrackers("bytetrack"),
    "pyxtrackers sort": pyxtrackers("sort"),
    "ioutrack bytetrack": ioutrack("bytetrack"),
    "ioutrack sort": ioutrack("sort"),
    **{f"trackers {name}": roboflow(name) for name in ("bytetrack", "sort", "botsort", "ocsort", "cbiou")},
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


def identities(result: Any, frame: Crowd) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and ids of an update's result: ours are ids by row, those of `trackers` come with their boxes."""
    boxes, ids = (frame.boxes, result) if isinstance(result, np.ndarray) else (result.xyxy, result.tracker_id)
    ids = np.full(len(boxes), -1) if ids is None else np.asarray(ids, np.int64)
    return boxes[ids >= 0], ids[ids >= 0]


def worth(makers: dict[str, Callable[[], Update]], where: str) -> dict[str, dict[str, float]]:
    """What trackers are worth on MOTChallenge detections of 0.1 and more; those whose results tell identities."""
    truths, found = find_sequences(where), tracking.find_detections(where)
    sequences = {name: tracking.read_sequence(found[name], name, with_cameras=False) for name in truths}
    rows = {}
    for maker in [name for name in makers if name.startswith(("yolokkn", "trackers"))]:
        parts, seconds, count = [], 0.0, 0
        for name, sequence in sequences.items():
            update, boxes, scores = makers[maker](), sequence.boxes, sequence.scores.astype(np.float32)
            frames, tracked = [], []
            for number in range(1, sequence.num_frames + 1):
                here = np.flatnonzero((sequence.frames == number) & (scores >= 0.1))
                frames.append(Crowd(boxes[here], scores[here], np.zeros(len(here), np.int32)))
            for number, frame in enumerate(frames, 1):
                start = time.perf_counter()
                result = update(frame)
                seconds += time.perf_counter() - start
                tracked.append((number, *identities(result, frame)))
            count += len(frames)
            frame_of = np.concatenate([np.full(len(ids), number) for number, _, ids in tracked])
            ids = np.concatenate([ids for _, _, ids in tracked])
            placed = np.concatenate([box for _, box, _ in tracked]).astype(np.float64)
            table = MotTable(frame_of, ids, placed, np.ones(len(ids), bool), np.ones(len(ids), np.int64))
            truth = read_table(truths[name], is_truth=True)
            parts.append(measure_sequence(truth, table, num_frames=sequence.num_frames))
        figures = MotFigures.join(parts).figures()
        names = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")
        rows[maker] = {**{n: figures[n] for n in names}, "frames_per_second": count / seconds}
    return rows


def plot(results: dict[int, dict[str, float]], target: Path) -> None:
    """Draw the time of an update against the objects."""
    figure, (axis,) = new_figure(1, 1, 9, 4.6)
    for name in next(iter(results.values())):
        ours = name.startswith("yolokkn")
        values = [row[name] for row in results.values()]
        axis.loglog(
            list(results), values, marker=".", label=name, linewidth=2 if ours else 1, linestyle="-" if ours else "--"
        )
    axis.set_xlabel("objects")
    axis.set_ylabel("ms an update, median")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[10, 50, 100, 300, 1000])
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--block", type=int, default=10, help="frames that a tracker takes in one turn")
    parser.add_argument("--density", type=float, default=1.0, help="1: about 50 people in a 1080p picture")
    parser.add_argument(
        "--mot", metavar="DIR", help="sequences with det/ and gt/: measure what the trackers are worth too"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the time against the objects")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    makers, missing = usable(list(crowd(10, 3, args.density)))
    results = {n: measure(makers, list(crowd(n, args.frames, args.density)), args.block) for n in args.objects}
    best_peer = {
        n: min((ms for name, ms in row.items() if not name.startswith("yolokkn")), default=float("nan"))
        for n, row in results.items()
    }
    quality = worth(makers, args.mot) if args.mot else {}
    if args.plot:
        plot(results, args.plot)
    if args.json:
        figures = {"ms": results, "best_peer_ms": best_peer, "quality": quality, "missing": missing}
        args.json.write_text(json.dumps(figures, indent=1))
    print("| tracker, median ms an update | " + " | ".join(f"N={n}" for n in args.objects) + " |")
    print("|---" * (len(args.objects) + 1) + "|")
    for name in makers:
        cells = (f"{results[n][name]:.4f} ({best_peer[n] / results[n][name]:.2f}x)" for n in args.objects)
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("(x): how many times faster than the best peer")
    for name, row in quality.items():
        shown = "  ".join(f"{k} {100 * v:.2f}" for k, v in row.items() if k not in ("IDSW", "frames_per_second"))
        print(f"{name:22s} {shown}  IDSW {row['IDSW']:.0f}  {row['frames_per_second']:,.0f} frames/s")
    for name, reason in missing.items():
        print(f"not measured: {name}: {reason}")


if __name__ == "__main__":
    main()
