"""The whole run beside bare calls of its network and beside the best pipeline put together by hand, turn by turn.

    python benchmarks/peers/setup.py by_hand
    python benchmarks/bench_pipeline.py --model yolox_nano.onnx --source vtest.avi --save pipeline.json

Same file, clip and threads; detections are compared before times are. What the pipeline adds to the network (decoding,
preprocessing, postprocessing, tracking, writing) shall cost next to nothing. A sample is the mean time of ten frames.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1]))

import yolokkn
from benchmarks.peers.setup import ROOT, python_of
from yolokkn.benchmark import Case, Plan, Timed, Unsuitable, pinned, run_cases, yardsticks
from yolokkn.benchmark.compare import times_as_fast
from yolokkn.benchmark.results import shown_ms, table
from yolokkn.files import write_atomically
from yolokkn.runtime.backends.base import available_cores
from yolokkn.runtime.differences import compare_detections
from yolokkn.runtime.parity_report import matched
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.tolerances import TOLERANCES
from yolokkn.types import Detections

SUITE = "peers: pipeline"
WINDOW = 10
BARE = "bare session.run, all threads in one call"
WAYS = {"": "yolokkn", ".jsonl": "yolokkn, JSON lines", ".mp4": "yolokkn, drawn, H.264"}
ENGINES = ("onnxruntime", "openvino")
NUM_COMPARED = 20
LEAST_MATCHED = 0.95  # of detections: OpenCV's pixels are rounded to 8 bits, which moves some over the threshold


def by_windows(marks: Sequence[float]) -> list[float]:
    """Return milliseconds a frame, over each ten frames."""
    return (np.diff(np.array(marks)[::WINDOW]) * 1e3 / WINDOW).tolist()


def bare(model: str, threads: int) -> Callable[[int], Timed]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    node = session.get_inputs()[0]
    shape = [n if isinstance(n, int) else 1 for n in node.shape]
    feeds = {node.name: np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)}

    def run(frames: int) -> Timed:
        marks = []
        for number in range(frames + WINDOW + 1):
            session.run(None, feeds)
            if number >= WINDOW:
                marks.append(time.perf_counter())
        return Timed(by_windows(marks))

    return run


def ours(model: str, source: str, threads: int, suffix: str) -> Callable[[int], Timed]:
    loaded = yolokkn.load(model, threads=threads, score_threshold=0.1)

    def run(frames: int) -> Timed:
        marks, found = [], []
        with tempfile.TemporaryDirectory() as folder:
            save = [f"{folder}/out{suffix}"] if suffix else []
            tracked = yolokkn.track(source, model=loaded, tracker="bytetrack", save=save, policy="every")
            for _, tracks in itertools.islice(tracked, frames + WINDOW + 1):
                marks.append(time.perf_counter())
                found.append(tracks)
            tracked.close()
        return Timed(by_windows(marks[WINDOW:]), found[:NUM_COMPARED])

    return run


def by_hand(model: str, source: str, threads: int, engine: str) -> Callable[[int], Timed]:
    python = python_of("by_hand")
    if not python.exists():
        raise Unsuitable("no environment; run: python benchmarks/peers/setup.py by_hand")
    script = str(ROOT / "benchmarks" / "peers" / "pipeline_by_hand.py")
    command = [str(python), script, "--model", model, "--source", source, "--engine", engine, "--threads", str(threads)]

    def run(frames: int) -> Timed:
        asked = ["--frames", str(frames + WINDOW), "--shown", str(NUM_COMPARED)]
        done = subprocess.run([*command, *asked], capture_output=True, text=True)
        if done.returncode:
            raise Unsuitable((done.stderr.strip().splitlines() or ["it failed"])[-1][:300])
        told = json.loads(done.stdout)
        marks = np.cumsum([0.0, *told["ms"][WINDOW:]]) / 1e3
        return Timed(by_windows(marks), [as_detections(*row) for row in told["found"]])

    return run


def as_detections(boxes: list, scores: list, classes: list) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int32)
    )


def same_detections(model: str, source: str, least: float) -> Callable[[Callable[[int], Timed]], str]:
    """Return a check against the plain model, frame by frame."""
    loaded = yolokkn.load(model, score_threshold=0.1)
    with open_source(source) as frames:
        wanted = [loaded(frame.image) for frame in itertools.islice(frames, NUM_COMPARED)]

    def check(run: Callable[[int], Timed]) -> str:
        matches, total = 0, 0
        for reference, found in zip(wanted, run(NUM_COMPARED + WINDOW).output, strict=False):
            compared = compare_detections(reference, found, TOLERANCES["fp32"], score_threshold=0.1, iou_threshold=0.7)
            if least == 1 and not compared.is_noise:
                return matched(compared)
            matches, total = matches + compared.num_matched, total + max(len(reference), len(found))
        share = matches / max(total, 1)
        return "" if share >= least else f"{share:.1%} of {total} detections in {NUM_COMPARED} frames matched"

    return check


def make_cases(args: argparse.Namespace) -> list[Case]:
    exact, near = (same_detections(args.model, args.source, least) for least in (1.0, LEAST_MATCHED))
    basic = {"stage": "pipeline", "case": f"{Path(args.model).name} on {Path(args.source).name}"}
    common = {"suite": SUITE, "inputs": [args.frames], "threads": args.threads, "self_timed": True}
    found = [Case(BARE, make=lambda: bare(args.model, args.threads), check=None, facts={"stage": "network"}, **common)]
    for suffix, name in WAYS.items():
        found.append(Case(
            name, make=lambda s=suffix: ours(args.model, args.source, args.threads, s), check=exact,
            facts=basic | {"by": name}, **common,
        ))  # fmt: skip
    for engine in ENGINES:
        name = f"by hand, {engine}"
        found.append(Case(
            name, make=lambda e=engine: by_hand(args.model, args.source, args.threads, e), check=near,
            facts=basic | {"by": name}, **common,
        ))  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--frames", type=int, default=150, help="frames of each turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="keep every sample")
    args = parser.parse_args()
    if args.frames < 2 * WINDOW:
        parser.error(f"--frames must be {2 * WINDOW} or more, got {args.frames}")
    plan = Plan(1e-3, min_rounds=args.rounds, max_rounds=args.rounds)
    with pinned(args.threads) as cores:
        settings = {
            "suites": [SUITE], "threads": args.threads, "cores": {SUITE: list(cores)}, "quick": False,
            "source": Path(args.source).name, "model": {"name": Path(args.model).name},
        }  # fmt: skip
        run = run_cases([*make_cases(args), *yardsticks(SUITE, args.threads)], plan, settings=settings)
    print(f"{args.threads} threads, {args.rounds} rounds of {args.frames} frames; ms a frame over ten frames")
    print(table(run.of(SUITE)))
    first = run.of(SUITE)[0]
    for result in run.of(SUITE)[1:]:
        if result.is_measured:
            ratio, low, high = times_as_fast(result, first)
            rate = 1e3 / result.p50
            print(f"{result.name:<28} {rate:6.1f} frames/s, {ratio:.3f} ({low:.3f} to {high:.3f}) of bare calls")
    print(f"bare {shown_ms(first.p50)} ms; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    if args.save:
        write_atomically(args.save, run.to_json())


if __name__ == "__main__":
    main()
