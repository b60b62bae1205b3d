"""What trackers are worth on given detections, ours and those of `trackers`, as they run live.

    python benchmarks/peers/setup.py trackers
    python benchmarks/bench_trackers.py --mot MOT17/train --save worth.json

HOTA, IDF1 and frames a second of association alone, without the camera's motion, on detections of 0.1 and more, each tracker with
its own defaults. `yolokkn benchmark report worth.json` draws them; `bench_peers.py track` has the times against objects.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.peers.process import Arrays, Peers, StageCase, adapters
from yolokkn import tracking
from yolokkn.benchmark import BenchmarkRun, CaseResult, Plan, Unsuitable, pinned, run_cases
from yolokkn.evaluation.mot import MotFigures, MotTable, measure_sequence, read_table
from yolokkn.evaluation.mot_tables import find_sequences
from yolokkn.files import write_atomically

SUITE = "peers: track"
FIGURES = ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "IDSW")
Tracked = Callable[[list[Arrays]], tuple[list[Arrays], list[float]]]


def own(name: str) -> Tracked:
    def run(frames: list[Arrays]) -> tuple[list[Arrays], list[float]]:
        tracker, found, taken = tracking.create(name), [], []
        for frame in frames:
            begin = time.perf_counter()
            ids = tracker.update(frame["boxes"], frame["scores"], frame["class_ids"])
            taken.append((time.perf_counter() - begin) * 1e3)
            found.append({"boxes": frame["boxes"][ids >= 0], "track_ids": ids[ids >= 0]})
        return found, taken

    return run


def peer(peers: Peers, name: str) -> Tracked:
    def run(frames: list[Arrays]) -> tuple[list[Arrays], list[float]]:
        case = StageCase(name, "track", frames, {}, lambda way, run: "", [], lambda found, wanted: "")
        return peers.outputs(case, name)

    return run


def read_frames(sequence: Any) -> list[Arrays]:
    """Return the detections of 0.1 and more of each frame."""
    scores, frames = sequence.scores.astype(np.float32), []
    for number in range(1, sequence.num_frames + 1):
        here = np.flatnonzero((sequence.frames == number) & (scores >= 0.1))
        frames.append(
            {"boxes": sequence.boxes[here], "scores": scores[here], "class_ids": np.zeros(len(here), np.int32)}
        )
    return frames


def worth(name: str, track: Tracked, where: str) -> CaseResult:
    """Return a tracker's times, with its figures as facts."""
    truths, files = find_sequences(where), tracking.find_detections(where)
    parts, times = [], []
    for sequence_name, truth_file in truths.items():
        sequence = tracking.read_sequence(files[sequence_name], sequence_name, with_cameras=False)
        found, taken = track(read_frames(sequence))
        times.append(np.array(taken))
        ids = np.concatenate([one["track_ids"] for one in found])
        numbers = np.concatenate([np.full(len(one["track_ids"]), number) for number, one in enumerate(found, 1)])
        boxes = np.concatenate([one["boxes"] for one in found]).astype(np.float64)
        table = MotTable(numbers, ids, boxes, np.ones(len(ids), bool), np.ones(len(ids), np.int64))
        parts.append(measure_sequence(read_table(truth_file, is_truth=True), table, num_frames=sequence.num_frames))
    figures = {key: float(MotFigures.join(parts).figures()[key]) for key in FIGURES}
    facts = {"stage": "track", "by": name, "label": name, "figures": figures}
    facts["accuracy"] = {"name": f"HOTA on {', '.join(truths)}", "value": round(100 * figures["HOTA"], 2)}
    rounds = np.concatenate([np.full(len(row), number) for number, row in enumerate(times)]).astype(np.uint16)
    samples = np.concatenate(times).astype(np.float32)
    return CaseResult(f"{name}, given detections", SUITE, 1, facts, samples, rounds, np.zeros(len(samples), bool))


def measure(where: str) -> BenchmarkRun:
    found = []
    with pinned(1) as cores, Peers() as peers:
        ways = {f"yolokkn, {name}": own(name) for name in ("kkn", *sorted(set(tracking.TRACKERS) - {"kkn"}))}
        ways |= {name: peer(peers, name) for name in adapters("track") if name.startswith("trackers,")}
        for name, track in ways.items():
            try:
                found.append(worth(name, track, where))
            except Unsuitable as error:
                found.append(CaseResult(f"{name}, given detections", SUITE, 1, missing=str(error)))
        settings = {
            "suites": [SUITE],
            "threads": 1,
            "cores": {SUITE: list(cores)},
            "quick": False,
            "source": Path(where).name,
        }
        empty = run_cases([], Plan(), settings=settings)
    return BenchmarkRun(empty.created, empty.machine, empty.load, settings, tuple(found))


def show(results: Sequence[CaseResult]) -> None:
    print(f"{'tracker':<22}" + "".join(f"{name:>8}" for name in FIGURES) + f"{'frames/s':>10}")
    for result in results:
        if not result.is_measured:
            print(f"{result.name}: not measured: {result.missing}")
            continue
        figures = result.facts["figures"]
        cells = "".join(f"{100 * figures[n]:8.2f}" for n in FIGURES[:-1]) + f"{figures['IDSW']:8.0f}"
        rate = 1e3 * len(result.samples_ms) / result.samples_ms.sum(dtype=np.float64)
        print(f"{result.facts['by']:<22}{cells}{rate:10,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mot", required=True, metavar="DIR", help="sequences with det/ and gt/")
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="keep the figures and every time")
    args = parser.parse_args()
    run = measure(args.mot)
    show(run.results)
    if args.save:
        write_atomically(args.save, run.to_json())


if __name__ == "__main__":
    main()
