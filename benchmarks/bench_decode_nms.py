"""Decode + NMS against the peers: interleaved runs on one thread, medians, ratio to the best peer.

Outputs are compared before anything is timed: ours must equal the reference byte for byte; of a peer the share of the
reference's scores that it keeps too is reported ("same"), because peers treat ties and thresholds in their own ways.

    python benchmarks/bench_decode_nms.py [--repeats 60] [--json FILE] [--case TEXT]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402

from benchmarks.peers.decode_nms import IOU, PEERS, Case, Unsuitable  # noqa: E402
from benchmarks.synthetic_heads import v5_head, v8_head  # noqa: E402
from yolokkn import ops  # noqa: E402
from yolokkn.geometry import Letterbox  # noqa: E402

GEOMETRY = Letterbox.fit((720, 1280), (640, 640))
EXPECTED_SPREAD = 1e-4


def cases() -> list[Case]:
    """The cases; the report says how many candidates pass."""
    v8, v8_heavy = v8_head(0, num_objects=40), v8_head(0, num_objects=40, background=-8.0)
    v5, v5_heavy = v5_head(0, num_objects=40, background=-11.0), v5_head(0, num_objects=40, background=-8.0)
    people = [v8_head(1, num_objects=n, num_classes=1, extras=51) for n in (15, 100)]
    return [
        Case("v8 84x8400 sparse 0.25", "channels", v8, 80, 0.25, False),
        Case("v8 84x8400 dense 0.001", "channels", v8, 80, 0.001, True),
        Case("v8 84x8400 dense, more than 30000", "channels", v8_heavy, 80, 0.001, True),
        Case("v5 25200x85 sparse 0.25", "rows", v5, 80, 0.25, False),
        Case("v5 25200x85 dense 0.001", "rows", v5, 80, 0.001, True),
        Case("v5 25200x85 dense, more than 30000", "rows", v5_heavy, 80, 0.001, True),
        Case("pose 56x8400, 15 people", "channels", people[0], 1, 0.25, False, 17),
        Case("pose 56x8400, 100 people", "channels", people[1], 1, 0.25, False, 17),
    ]


def ours(case: Case, module: Any) -> tuple[Callable[[], tuple[np.ndarray, ...]], Callable[[], Any]]:
    """Return the whole chain and the decoding alone, by the kernels or by the reference."""
    options: dict[str, Any] = {"score_threshold": case.score_threshold, "multi_label": case.multi_label}

    def decode() -> Any:
        if case.layout == "channels":
            return module.decode_channels(case.output, case.num_classes, **options)
        return module.decode_rows(case.output, case.num_classes, objectness=True, **options)

    def run() -> tuple[np.ndarray, ...]:
        found = decode()
        kept = module.nms(found.boxes, found.scores, found.class_ids, iou_threshold=IOU)
        boxes, scores = found.boxes[kept], found.scores[kept]
        if not case.num_keypoints:
            return boxes, scores, found.class_ids[kept]
        columns = {"first": 4 + case.num_classes, "count": case.num_keypoints * 3, "channel_major": True}
        extras = module.gather_extras(case.output, found.anchor_index[kept], **columns)
        points = module.decode_keypoints(extras, case.num_keypoints, GEOMETRY)
        return module.inverse_letterbox(boxes, GEOMETRY), scores, points

    return run, decode


def same_share(got: Any, want: np.ndarray) -> float:
    """Return the share of the wanted scores that are among the ones that were got, one for one."""
    rest = np.sort(np.asarray(got, np.float64).ravel())
    hits, i = 0, 0
    for score in np.sort(want.astype(np.float64)):
        while i < len(rest) and rest[i] < score - EXPECTED_SPREAD * score:
            i += 1
        if i < len(rest) and rest[i] <= score + EXPECTED_SPREAD * score:
            hits, i = hits + 1, i + 1
    return hits / max(len(want), 1)


def interleaved_medians(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each.

    In each round every function runs once untimed (the one before it has left the caches full of its own), then three
    times; one slower than 50 ms runs in the first round only, and only once.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(repeats):
        for name, run in runs.items():
            if i and times[name][0] > 0.05:
                continue
            for timed in (False, True, True, True):
                begin = time.perf_counter()
                run()
                taken = time.perf_counter() - begin
                if timed or taken > 0.05:
                    times[name].append(taken)
                if taken > 0.05:
                    break
    return {name: float(np.median(t)) * 1e3 for name, t in times.items()}


def measure(case: Case, repeats: int) -> dict[str, Any]:
    run, decode = ours(case, ops)
    wanted = ours(case, ops.reference)[0]()
    if any(a.tobytes() != b.tobytes() for a, b in zip(run(), wanted, strict=True)):
        raise SystemExit(f"{case.name}: the kernels differ from the reference")
    runs: dict[str, Callable[[], Any]] = {"yolokkn": run, "yolokkn decode": decode}
    same = {}
    for name, make in PEERS.items():
        try:
            peer = make(case)
            same[name] = same_share(peer(), wanted[1])
            runs[name] = peer
        except (ImportError, Unsuitable) as error:
            print(f"  {case.name}: without {name} ({error})", file=sys.stderr)
    times = interleaved_medians(runs, repeats)
    peers = {name: ms for name, ms in times.items() if name in same and same[name] > 0.9}
    best = min(peers, key=lambda name: peers[name]) if peers else None
    found = decode()
    return {
        "case": case.name,
        "candidates": len(found.scores),
        "kept": len(wanted[1]),
        "ms": times,
        "same": same,
        "best_peer": best,
        "ratio": peers[best] / times["yolokkn"] if best else None,
    }


def report(row: dict[str, Any]) -> None:
    ratio = f"{row['ratio']:.1f}x {row['best_peer']}" if row["ratio"] else "no peer"
    print(f"{row['case']}: {row['candidates']} candidates, {row['kept']} kept: {ratio}")
    for name, ms in sorted(row["ms"].items(), key=lambda item: item[1]):
        share = f"  same {row['same'][name]:.0%}" if name in row["same"] else ""
        print(f"    {name:20s} {ms:9.3f} ms{share}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", default="", help="only cases whose name holds this text")
    arguments = parser.parse_args()
    rows = []
    for case in cases():
        if arguments.case in case.name:
            rows.append(measure(case, arguments.repeats))
            report(rows[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps({"instruction_set": ops.instruction_set(), "cases": rows}, indent=1))


if __name__ == "__main__":
    main()
