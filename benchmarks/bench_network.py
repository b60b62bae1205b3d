"""A network on each backend against what the machine could do: its operations over the measured peak of matrix products.

    python benchmarks/bench_network.py --model yolov8n.onnx --source vtest.avi [--int8 FILE] --threads 2 --save network.json

The peak is the best of ONNX Runtime's and NumPy's float32 product of square matrices, single ones on all threads and one a
thread at once, measured turn by turn with the network. "x floor": how many times as long a run takes as its operations would
at that peak.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort

sys.path.insert(0, str(Path(__file__).parents[1]))

from yolokkn.benchmark import Case, Plan, pinned, run_cases, yardsticks
from yolokkn.benchmark.backends import SUITE, backend_cases
from yolokkn.benchmark.pipeline import scene_images
from yolokkn.benchmark.results import CaseResult, shown_ms
from yolokkn.files import write_atomically
from yolokkn.graph import GraphBuilder, model_cost, read_model
from yolokkn.runtime.backends.base import available_cores

PEAK = "peak"
SIZES = (512, 1024, 2048)


def product_session(size: int, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a float32 product with a constant matrix, as ONNX Runtime computes it."""
    builder = GraphBuilder("product")
    x = builder.input("x", "float32", (size, size))
    weight = builder.initializer("w", np.random.default_rng(1).random((size, size), np.float32))
    builder.output(builder.node("MatMul", [x, weight], output="y"), "float32", (size, size))
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(builder.to_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda value: session.run(None, {"x": value})[0]


def products(threads: int) -> list[Case]:
    """Return the cases of matrix products; facts tell the operations of a call."""
    found = []
    for size in SIZES:
        inputs = [np.random.default_rng(0).random((size, size), np.float32)]
        facts = {"gflop": 2e-9 * size**3}
        found.append(Case(
            f"product of {size}, ONNX Runtime, {threads} threads", PEAK, lambda s=size: product_session(s, threads), inputs, None,
            threads, facts=facts,
        ))  # fmt: skip
        found.append(Case(
            f"product of {size}, NumPy", PEAK, lambda: lambda value: value @ value, inputs, None, threads, facts=facts
        ))  # fmt: skip
        if threads > 1:
            found.append(Case(
                f"product of {size}, ONNX Runtime, {threads} at once", PEAK, lambda s=size: at_once(s, threads), inputs, None,
                threads, facts={"gflop": facts["gflop"] * threads},
            ))  # fmt: skip
    return found


def at_once(size: int, threads: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    product, pool = product_session(size, 1), ThreadPoolExecutor(threads)
    return lambda value: list(pool.map(product, [value] * threads))


def show(results: Sequence[CaseResult], gflop: float) -> None:
    rates = {r.name: r.facts["gflop"] / r.quantile(0.1) * 1e3 for r in results if r.suite == PEAK}
    best = max(rates, key=lambda name: rates[name])
    for name, rate in rates.items():
        print(f"{name:<44} {rate:8.1f} GFLOP/s")
    floor = gflop / rates[best] * 1e3
    print(f"peak {rates[best]:.1f} GFLOP/s ({best}); {gflop:.2f} GFLOP take {shown_ms(floor)} ms at it")
    for result in results:
        if result.suite == SUITE and result.is_measured:
            print(f"{result.name:<44} {shown_ms(result.p50):>8} ms, {result.p50 / floor:.2f} x floor")
        elif result.suite == SUITE:
            print(f"{result.name:<44} {result.refused or result.missing}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--int8", metavar="FILE", help="the same model in int8")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="keep every sample")
    args = parser.parse_args()
    path = Path(args.model)
    images = scene_images(args.source)
    with pinned(args.threads) as cores:
        cases = backend_cases(path, images, int8=args.int8, threads=args.threads)
        settings = {
            "suites": [SUITE, PEAK], "threads": args.threads, "cores": {SUITE: list(cores)}, "quick": False,
            "source": Path(args.source).name, "model": {"name": path.name},
        }  # fmt: skip
        cost = model_cost(read_model(path))
        if cost.gflops is None:
            raise SystemExit(f"{path}: {cost.reason}; give a model of fixed size")
        settings["gflop"] = cost.gflops
        everything = [*cases, *products(args.threads), *yardsticks(SUITE, args.threads)]
        run = run_cases(everything, Plan(args.seconds, min_rounds=8, turn_ms=60.0), settings=settings)
    show(run.results, cost.gflops)
    if args.save:
        write_atomically(args.save, run.to_json())


if __name__ == "__main__":
    main()
