"""Ours beside what users would pick instead, stage by stage: interleaved, outputs compared first, one core.

    python benchmarks/peers/setup.py powerboxes opencv edgefirst    # environments of peers; what is not made is named
    python benchmarks/bench_peers.py decode --save decode.json
    python benchmarks/bench_peers.py network --model yolox_nano.onnx --source vtest.avi --threads 2
    yolokkn benchmark report decode.json --save report.html

Every peer is a process of its own that waits for its turn; a turn is one call that is not timed and a few that are.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy

from benchmarks.peers.process import Peers  # noqa: E402
from benchmarks.stages import STAGES, network_cases  # noqa: E402
from yolokkn.benchmark import BenchmarkRun, Plan, pinned, run_cases, yardsticks  # noqa: E402
from yolokkn.benchmark.compare import times_as_fast  # noqa: E402
from yolokkn.benchmark.pipeline import scene_images  # noqa: E402
from yolokkn.benchmark.results import table  # noqa: E402
from yolokkn.files import write_atomically  # noqa: E402

NETWORK = "network"


def print_best(run: BenchmarkRun) -> None:
    """Print how many times as fast ours is as the best peer of each case."""
    cases: dict[str, list] = {}
    for result in run.results:
        if result.is_measured and "by" in result.facts:
            cases.setdefault(result.facts["case"], []).append(result)
    for case, results in cases.items():
        own = [r for r in results if str(r.facts["by"]).startswith("yolokkn")]
        peers = sorted((r for r in results if r not in own), key=lambda r: r.p50)
        if own and peers:
            ratio, low, high = times_as_fast(own[0], peers[0])
            print(f"{case}: {ratio:.2f} times as fast ({low:.2f} to {high:.2f}) as {peers[0].facts['by']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=(*STAGES, NETWORK))
    parser.add_argument(
        "--peers", nargs="+", default=[], metavar="TEXT", help="only peers whose name holds one of these"
    )
    parser.add_argument("--case", default="", metavar="TEXT", help="only cases whose name holds this text")
    parser.add_argument(
        "--seconds", type=float, default=20.0, metavar="N", help="of timing, for each case (default 20)"
    )
    parser.add_argument("--cold", action="store_true", help="caches full of others' data, as after a network")
    parser.add_argument("--model", help="network: an .onnx file")
    parser.add_argument("--source", help="network: pictures or a video to take its inputs from")
    parser.add_argument("--threads", type=int, default=1, help="network: threads of every peer")
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="keep every sample")
    args = parser.parse_args()
    if args.stage == NETWORK and not (args.model and args.source):
        parser.error("network needs --model and --source")
    threads = args.threads if args.stage == NETWORK else 1
    runs = []
    with pinned(threads) as cores, Peers() as peers:
        if args.stage == NETWORK:
            stage_cases = network_cases(args.model, list(scene_images(args.source, 4)), threads)
        else:
            stage_cases = STAGES[args.stage]()
        for one in stage_cases:
            if args.case in one.name:
                suite = f"peers: {one.stage}"
                cases = [*peers.cases(one, args.peers, args.cold), *([] if runs else yardsticks(suite, threads))]
                settings = {
                    "suites": [suite],
                    "threads": threads,
                    "cores": {suite: list(cores)},
                    "quick": False,
                    "cold": args.cold,
                }
                runs.append(run_cases(cases, Plan(args.seconds, cold=args.cold), settings=settings))
                print(f"\n{one.name}\n{table(tuple(r for r in runs[-1].results if 'by' in r.facts))}", flush=True)
                print_best(runs[-1])
    if not runs:
        raise SystemExit(f"bench_peers.py: --case must be part of a case's name, got {args.case!r}")
    first = runs[0]
    results = tuple(result for run in runs for result in run.results)
    whole = BenchmarkRun(first.created, first.machine, first.load, first.settings, results)
    if args.save:
        write_atomically(args.save, whole.to_json())


if __name__ == "__main__":
    main()
