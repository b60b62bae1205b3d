"""How benchmarks/bench_gpu.py measures on a GPU and reports: times in graphs, floors, goals, a table that grows row by row."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.files import write_atomically
from yolokkn.geometry import Letterbox
from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.cuda_device import DeviceBuffer, Graph, PinnedArray, Stream, checked

IN_GRAPH = 50  # times that a kernel stands in its graph
ROUNDS = 30
MOST_COPIES = 64  # of an input, for a cold row


@dataclass
class Goal:
    """What a row shall reach: `figure` at most `limit`, or at least."""

    what: str
    figure: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it does."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        return f"goal {self.what}: {'met' if self.is_met else 'MISSED'} ({self.figure:.1f})"


@dataclass
class Row:
    """One line of the table; microseconds. A graph's row has its slowest round, a row of single frames their p99."""

    name: str
    p50: float
    slowest_round: float | None = None
    p99: float | None = None
    floor: float | None = None
    torch: float | None = None
    torch_way: str = ""
    goals: list[Goal] = field(default_factory=list)
    note: str = ""

    def __str__(self) -> str:
        numbers = "".join(
            f" {value:9.1f}" if value is not None else " " * 10
            for value in (self.p50, self.slowest_round, self.p99, self.floor, self.torch)
        )
        ratio = f" {self.torch / self.p50:6.1f}" if self.torch is not None else " " * 7
        words = [self.torch_way and f"torch: {self.torch_way}", *map(str, self.goals), self.note]
        return f"{self.name:66}{numbers}{ratio}  {'; '.join(word for word in words if word)}"


HEADING = (
    f"{'microseconds':66}" + "".join(f" {word:>9}" for word in ("p50", "slowest", "p99", "floor", "torch")) + "  ratio"
)


class Report:
    """The table and the JSON file, both up to date after every row."""

    def __init__(self, path: Path | None, facts: dict[str, Any]) -> None:
        self.path, self.facts = path, facts
        self.rows: list[Row] = []
        self.failed: list[str] = []
        print(", ".join(f"{key} {value}" for key, value in facts.items()))
        print(
            "\n'slowest' is the slowest of the rounds of many in a graph; p99 is that of single frames.\n" + HEADING,
            flush=True,
        )

    def add(self, row: Row) -> None:
        """Show and keep a row."""
        self.rows.append(row)
        print(row, flush=True)
        self._write()

    def fail(self, what: str) -> None:
        """Show and keep a group that ended early."""
        self.failed.append(what)
        print(f"FAILED {what}", flush=True)
        self._write()

    def _write(self) -> None:
        if self.path is not None:
            kept = {"environment": self.facts, "failed": self.failed, "rows": [asdict(row) for row in self.rows]}
            for row, whole in zip(self.rows, kept["rows"], strict=True):
                for goal, values in zip(row.goals, whole["goals"], strict=True):
                    values["is_met"] = goal.is_met
            write_atomically(self.path, json.dumps(kept, indent=1).encode())


class Bench:
    """Arrays, a stream and the means to time what is queued on it."""

    def __init__(self) -> None:
        self.kernels, self.stream = ops.cuda.kernels(), Stream()
        self._tiny = [DeviceArray.allocate((16,), np.uint8, DeviceBuffer) for _ in range(2)]
        self._one_box = DeviceArray.allocate((1, 4), np.float32, DeviceBuffer)
        self.l2_bytes = int(checked("cudaGetDeviceProperties", 0).l2CacheSize)
        self.bandwidth = self._copy_bandwidth()
        self.launch, _ = self.time(self._smallest)

    def upload(self, array: np.ndarray) -> DeviceArray:
        """A copy on the GPU."""
        staged = PinnedArray(array.shape, array.dtype)
        np.copyto(staged.array, array)
        target = DeviceArray.allocate(array.shape, array.dtype, DeviceBuffer)
        self.stream.copy(target.pointer, staged.pointer or 0, staged.num_bytes)
        self.stream.synchronize()
        return target

    def download(self, array: DeviceArray) -> np.ndarray:
        """A copy on the host."""
        staged = PinnedArray(array.shape, array.dtype)
        self.stream.copy(staged.pointer or 0, array.pointer, staged.num_bytes)
        self.stream.synchronize()
        return staged.array.copy()

    def copies(self, num_bytes: int) -> int:
        """How many inputs of so many bytes are twice the L2 cache, so that none is still there when its turn comes."""
        return min(max(2, -(-2 * self.l2_bytes // num_bytes) + 1), MOST_COPIES)

    def time(self, *queues: Callable[[], None], repeats: int | None = None) -> tuple[float, float]:
        """Microseconds of one run among many in a graph: the median of the rounds, and the slowest round.

        Args:
            queues: What is run, in turn.
            repeats: How many runs stand in the graph; each of `queues` at least once.
        """
        count = max(repeats or IN_GRAPH, len(queues))
        for queue in queues:
            queue()
        self.stream.synchronize()
        graph = self.stream.capture(lambda: [queues[i % len(queues)]() for i in range(count)])  # type: ignore[func-returns-value]
        empty = self.stream.capture(lambda: self.stream.copy(self._tiny[0].pointer, self._tiny[1].pointer, 4))
        times = []
        for _ in range(ROUNDS):
            whole, nothing = (self._play(played) for played in (graph, empty))
            times.append((whole - nothing) / count)  # what a launch and a wait cost is taken off
        return float(np.median(times)), float(np.max(times))

    def singly(self, queue: Callable[[], None], count: int) -> tuple[float, float]:
        """Microseconds of one run in a graph of its own, from the launch until its results are there: p50 and p99."""
        queue()
        self.stream.synchronize()
        graph = self.stream.capture(queue)
        times = [self._play(graph) for _ in range(count + min(count, 20))][min(count, 20) :]
        return float(np.percentile(times, 50)), float(np.percentile(times, 99))

    def floor(self, num_bytes: int, launches: int = 1) -> float:
        """Microseconds that so many launches and bytes need."""
        return launches * max(self.launch, 0.0) + num_bytes / self.bandwidth * 1e6

    def _play(self, graph: Graph) -> float:
        started = time.perf_counter()
        graph.launch(self.stream)
        self.stream.synchronize()
        return (time.perf_counter() - started) * 1e6

    def _smallest(self) -> None:
        place = Letterbox.fit((32, 32), (32, 32))
        self.kernels.inverse_letterbox(self._one_box, place, out=self._one_box, stream=self.stream.number)

    def _copy_bandwidth(self) -> float:
        """Bytes a second, read and written, of a large copy."""
        size = 1 << 28
        one, other = (DeviceArray.allocate((size,), np.uint8, DeviceBuffer) for _ in range(2))
        micros, _ = self.time(lambda: self.stream.copy(one.pointer, other.pointer, size), repeats=min(5, IN_GRAPH))
        return 2 * size / (max(micros, 1e-3) * 1e-6)


def single_frames(run: Callable[[int], Any], frames: int) -> tuple[float, float]:
    """Microseconds of `run(index)`, one by one: p50 and p99."""
    times = []
    skipped = min(frames, 20)
    for index in range(frames + skipped):
        started = time.perf_counter()
        run(index)
        if index >= skipped:
            times.append((time.perf_counter() - started) * 1e6)
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))


def must_be(condition: bool, what: str) -> None:
    """Ends the group: a time of a wrong result is worth nothing.

    Raises:
        ValueError: The condition does not hold.
    """
    if not condition:
        raise ValueError(f"{what} differs from the CPU's; it is not timed")


def same(got: Sequence[np.ndarray], want: Sequence[np.ndarray], what: str) -> None:
    """`must_be`, for arrays bit by bit."""
    must_be(all(a.tobytes() == b.tobytes() for a, b in zip(got, want, strict=True)), what)
