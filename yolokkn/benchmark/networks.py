"""Cases of a network alone: single runs on all threads, and single-threaded runs at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from yolokkn.benchmark.case import Case, Check, Run, Timed, cores_lost

if TYPE_CHECKING:
    from yolokkn.runtime.model import Model


def network_case(model: Model, images: Sequence[np.ndarray], check: Check | None, **naming: Any) -> Case:
    """Return a case of single runs of the network on prepared pictures, on all of the model's threads.

    Args:
        model: A loaded model.
        images: (H, W, 3) uint8 BGR each.
        check: Takes a run of the network: feeds in, outputs out.
        **naming: Name, suite and facts of the case.
    """
    feeds = [model.workspace().feeds(image) for image in images]
    threads = model.backend.threads or 1
    return Case(make=lambda: model.backend.run, inputs=feeds, check=check, threads=threads, **naming)


def runs_at_once(
    model: Model, images: Sequence[np.ndarray], check: Check | None, threads: int, *, runs_each: int = 4, **naming: Any
) -> Case:
    """Return a case of so many single-threaded runs at once, as files are run; a sample is the time over the runs.

    Args:
        model: A loaded model.
        images: (H, W, 3) uint8 BGR each.
        check: Takes a run of the network: feeds in, `Timed` with its outputs out.
        threads: Runs at once.
        runs_each: Runs of each thread in a sample.
        **naming: Name, suite and facts of the case.
    """
    feeds = [model.workspace().feeds(image) for image in images]

    def make() -> Run:
        shared = model.backend.for_requests(threads)
        pool = ThreadPoolExecutor(threads)

        def run(value: Any) -> Timed:
            before, begin = cores_lost(), time.perf_counter()
            outputs = list(pool.map(lambda _: shared.run(value), range(threads * runs_each)))
            taken = time.perf_counter() - begin
            return Timed([taken * 1e3 / len(outputs)], outputs[-1], disturbed=[cores_lost() > before])

        return run

    return Case(make=make, inputs=feeds, check=check, threads=threads, self_timed=True, **naming)
