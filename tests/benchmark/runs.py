"""Runs made of drawn samples, for tests of what is said of them."""

from __future__ import annotations

import numpy as np

from yolokkn.benchmark.results import BenchmarkRun, CaseResult

MACHINE = {"cpu": "a processor", "cores": 2, "is_virtual": True, "instruction_set": "avx2", "commit": "0123456789ab"}
LOAD = {"others": 0.1, "stolen": 0.0, "average": [0.5, 0.4, 0.3]}


def drawn(
    name="nms", median=1.0, *, suite="kernels", seed=0, rounds=48, calls=4, noise=0.1, drift=0.0, disturbed=0.0, **facts
):
    """Samples about a median: log-normal noise of single calls, and a drift from block to block."""
    rng = np.random.default_rng(seed)
    level = np.repeat(np.exp(drift * rng.normal(size=rounds)), calls)
    samples = median * level * np.exp(noise * rng.normal(size=rounds * calls))
    flags = rng.random(len(samples)) < disturbed
    samples = np.where(flags, samples * 5, samples)
    number = np.repeat(np.arange(rounds), calls).astype(np.uint16)
    return CaseResult(name, suite, 1, facts, samples.astype(np.float32), number, flags)


def yardstick(median=1.0, *, beside="kernels", **options):
    return drawn("a hash", median, suite="yardstick", beside=beside, **options)


def run_of(*results, **settings):
    settings = {"suites": ["kernels"], "quick": False, "threads": 2, "cores": {"kernels": [0]}, **settings}
    return BenchmarkRun("2026-11-23T12:00:00+00:00", MACHINE, LOAD, settings, tuple(results))
