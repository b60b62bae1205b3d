"""Our side of a peer: a process of its own Python, and the cases that it makes of a stage."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.setup import ROOT, python_of
from yolokkn.benchmark import Case, Timed, Unsuitable
from yolokkn.benchmark.case import Run

Arrays = Mapping[str, np.ndarray]
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class StageCase:
    """One case of a stage, for us and for every peer.

    Attributes:
        name: Of the case.
        stage: Folder of the adapters.
        inputs: What all are run on, each a dict of arrays.
        own: Our ways by name, "" for the only one: makes a function of one input. The first is held beside the best peer.
        own_check: Takes a way's name and run; says how its outputs differ from the reference's, "" for not at all.
        wanted: The reference's outputs of the first inputs, as many as are compared.
        compare: Says how a peer's output differs from the reference's, "" for not in a way that counts.
        facts: Plain values, which adapters are told.
        threads: On how many threads all work.
        shown: Facts of the report.
    """

    name: str
    stage: str
    inputs: Sequence[Arrays]
    own: Mapping[str, Callable[[], Run]]
    own_check: Callable[[str, Run], str]
    wanted: Sequence[Arrays]
    compare: Callable[[Arrays, Arrays], str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1
    shown: Mapping[str, Any] = field(default_factory=dict)


class PeerProcess:
    """A peer's own Python that waits for commands; see `benchmarks/peers/serve.py`."""

    def __init__(self, environment: str, module: str, way: str, threads: int) -> None:
        python = python_of(environment)
        if not python.exists():
            raise Unsuitable(f"no environment; run: python benchmarks/peers/setup.py {environment}")
        limits = {name: str(threads) for name in ONE_THREAD}
        self._process = subprocess.Popen(
            [str(python), str(ROOT / "benchmarks" / "peers" / "serve.py"), module, way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | limits | {"EDGEFIRST_DISABLE_GL": "1"},
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        """Give a command and wait for the answer.

        Raises:
            Unsuitable: The peer cannot do it, or died.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("PeerProcess: the pipes must be open")
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is said below
        line = self._process.stdout.readline()
        if not line:
            raise Unsuitable(f"its process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Unsuitable(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _timed(answer: Mapping[str, Any]) -> Timed:
    return Timed(answer["ms"], disturbed=answer["disturbed"])


def adapters(stage: str) -> dict[str, tuple[str, str, str]]:
    """Return the peers of a stage: name -> environment, module, way."""
    found = {}
    for file in sorted((Path(__file__).parent / stage).glob("*.py")):
        adapter = importlib.import_module(f"benchmarks.peers.{stage}.{file.stem}")
        for way in getattr(adapter, "WAYS", {}):
            name = f"{file.stem}, {way}" if way else file.stem
            found[name] = (adapter.ENVIRONMENT, f"{stage}.{file.stem}", way)
    return found


class Peers:
    """The processes of a run: opened on use, closed with the context, and the folder of their inputs."""

    def __enter__(self) -> Peers:
        self._folder = tempfile.TemporaryDirectory()
        self._open: list[PeerProcess] = []
        self._numbers = itertools.count()
        return self

    def __exit__(self, *raised: object) -> None:
        for process in self._open:
            process.close()
        self._folder.cleanup()

    def cases(self, stage_case: StageCase, only: Sequence[str] = (), cold: bool = False) -> list[Case]:
        """Return the cases of a stage's case: ours, then those of its peers (whose names hold one of `only`)."""
        s = stage_case
        inputs = self._keep(s.inputs)
        found = [self._own(s, way, make) for way, make in s.own.items()]
        for name, where in adapters(s.stage).items():
            if not only or any(part in name for part in only):
                found.append(self._peer(s, name, where, inputs, cold))
        return found

    def outputs(self, stage_case: StageCase, name: str) -> tuple[list[Arrays], list[float]]:
        """Return what a peer gives for every input, and the milliseconds of each.

        Raises:
            Unsuitable: The peer is not there or cannot do it.
        """
        s = stage_case
        process = self._start(adapters(s.stage)[name], s.threads)
        process.ask(open=self._keep(s.inputs), facts=dict(s.facts))
        return self._outputs(process, len(s.inputs))

    def _keep(self, inputs: Sequence[Arrays]) -> str:
        file = Path(self._folder.name) / f"{next(self._numbers)}.npz"
        np.savez(file, **{f"{i}/{name}": value for i, one in enumerate(inputs) for name, value in one.items()})
        return str(file)

    def _start(self, where: tuple[str, str, str], threads: int) -> PeerProcess:
        process = PeerProcess(*where, threads)
        self._open.append(process)
        return process

    def _outputs(self, process: PeerProcess, count: int) -> tuple[list[Arrays], list[float]]:
        file = Path(self._folder.name) / f"out{next(self._numbers)}.npz"
        taken = process.ask(run=list(range(count)), save=str(file))["ms"]
        found: list[dict[str, np.ndarray]] = [{} for _ in range(count)]
        with np.load(file) as content:
            for key in content.files:
                index, _, name = key.partition("/")
                found[int(index)][name] = content[key]
        file.unlink()
        return list(found), taken

    def _own(self, s: StageCase, way: str, make: Callable[[], Run]) -> Case:
        by = f"yolokkn, {way}" if way else "yolokkn"
        facts = {"stage": s.stage, "case": s.name, "by": by, **s.shown}
        suite = f"peers: {s.stage}"
        return Case(f"{s.name}: {by}", suite, make, s.inputs, lambda run: s.own_check(way, run), s.threads, facts=facts)

    def _peer(self, s: StageCase, name: str, where: tuple[str, str, str], inputs: str, cold: bool) -> Case:
        turn = {"turn_ms": 4.0, "max_calls": 6, "cold": cold}
        process: list[PeerProcess] = []

        def make() -> Run:
            if not process:
                process.append(self._start(where, s.threads))
            process[0].ask(open=inputs, facts=dict(s.facts))
            return lambda _: _timed(process[0].ask(turn=turn))

        def check(run: Run) -> str:
            pairs = zip(self._outputs(process[0], len(s.wanted))[0], s.wanted, strict=True)
            return next((said for f, w in pairs if (said := s.compare(f, w))), "")

        facts = {"stage": s.stage, "case": s.name, "by": name, **s.shown}
        return Case(
            f"{s.name}: {name}", f"peers: {s.stage}", make, [None], check, s.threads, self_timed=True, facts=facts
        )
