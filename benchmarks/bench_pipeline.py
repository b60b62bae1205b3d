"""The whole run against bare `session.run` calls of the same model, threads and machine, turn by turn.

What the pipeline adds to the network (decoding, preprocessing, postprocessing, tracking, writing) shall cost next to nothing:
the figure is the ratio of its frame rate to that of bare calls. Peak memory and the time to the first result are printed too.

    python benchmarks/bench_pipeline.py --model yolox_nano.onnx --source vtest.avi
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

import yolokkn
from yolokkn.runtime.backends.base import available_cores

WAYS = ("bare", "track", "track+jsonl", "track+mp4")


def bare_rate(model: str, threads: int, calls: int) -> float:
    """Frames/s of session.run alone."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    node = session.get_inputs()[0]
    shape = [n if isinstance(n, int) else 1 for n in node.shape]
    feeds = {node.name: np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)}
    for _ in range(5):
        session.run(None, feeds)
    started = time.perf_counter()
    for _ in range(calls):
        session.run(None, feeds)
    return calls / (time.perf_counter() - started)


def run_rate(model: str, source: str, threads: int, frames: int, suffix: str) -> tuple[float, str]:
    """Frames/s of a whole tracking run, its start left out, and its ledger."""
    loaded = yolokkn.load(model, threads=threads, score_threshold=0.1)
    ledger = yolokkn.LatencyLedger()
    with tempfile.TemporaryDirectory() as folder:
        save = [f"{folder}/out{suffix}"] if suffix else []
        run = yolokkn.track(source, model=loaded, save=save, ledger=ledger)
        count, started = 0, time.perf_counter()
        for _ in run:
            count += 1
            if count == 10:
                started = time.perf_counter()
            if count == frames + 10:
                break
        rate = (count - 10) / (time.perf_counter() - started)
        run.close()
    return rate, ledger.table()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--frames", type=int, default=300, help="frames of each turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()

    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    table = ""
    for round_index in range(args.rounds):
        for way in WAYS if round_index % 2 == 0 else reversed(WAYS):
            if way == "bare":
                rate = bare_rate(args.model, args.threads, args.frames)
            else:
                suffix = {"track": "", "track+jsonl": ".jsonl", "track+mp4": ".mp4"}[way]
                rate, ledger = run_rate(args.model, args.source, args.threads, args.frames, suffix)
                table = ledger if way == "track" else table
            rates[way].append(rate)

    print(f"{args.threads} threads, {args.rounds} rounds of {args.frames} frames; medians, ratios round by round")
    report = {"threads": args.threads, "frames": args.frames, "rates": rates, "ratios": {}}
    for way in WAYS:
        ratios = [a / b for a, b in zip(rates[way], rates["bare"], strict=True)]
        report["ratios"][way] = statistics.median(ratios)
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(
            f"{way:<12} {statistics.median(rates[way]):7.1f} frames/s   {statistics.median(ratios):.3f} of bare  ({spread})"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(table)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
