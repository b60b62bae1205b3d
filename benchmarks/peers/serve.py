"""The peer's side: run by its own Python, it does what its standard input says, and imports nothing of yolokkn.

    build/peers/NAME/bin/python benchmarks/peers/serve.py STAGE.FILE WAY

A line of JSON in, a line out. {"open": FILE.npz, "facts": {...}} makes the work with fresh state; {"run": [0, 1], "save": FILE}
keeps what it gives for these inputs, and says how long each took; {"turn": {"turn_ms": 4, "max_calls": 6}} calls it once
untimed, then a few times timed, on its inputs in turn. An answer has "error" where the peer cannot do it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """One way of one adapter: a file of `benchmarks/peers/STAGE` with WAYS, which maps names to makers.

    A maker takes the case's facts and returns a function of one input (a dict of arrays). OUTPUT, where the file has it,
    turns what that gives into a dict of arrays; that is not timed.
    """

    def __init__(self, module: str, way: str) -> None:
        adapter = importlib.import_module(f"benchmarks.peers.{module}")
        self._make = adapter.WAYS[way]
        self._output = getattr(adapter, "OUTPUT", lambda result, value, facts: result)
        self._inputs: list[dict[str, np.ndarray]] = []
        self._facts: dict[str, Any] = {}
        self._next = 0
        self._calls = 0

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command."""
        if "open" in command:
            return self.open(command["open"], command["facts"])
        if "run" in command:
            found, taken = [], []
            for i in command["run"]:
                begin = time.perf_counter_ns()
                result = self._run(self._inputs[i])
                taken.append((time.perf_counter_ns() - begin) * 1e-6)
                found.append(self._output(result, self._inputs[i], self._facts))
            arrays = {f"{i}/{name}": value for i, one in enumerate(found) for name, value in one.items()}
            np.savez(command["save"], **arrays)
            return {"ms": taken}
        calls = self.turn(**command["turn"])
        return {"ms": [ms for ms, _ in calls], "disturbed": [disturbed for _, disturbed in calls]}

    def open(self, file: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Read the inputs and make the work."""
        with np.load(file) as content:
            count = 1 + max(int(key.partition("/")[0]) for key in content.files)
            self._inputs = [{} for _ in range(count)]
            for key in content.files:
                index, _, name = key.partition("/")
                self._inputs[int(index)][name] = content[key]
        self._facts, self._next, self._calls = facts, 0, 0
        self._run = self._make(facts)
        return {"inputs": count}

    def turn(self, turn_ms: float, max_calls: int, cold: bool) -> list[tuple[float, bool]]:
        """Return of a few calls after one that is not timed: milliseconds, and whether a core was taken away.

        Cold: of one call, with the caches as others left them.
        """
        if cold:
            return [self._call()]
        first = self._call()[0]
        if not self._calls:
            quickest = min(first, self._call()[0], self._call()[0])
            self._calls = int(min(max(turn_ms / max(quickest, 1e-6), 1), max_calls))
        return [self._call() for _ in range(self._calls)]

    def _call(self) -> tuple[float, bool]:
        value = self._inputs[self._next]
        self._next = (self._next + 1) % len(self._inputs)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        begin = time.perf_counter_ns()
        self._run(value)
        taken = time.perf_counter_ns() - begin
        return taken * 1e-6, resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > before


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    sys.path[0] = str(ROOT)
    server: Server | None = None
    for line in sys.stdin:
        try:
            server = server or Server(*sys.argv[1:3])
            answer = server.answer(json.loads(line))
        except Exception as error:  # noqa: BLE001 - a peer may fail in any way; it is said and left out
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
