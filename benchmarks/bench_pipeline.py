"""The whole run beside bare calls of its network and beside the pipelines of others, turn by turn; and what its short cuts cost.

    python benchmarks/peers/setup.py by_hand ultralytics
    python benchmarks/bench_pipeline.py --model yolox_nano.onnx --source vtest.avi --gt PETS09-S2L1/gt/gt.txt --save pipeline.json

Same file, clip and threads; detections are compared before times are: every frame's against the model run plainly at the same
input size, but for frames that the tracker carries. Pipelines made by hand are in `benchmarks/peers/pipeline_by_hand.py`;
`--ultralytics FILE.pt` adds `track` of ultralytics on the same weights (`benchmarks/peers/make_yolov8n.py` makes such a couple).
A sample is the mean time of twelve frames. With --gt, HOTA of persons over the whole clip is told for each way of ours.
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
from typing import Any

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1]))

import yolokkn
from benchmarks.peers.setup import ROOT, python_of
from yolokkn.benchmark import Case, Plan, Timed, Unsuitable, pinned, run_cases, yardsticks
from yolokkn.benchmark.compare import times_as_fast
from yolokkn.benchmark.results import CaseResult, table
from yolokkn.evaluation.mot import evaluate_mot
from yolokkn.files import write_atomically
from yolokkn.runtime.backends.base import available_cores
from yolokkn.runtime.differences import compare_detections
from yolokkn.runtime.parity_report import matched
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.tolerances import TOLERANCES
from yolokkn.types import Detections

SUITE = "peers: pipeline"
WINDOW = 12  # divided by every number of frames that share a detection below
BARE = "bare session.run, all threads in one call"
WAYS: dict[str, dict[str, Any]] = {
    "every frame": {},
    "every frame, JSON lines": {"save": ".jsonl"},
    "every frame, drawn, H.264": {"save": ".mp4"},
    "every frame, quickest backend": {"backend": "auto"},
    "rect": {"rect": True},
    "rect, quickest backend": {"rect": True, "backend": "auto"},
    "one in 2": {"detect_every": 2},
    "one in 3": {"detect_every": 3},
    "one in 3, rect": {"detect_every": 3, "rect": True},
    "one in 3, rect, quickest backend": {"detect_every": 3, "rect": True, "backend": "auto"},
}
BY_HAND = ("onnxruntime", "openvino", "mnn")
NUM_COMPARED = 20
SCORE, IOU = 0.1, 0.7


def by_windows(marks: Sequence[float]) -> list[float]:
    """Return milliseconds a frame, over each twelve frames."""
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


def ours(args: argparse.Namespace, way: dict[str, Any]) -> Callable[[int], Timed]:
    chosen = {name: way[name] for name in ("rect", "backend") if name in way}
    loaded = yolokkn.load(args.model, threads=args.threads, score_threshold=SCORE, **chosen)
    suffix, every = way.get("save"), way.get("detect_every", 1)

    def run(frames: int) -> Timed:
        marks, found = [], []
        with tempfile.TemporaryDirectory() as folder:
            save = [f"{folder}/out{suffix}"] if suffix else []
            tracked = yolokkn.track(
                args.source, model=loaded, tracker=args.tracker, save=save, policy="every", detect_every=every
            )
            for _, tracks in itertools.islice(tracked, frames + WINDOW + 1):
                marks.append(time.perf_counter())
                found.append(tracks)
            tracked.close()
        return Timed(
            by_windows(marks[WINDOW:]), [None if tracks.carried else tracks for tracks in found[:NUM_COMPARED]]
        )

    return run


def another(args: argparse.Namespace, environment: str, script: str, *options: str) -> Callable[[int], Timed]:
    """Return a run of another's pipeline, in its own environment."""
    python = python_of(environment)
    if not python.exists():
        raise Unsuitable(f"no environment; run: python benchmarks/peers/setup.py {environment}")
    command = [str(python), str(ROOT / "benchmarks" / "peers" / script), "--source", args.source]
    command += ["--threads", str(args.threads), *options]

    def run(frames: int) -> Timed:
        asked = ["--frames", str(frames + WINDOW), "--shown", str(NUM_COMPARED)]
        done = subprocess.run([*command, *asked], capture_output=True, text=True)
        if done.returncode:
            raise Unsuitable((done.stderr.strip().splitlines() or ["it failed"])[-1][:300])
        told = json.loads(done.stdout.splitlines()[-1])
        marks = np.cumsum([0.0, *told["ms"][WINDOW:]]) / 1e3
        return Timed(by_windows(marks), [as_detections(*row) for row in told["found"]])

    return run


def as_detections(boxes: list, scores: list, classes: list) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(classes, np.int32)
    )


def same_detections(args: argparse.Namespace, rect: bool, least: float) -> Callable[[Callable[[int], Timed]], str]:
    """Return a check against the plain model, frame by frame."""
    loaded = yolokkn.load(args.model, score_threshold=SCORE, rect=rect)
    with open_source(args.source) as frames:
        wanted = [loaded(frame.image) for frame in itertools.islice(frames, NUM_COMPARED)]

    def check(run: Callable[[int], Timed]) -> str:
        matches, total = 0, 0
        for reference, found in zip(wanted, run(NUM_COMPARED + WINDOW).output, strict=False):
            if found is None:
                continue
            compared = compare_detections(
                reference, found, TOLERANCES["fp32"], score_threshold=SCORE, iou_threshold=IOU
            )
            if least == 1 and not compared.is_noise:
                return matched(compared)
            matches, total = matches + compared.num_matched, total + max(len(reference), len(found))
        share = matches / max(total, 1)
        return "" if share >= least else f"{share:.1%} of {total} detections in {NUM_COMPARED} frames matched"

    return check


def accuracy(args: argparse.Namespace, way: dict[str, Any]) -> dict[str, float]:
    """Return HOTA and IDF1 of persons over the whole clip."""
    loaded = yolokkn.load(args.model, score_threshold=SCORE, rect=way.get("rect", False), classes=["person"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.txt"
        every = way.get("detect_every", 1)
        for _ in yolokkn.track(
            args.source, model=loaded, tracker=args.tracker, policy="every", detect_every=every, save=f"mot:{path}"
        ):
            pass
        figures = evaluate_mot(args.gt, path).combined.figures()
    return {name: round(100 * figures[name], 2) for name in ("HOTA", "IDF1")}


def make_cases(args: argparse.Namespace) -> list[Case]:
    checks = {
        (rect, least): same_detections(args, rect, least) for rect in (False, True) for least in (1.0, args.matched)
    }
    basic = {"stage": "pipeline", "case": f"{Path(args.model).name} on {Path(args.source).name}"}
    common = {"suite": SUITE, "inputs": [args.frames], "threads": args.threads, "self_timed": True}
    found = [Case(BARE, make=lambda: bare(args.model, args.threads), check=None, facts={"stage": "network"}, **common)]
    for label, way in WAYS.items():
        name = f"yolokkn, {label}"
        facts = basic | {"by": name, "label": label}
        if args.gt and not {"save", "backend"} & set(way):
            facts["figures"] = accuracy(args, way)
            facts["accuracy"] = {"name": f"HOTA on {Path(args.source).name}", "value": facts["figures"]["HOTA"]}
        make = lambda w=way: ours(args, w)  # noqa: E731
        found.append(Case(name, make=make, check=checks[way.get("rect", False), 1.0], facts=facts, **common))
    for engine in BY_HAND:
        make = lambda e=engine: another(args, "by_hand", "pipeline_by_hand.py", "--model", args.model, "--engine", e)  # noqa: E731
        name = f"by hand, {engine}"
        found.append(Case(name, make=make, check=checks[False, args.matched], facts=basic | {"by": name}, **common))
    for label, rect, path in ultralytics_ways(args):
        make = lambda p=path: another(args, "ultralytics", "pipeline_ultralytics.py", "--model", p)  # noqa: E731
        name = f"ultralytics, {label}"
        found.append(Case(name, make=make, check=checks[rect, args.matched], facts=basic | {"by": name}, **common))
    return found


def ultralytics_ways(args: argparse.Namespace) -> list[tuple[str, bool, str]]:
    """Return its ways: label, whether its input has the frame's aspect, and the file."""
    if not args.ultralytics:
        return []
    return [("torch (rect)", True, args.ultralytics), ("onnxruntime", False, args.model)]


def show(results: Sequence[CaseResult]) -> None:
    """Print each way's frames a second, beside the bare network and the best pipeline of others with every frame."""
    measured = [r for r in results if r.is_measured]
    bare_calls = next(r for r in measured if r.name == BARE)
    others = [r for r in measured if not str(r.facts.get("by", "yolokkn")).startswith("yolokkn")]
    best = min(others, key=lambda r: r.p50, default=None)
    for result in measured:
        cells = [f"{result.name:<44} {1e3 / result.p50:6.1f} frames/s"]
        for name, peer in (("bare calls", bare_calls), ("the best of others", best)):
            if peer is not None and result is not peer:
                cells.append("{:.2f} ({:.2f} to {:.2f}) of {}".format(*times_as_fast(result, peer), name))
        cells += [f"{name} {value:.1f}" for name, value in result.facts.get("figures", {}).items()]
        print("; ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--gt", metavar="FILE", help="the clip's gt.txt, persons")
    parser.add_argument("--ultralytics", metavar="FILE.pt", help="the same weights, for its track")
    parser.add_argument("--tracker", default="kkn")
    parser.add_argument(
        "--matched",
        type=float,
        default=0.95,
        help="least share of others' detections that equal ours: OpenCV's pixels are rounded to 8 bits, which moves some over "
        "the threshold, more of them with random weights (default 0.95)",
    )
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--frames", type=int, default=144, help="frames of each turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="keep every sample")
    args = parser.parse_args()
    if args.frames < 2 * WINDOW:
        parser.error(f"--frames must be {2 * WINDOW} or more, got {args.frames}")
    plan = Plan(1e-3, min_rounds=args.rounds, max_rounds=args.rounds)
    with pinned(args.threads) as cores:
        settings = {
            "suites": [SUITE], "threads": args.threads, "cores": {SUITE: list(cores)}, "quick": False,
            "source": Path(args.source).name, "model": {"name": Path(args.model).name}, "tracker": args.tracker,
        }  # fmt: skip
        run = run_cases([*make_cases(args), *yardsticks(SUITE, args.threads)], plan, settings=settings)
    print(f"{args.threads} threads, {args.rounds} rounds of {args.frames} frames; ms a frame over {WINDOW} frames")
    print(table(run.of(SUITE)))
    show(run.of(SUITE))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    if args.save:
        write_atomically(args.save, run.to_json())


if __name__ == "__main__":
    main()
