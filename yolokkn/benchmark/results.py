"""What a measurement gives: every sample of every case, the machine, the load; as a file and back."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.benchmark.statistics import quantile, spread
from yolokkn.errors import DataError

FORMAT = "yolokkn benchmark 1"
_MOST_BYTES = 64 << 20
_MOST_SAMPLES = 1_000_000
_LISTED = 40


def _no_samples() -> np.ndarray:
    return np.zeros(0, np.float32)


def _no_rounds() -> np.ndarray:
    return np.zeros(0, np.uint16)


def _no_flags() -> np.ndarray:
    return np.zeros(0, bool)


@dataclass(frozen=True, eq=False)
class CaseResult:
    """The samples of one case, or why there are none.

    Attributes:
        name: The case's.
        suite: The case's.
        threads: On how many threads it worked.
        facts: The case's.
        samples_ms: (N,) float32 milliseconds of each call (or frame), in the order of time.
        rounds: (N,) uint16 the round in which each was taken.
        disturbed: (N,) bool: the system took a core away during the call and gave it to somebody else.
        stages_ms: Stage -> (p50, p95, p99) milliseconds, where the case tells.
        refused: Why no speed is reported: what of its outputs differs from the reference.
        missing: Why it was not measured: what is not installed, or cannot do it.
    """

    name: str
    suite: str
    threads: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    samples_ms: np.ndarray = field(default_factory=_no_samples)
    rounds: np.ndarray = field(default_factory=_no_rounds)
    disturbed: np.ndarray = field(default_factory=_no_flags)
    stages_ms: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    refused: str = ""
    missing: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by: suite and name."""
        return self.suite, self.name

    @property
    def is_measured(self) -> bool:
        """Whether there are samples."""
        return len(self.samples_ms) > 0

    def quantile(self, q: float) -> float:
        """Return the milliseconds that a share q of the calls did not pass."""
        return quantile(self.samples_ms, q)

    @property
    def p50(self) -> float:
        """Median milliseconds."""
        return self.quantile(0.5)

    @property
    def p95(self) -> float:
        """Milliseconds that 95 of 100 calls did not pass."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """Milliseconds that 99 of 100 calls did not pass; of fewer than 100 calls, the slowest."""
        return self.quantile(0.99)

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a share of the median."""
        return spread(self.samples_ms)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the quantiles are there for people, the samples for programs."""
        found: dict[str, Any] = {"name": self.name, "suite": self.suite, "threads": self.threads}
        found["facts"] = dict(self.facts)
        if self.refused or self.missing:
            return found | {k: v for k, v in (("refused", self.refused), ("missing", self.missing)) if v}
        figures = {"p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.quantile(1.0)}
        found["ms"] = {k: _significant(v) for k, v in figures.items()}
        found |= {"spread": round(self.spread, 4), "calls": len(self.samples_ms)}
        found["disturbed_calls"] = int(self.disturbed.sum())
        if self.stages_ms:
            found["stages_ms"] = {k: [_significant(v) for v in row] for k, row in self.stages_ms.items()}
        return found | {
            "samples_ms": _packed(self.samples_ms.astype("<f4")),
            "rounds": _packed(self.rounds.astype("<u2")),
            "disturbed": _packed(np.packbits(self.disturbed)),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any], where: str) -> CaseResult:
        """Read what `to_dict` wrote.

        Raises:
            DataError: It is something else.
        """
        try:
            head = str(row["name"]), str(row["suite"]), int(row["threads"]), dict(row.get("facts", {}))
            if "samples_ms" not in row:
                return cls(*head, refused=str(row.get("refused", "")), missing=str(row.get("missing", "")))
            samples = _unpacked(row["samples_ms"], "<f4")
            rounds = _unpacked(row["rounds"], "<u2")
            bits = _unpacked(row["disturbed"], "u1")
            disturbed: np.ndarray = np.unpackbits(bits)[: len(samples)].astype(bool)
            stages = {str(k): (float(a), float(b), float(c)) for k, (a, b, c) in row.get("stages_ms", {}).items()}
        except (KeyError, TypeError, ValueError, AttributeError, zlib.error, binascii.Error) as error:
            raise DataError(f"{where}: is not a file of `yolokkn benchmark --save`: {error!r}"[:300]) from None
        if not len(samples) or not len(samples) == len(rounds) == len(disturbed):
            raise DataError(f"{where}: {head[0]}: samples, rounds and flags must be as many, one at least")
        if not (np.isfinite(samples).all() and (samples > 0).all() and (np.diff(rounds.astype(int)) >= 0).all()):
            raise DataError(f"{where}: {head[0]}: samples must be milliseconds above 0, in the order of rounds")
        return cls(*head, samples, rounds, disturbed, stages)


@dataclass(frozen=True, eq=False)
class BenchmarkRun:
    """A whole run.

    Attributes:
        created: When it began, ISO 8601 in UTC.
        machine: See `machine_record`.
        load: See `LoadMeter.read`, over the whole run.
        settings: What was asked for: model, source, threads, cores, budget of time ...
        results: Of every case, also of the yardsticks (suite "yardstick").
    """

    created: str
    machine: Mapping[str, Any]
    load: Mapping[str, Any]
    settings: Mapping[str, Any]
    results: tuple[CaseResult, ...]

    def of(self, suite: str) -> tuple[CaseResult, ...]:
        """Return the results of one suite."""
        return tuple(result for result in self.results if result.suite == suite)

    @property
    def suites(self) -> tuple[str, ...]:
        """Return the suites in their order, yardsticks left out."""
        return tuple(dict.fromkeys(r.suite for r in self.results if r.suite != "yardstick"))

    def to_json(self) -> str:
        """Return the file's text."""
        head = {
            "format": FORMAT,
            "created": self.created,
            "machine": dict(self.machine),
            "load": dict(self.load),
            "settings": dict(self.settings),
        }
        lines = [json.dumps(result.to_dict(), allow_nan=False) for result in self.results]
        body = ",\n".join(lines)
        return json.dumps(head, indent=1, allow_nan=False)[:-2] + f',\n "results": [\n{body}\n]}}\n'


def read_run(path: str | Path) -> BenchmarkRun:
    """Read a file that `yolokkn benchmark --save` wrote.

    Raises:
        FileNotFoundError: There is none.
        DataError: It is something else.
    """
    path = Path(path)
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path.name}: is larger than a file of `yolokkn benchmark --save` can be")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: is no JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise DataError(
            f"{path.name}: must be a file of `yolokkn benchmark --save` (format {FORMAT!r}), got {found!r:.60}"
        )
    parts = [content.get(name) for name in ("machine", "load", "settings")]
    rows = content.get("results")
    if not all(isinstance(part, dict) for part in parts) or not isinstance(rows, list):
        raise DataError(f"{path.name}: must hold machine, load, settings and results")
    results = tuple(CaseResult.from_dict(row, path.name) for row in rows)
    keys = [result.key for result in results]
    if len(set(keys)) < len(keys):
        raise DataError(f"{path.name}: holds a case twice")
    machine, load, settings = (part or {} for part in parts)
    return BenchmarkRun(str(content.get("created", "")), machine, load, settings, results)


def table(results: tuple[CaseResult, ...]) -> str:
    """Return the results of one suite for people: quantiles of single calls, never a mean."""
    width = max([_LISTED, *(len(r.name) for r in results)])
    lines = [f"{'case':<{width}} {'p50':>9} {'p95':>9} {'p99':>9}  {'spread':>6} {'calls':>6}   (ms)"]
    for r in results:
        if r.refused:
            lines.append(f"{r.name:<{width}} REFUSED, its output differs from the reference: {r.refused}")
        elif r.missing:
            lines.append(f"{r.name:<{width}} not measured: {r.missing}")
        else:
            cells = " ".join(f"{shown_ms(v):>9}" for v in (r.p50, r.p95, r.p99))
            lines.append(f"{r.name:<{width}} {cells}  {r.spread:6.1%} {len(r.samples_ms):6d}")
    return "\n".join(lines)


def shown_ms(value: float) -> str:
    """Return milliseconds with three digits that mean something.

    Example:
        >>> shown_ms(0.0041234), shown_ms(12.345), shown_ms(1234.5)
        ('0.00412', '12.3', '1234')
    """
    if value >= 1000:
        return f"{value:.0f}"
    digits = max(2 - int(np.floor(np.log10(value))), 0) if value > 0 else 0
    return f"{value:.{min(digits, 6)}f}"


def _significant(value: float) -> float:
    return float(f"{value:.5g}")


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def _unpacked(text: Any, dtype: str) -> np.ndarray:
    packed = base64.b64decode(text, validate=True)
    limit = _MOST_SAMPLES * np.dtype(dtype).itemsize
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(packed, limit)
    if unpacker.unconsumed_tail:
        raise ValueError("too many samples")
    return np.frombuffer(content, dtype)
