"""Is one run slower than another? Ratios with intervals, and "no difference" where there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolokkn.benchmark.results import BenchmarkRun, CaseResult
from yolokkn.benchmark.statistics import NUM_BLOCKS, block_medians, block_noise, paired_interval, ratio_interval
from yolokkn.benchmark.yardsticks import SUITE as YARDSTICK

SLOWER, FASTER, SAME = "slower", "faster", "no difference"
REFUSED, ABSENT = "refused", "absent"
LEAST_CHANGE = 0.03  # smaller ones are not told from the layout of memory and code
LEAST_BLOCKS = 6  # of fewer, all of one run lie above all of another's by chance too often
_LEAST_UNDISTURBED = 0.25
_BUSY = 0.25
_MANY_DISTURBED, _MUCH_OFTENER = 0.5, 2.0
_SAME_MACHINE = ("cpu", "cores", "memory_gib", "instruction_set", "system", "python", "packages", "environment")


@dataclass(frozen=True)
class CaseChange:
    """How one case changed from the first run to the second.

    Attributes:
        suite: The case's.
        name: The case's.
        verdict: "slower", "faster", "no difference", "refused" (its output is wrong in the second run), or "absent" (measured
            in one run only).
        ratio: Median milliseconds of the second run over the first's; NaN where there are none.
        low: Lower end of its interval.
        high: Upper end.
        floor: A change below this share is noise: how far the blocks of one run lie apart among themselves.
        reason: Why the verdict is what it is, for people.
    """

    suite: str
    name: str
    verdict: str
    ratio: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    floor: float = float("nan")
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes:
        changes: One a case, in the second run's order.
        machine_slower: The second run's yardsticks took up to so many times as long (1 where they did not) ...
        machine_faster: ... and down to so many times.
        differences: What the machines' records differ in, for people.
        confidence: Of the intervals.
        others: Share of the cores that others took during each run, 0 to 1; None where the system did not tell.
    """

    changes: tuple[CaseChange, ...]
    machine_slower: float
    machine_faster: float
    differences: tuple[str, ...]
    confidence: float
    others: tuple[float | None, float | None] = (None, None)

    def having(self, verdict: str) -> tuple[CaseChange, ...]:
        """Return the changes of one verdict."""
        return tuple(change for change in self.changes if change.verdict == verdict)


def compare_runs(before: BenchmarkRun, after: BenchmarkRun, *, confidence: float = 0.99, seed: int = 0) -> Comparison:
    """Compare two runs, case by case.

    A case is slower (faster) when three things hold: the interval of its ratio leaves 1 out; the change passes the noise floor,
    which is how far the blocks of either run lie apart among themselves (3% at least); and it passes what the machine
    itself changed, by the yardsticks that were measured beside the cases. Fewer than 6 rounds tell nothing. Calls during
    which the system gave a core to somebody else do not count, where a quarter of all is left without them; and where most
    of the slower calls lost a core, twice as often in the same time as the others, nothing is claimed.

    Args:
        before: The run that is held to be the measure.
        after: The one that is judged.
        confidence: Of each interval.
        seed: Of the draws of the bootstrap.

    Raises:
        ValueError: The confidence is not between 0 and 1.
    """
    suites = (*before.suites, *after.suites)
    machine = {suite: _machine_change(before, after, suite, confidence, seed) for suite in dict.fromkeys(suites)}
    firsts = {result.key: result for result in before.results if result.suite != YARDSTICK}
    seconds = {result.key: result for result in after.results if result.suite != YARDSTICK}
    changes = []
    for key in (*seconds, *(key for key in firsts if key not in seconds)):
        a, b = firsts.get(key), seconds.get(key)
        changes.append(_absent_or_refused(key, a, b) or _judge(key, a, b, machine[key[0]], confidence, seed))
    differences = _differences(before.machine, after.machine) + _differences(before.settings, after.settings)
    slower = max((pair[0] for pair in machine.values()), default=1.0)
    faster = min((pair[1] for pair in machine.values()), default=1.0)
    others = before.load.get("others"), after.load.get("others")
    return Comparison(tuple(changes), slower, faster, differences, confidence, others)


def _absent_or_refused(key: tuple[str, str], a: CaseResult | None, b: CaseResult | None) -> CaseChange | None:
    if b is not None and b.refused:
        return CaseChange(*key, REFUSED, reason=f"its output differs from the reference: {b.refused}")
    for which, result in (("first", a), ("second", b)):
        if result is None or not result.is_measured:
            why = "" if result is None else result.refused or result.missing
            return CaseChange(*key, ABSENT, reason=f"not measured in the {which} run" + (f": {why}" if why else ""))
    return None


def _judge(
    key: tuple[str, str],
    a: CaseResult | None,
    b: CaseResult | None,
    machine: tuple[float, float],
    confidence: float,
    seed: int,
) -> CaseChange:
    if a is None or b is None:
        raise TypeError("_judge: both results must be there")
    blocks = [quiet_blocks(result) for result in (a, b)]
    ratio, low, high = ratio_interval(*blocks, confidence=confidence, seed=seed)
    floor = max(LEAST_CHANGE, *(block_noise(medians) for medians in blocks))
    slower, faster = machine
    verdict, reason = SAME, ""
    fewest = min(len(medians) for medians in blocks)
    if fewest < LEAST_BLOCKS:
        reason = f"{fewest} rounds are too few to tell: {LEAST_BLOCKS} at least"
    elif low <= 1 <= high:
        reason = "the interval holds 1"
    elif max(ratio, 1 / ratio) <= 1 + floor:
        reason = f"below the noise floor: blocks of one run differ by {floor:.0%}"
    elif ratio > 1 and (low <= slower or ratio <= slower * (1 + floor)):
        reason = f"the machine itself became up to {slower:.2f} times slower"
    elif ratio < 1 and (high >= faster or ratio >= faster / (1 + floor)):
        reason = f"the machine itself became up to {1 / faster:.2f} times faster"
    else:
        reason = _lost_cores(a, b) if ratio > 1 else _lost_cores(b, a)
        verdict = SAME if reason else SLOWER if ratio > 1 else FASTER
    return CaseChange(*key, verdict, ratio, low, high, floor, reason)


def _lost_cores(quick: CaseResult, slow: CaseResult) -> str:
    """Say where the slower calls lost their cores much more often in the same time: then that may be why they are slow."""
    rates = [_loss_rate(result) for result in (quick, slow)]
    shares = [float(result.disturbed.mean()) for result in (quick, slow)]
    if shares[1] <= _MANY_DISTURBED or rates[1] <= _MUCH_OFTENER * rates[0]:
        return ""
    return f"others took its cores away {rates[1] / rates[0]:.0f} times as often as in the quicker run"


def _loss_rate(result: CaseResult) -> float:
    """Return how often a millisecond a core was taken away, if that came by chance (a Poisson process)."""
    count = len(result.disturbed)
    share = min(max(float(result.disturbed.mean()), 0.5 / count), 1 - 0.5 / count)
    return float(-np.log1p(-share) / np.median(result.samples_ms))


def quiet_blocks(result: CaseResult) -> np.ndarray:
    """Return the medians of a result's blocks, over its undisturbed calls where enough are undisturbed, else over all."""
    return block_medians(*_quiet(result))


def _quiet(result: CaseResult) -> tuple[np.ndarray, np.ndarray]:
    quiet = ~result.disturbed
    if quiet.mean() < _LEAST_UNDISTURBED:
        quiet = np.ones(len(quiet), bool)
    return result.samples_ms[quiet].astype(np.float64), result.rounds[quiet]


def times_as_fast(
    result: CaseResult, other: CaseResult, *, confidence: float = 0.99, seed: int = 0
) -> tuple[float, float, float]:
    """Return how many times as fast a result is as another one of the same run, and the interval of that.

    The ratio of medians is taken block by block, each of the same rounds: what disturbed the machine then disturbed both.

    Raises:
        ValueError: They have no rounds in common.
    """
    (mine, my_rounds), (theirs, their_rounds) = _quiet(result), _quiet(other)
    common = np.intersect1d(my_rounds, their_rounds)
    if not len(common):
        raise ValueError(f"times_as_fast: results must have rounds in common, got {result.name!r} and {other.name!r}")
    pieces = np.array_split(common, min(NUM_BLOCKS, len(common)))
    ratios = [
        np.median(theirs[np.isin(their_rounds, piece)]) / np.median(mine[np.isin(my_rounds, piece)]) for piece in pieces
    ]
    return paired_interval(np.array(ratios), confidence=confidence, seed=seed)


def _machine_change(
    before: BenchmarkRun, after: BenchmarkRun, suite: str, confidence: float, seed: int
) -> tuple[float, float]:
    """Return how much slower (1 or more) and faster (1 or less) a suite's yardsticks say that the machine became."""
    slower, faster = 1.0, 1.0
    firsts = {result.key: result for result in before.of(YARDSTICK) if result.is_measured}
    for result in after.of(YARDSTICK):
        first = firsts.get(result.key)
        if first is None or not result.is_measured or result.facts.get("beside") != suite:
            continue
        ratio = ratio_interval(quiet_blocks(first), quiet_blocks(result), confidence=confidence, seed=seed)[0]
        slower, faster = max(slower, ratio), min(faster, ratio)
    return slower, faster


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Say where two records differ in what decides about speed."""
    found: list[str] = []
    for name in before.keys() | after.keys():
        a, b = before.get(name), after.get(name)
        if a == b or (name not in _SAME_MACHINE and name not in ("model", "source", "threads", "quick", "cold")):
            continue
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += [f"{k} {a.get(k)} -> {b.get(k)}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]
        else:
            found.append(f"{name} {a} -> {b}")
    return tuple(sorted(found))


def comparison_table(comparison: Comparison) -> str:
    """Return a comparison for people."""
    width = max([20, *(len(c.name) for c in comparison.changes)])
    lines = []
    if comparison.differences:
        lines.append("the runs differ in more than the code: " + "; ".join(comparison.differences))
    slower, faster = comparison.machine_slower, comparison.machine_faster
    if slower > 1 + LEAST_CHANGE or faster < 1 / (1 + LEAST_CHANGE):
        lines.append(f"the machine itself, by its yardsticks: {faster:.2f} to {slower:.2f} times as long")
    busy = [share for share in comparison.others if isinstance(share, (int, float))]
    if busy and max(busy) > _BUSY:
        shown = " and ".join(f"{share:.0%}" for share in busy)
        lines.append(f"others took {shown} of the cores: only large changes can be seen on so busy a machine")
    head = f"{comparison.confidence:.0%} interval"
    lines.append(f"{'case':<{width}} {'ratio':>6}  {head:<15} verdict")
    for c in comparison.changes:
        if np.isnan(c.ratio):
            lines.append(f"{c.name:<{width}} {'':>6}  {'':<15} {c.verdict}: {c.reason}")
            continue
        interval = f"{c.low:.2f} to {c.high:.2f}"
        said = f"{c.verdict}" + (f" ({c.reason})" if c.reason else "")
        lines.append(f"{c.name:<{width}} {c.ratio:6.2f}  {interval:<15} {said}")
    counts = {v: len(comparison.having(v)) for v in (SLOWER, FASTER, SAME, REFUSED, ABSENT)}
    lines.append(", ".join(f"{n} {v}" for v, n in counts.items() if n or v in (SLOWER, SAME)))
    return "\n".join(lines)
