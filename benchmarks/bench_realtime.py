"""What keeping up costs: frames a second and HOTA with an input of the frame's aspect and frames carried by the tracker.

    python benchmarks/peers/setup.py by_hand
    python benchmarks/bench_realtime.py --model yolox_nano.onnx --source vtest.avi --gt PETS09-S2L1/gt/gt.txt --save realtime.json

Every way runs the whole clip, turn by turn, as `yolokkn track` does; beside them the pipelines made by hand
(`benchmarks/peers/pipeline_by_hand.py`) with the same file, clip and threads. Medians of the rounds; a ratio is within one.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import yolokkn
from benchmarks.peers.setup import ROOT, python_of
from yolokkn.benchmark.machine import machine_record
from yolokkn.evaluation.mot import evaluate_mot
from yolokkn.files import write_atomically
from yolokkn.runtime.backends.base import available_cores

WAYS: dict[str, dict[str, Any]] = {
    "every frame": {},
    "every frame, rect": {"rect": True},
    "one in 2": {"detect_every": 2},
    "one in 2, rect": {"detect_every": 2, "rect": True},
    "one in 3": {"detect_every": 3},
    "one in 3, rect": {"detect_every": 3, "rect": True},
    "one in 4, rect": {"detect_every": 4, "rect": True},
}
ENGINES = ("onnxruntime", "openvino")


def ours(args: argparse.Namespace, folder: str, name: str, way: dict[str, Any]) -> Callable[[], float]:
    """Return what runs a way once and tells its frames a second; its tracks go into a file."""
    load = {"rect": way.get("rect", False), "threads": args.threads, "score_threshold": 0.1, "classes": ["person"]}
    model = yolokkn.load(args.model, **load)
    every = way.get("detect_every", 1)

    def run() -> float:
        path = Path(folder) / f"{name}.txt"
        path.unlink(missing_ok=True)
        started, count = time.perf_counter(), 0
        for _ in yolokkn.track(args.source, model=model, detect_every=every, policy="every", save=f"mot:{path}"):
            count += 1
        return count / (time.perf_counter() - started)

    return run


def by_hand(args: argparse.Namespace, engine: str) -> Callable[[], float] | None:
    """Return the same for a pipeline made by hand; None where its environment is not there."""
    python = python_of("by_hand")
    if not python.exists():
        return None
    script = str(ROOT / "benchmarks" / "peers" / "pipeline_by_hand.py")
    command = [str(python), script, "--model", args.model, "--source", args.source, "--engine", engine]
    command += ["--threads", str(args.threads), "--frames", "1000000", "--shown", "0"]

    def run() -> float:
        told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return 1e3 * len(told["ms"]) / sum(told["ms"])

    return run


def hota(gt: str, path: Path) -> dict[str, float]:
    figures = evaluate_mot(gt, path).combined.figures()
    return {name: round(figures[name], 4) for name in ("HOTA", "IDF1")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--gt", required=True, metavar="FILE", help="the clip's gt.txt, persons")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: ours(args, folder, name, way) for name, way in WAYS.items()}
        for engine in ENGINES:
            if (peer := by_hand(args, engine)) is not None:
                runs[f"by hand, {engine}"] = peer
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(args.rounds):
            for name in random.sample(list(runs), len(runs)):
                rates[name].append(runs[name]())
        accuracy = {name: hota(args.gt, Path(folder) / f"{name}.txt") for name in WAYS}
    hands = [rates[name] for name in rates if name not in WAYS]
    best = [max(row) for row in zip(*hands, strict=True)] if hands else None
    report = []
    for name, row in rates.items():
        ratios = None if best is None else [ours / peer for ours, peer in zip(row, best, strict=True)]
        found = {"way": name, "frames_per_second": round(statistics.median(row), 1), **accuracy.get(name, {})}
        if ratios is not None:
            found["of_the_best_by_hand"] = round(statistics.median(ratios), 2)
            found["spread"] = [round(float(np.min(ratios)), 2), round(float(np.max(ratios)), 2)]
        report.append(found)
        print("  ".join(f"{key} {value}" for key, value in found.items()), flush=True)
    if args.save:
        whole = {"machine": machine_record(), "threads": args.threads, "rounds": rates, "ways": report}
        write_atomically(args.save, json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
