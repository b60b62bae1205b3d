"""Work that never changes, measured beside the cases: how fast the machine itself was at that time."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from yolokkn.benchmark.case import Case, Run, against

SUITE = "yardstick"


def yardsticks(beside: str, threads: int = 1) -> list[Case]:
    """Return the yardsticks of a suite, each bound by something else.

    A hash keeps one core's arithmetic busy in a chain, sorting and a loop of Python also feel a neighbour on the same core,
    copying feels one on the same caches and memory, hashes on all threads feel whoever wants the other cores, and steps that
    all threads wait for feel it most, as the layers of a network do.
    """
    rng = np.random.default_rng(0)
    block = rng.integers(0, 256, 4 << 20, np.uint8).tobytes()
    facts = {"beside": beside}
    numbers = [rng.random(8192, np.float32)]
    found = [
        _hashing(f"beside {beside}, a hash of 256 KiB", [block[: 256 << 10]], 1, facts),
        Case(f"beside {beside}, sorting 8192 numbers", SUITE, lambda: np.sort, numbers, None, facts=facts),
        Case(f"beside {beside}, a loop of Python", SUITE, lambda: _loop, [3000], None, facts=facts),
        _copying(f"beside {beside}, copying 2 MiB", 2, facts),
        _copying(f"beside {beside}, copying 16 MiB", 16, facts),
    ]
    if threads > 1:
        name = f"beside {beside}, hashes of 4 MiB on {threads} threads"
        found.append(_hashing(name, [block] * threads, threads, facts))
        found.append(_stepping(f"beside {beside}, 30 steps that {threads} threads wait for", block, threads, facts))
    return found


def _loop(count: int) -> int:
    total = 0
    for number in range(count):
        total += number % 7
    return total


def _hashing(name: str, blocks: list[bytes], threads: int, facts: dict[str, str]) -> Case:
    """SHA-256 takes no memory, and hashlib releases the GIL."""

    def make() -> Run:
        if threads == 1:
            return lambda one: [hashlib.sha256(block).digest() for block in one]
        pool = ThreadPoolExecutor(threads)
        return lambda one: list(pool.map(lambda block: hashlib.sha256(block).digest(), one))

    def twin() -> Run:
        return lambda one: [hashlib.new("sha256", block).digest() for block in one]

    return Case(name, SUITE, make, [blocks], against(twin, [blocks]), threads=threads, facts=facts)


def _stepping(name: str, block: bytes, threads: int, facts: dict[str, str]) -> Case:
    """A thread that lost its core holds up all the others at every step."""
    piece = block[: 128 << 10]

    def make() -> Run:
        pool = ThreadPoolExecutor(threads)

        def run(steps: int) -> None:
            for _ in range(steps):
                list(pool.map(lambda one: hashlib.sha256(one).digest(), [piece] * threads))

        return run

    return Case(name, SUITE, make, [30], None, threads=threads, facts=facts)


def _copying(name: str, mebibytes: int, facts: dict[str, str]) -> Case:
    """Small pieces stay in the cache that cores share, large ones do not."""

    def make() -> Run:
        target: np.ndarray = np.empty(mebibytes << 18, np.float32)
        return lambda source: np.copyto(target, source)

    return Case(name, SUITE, make, [np.ones(mebibytes << 18, np.float32)], None, facts=facts)
