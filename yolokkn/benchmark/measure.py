"""The measurement: cases take turns in random order, in many short rounds, so that what disturbs one disturbs all."""

from __future__ import annotations

import datetime
import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yolokkn.benchmark.case import Case, Run, Timed, Unsuitable, cores_lost
from yolokkn.benchmark.machine import LoadMeter, machine_record
from yolokkn.benchmark.results import BenchmarkRun, CaseResult
from yolokkn.benchmark.statistics import quantile
from yolokkn.errors import MissingDependencyError

_MOST_ROUNDS = 60_000


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        budget_s: Seconds for the rounds of all cases together; checks and warm-up come on top.
        min_rounds: Rounds at least, whatever the budget.
        max_rounds: Rounds at most.
        turn_ms: A case that is quicker is called several times in its turn.
        max_calls: Timed calls of a turn at most.
        warm_calls: Calls before the first round; the first call of each turn is not timed in any case.
        seed: Of the order of the turns.
        cold: Time the first call of each turn and no other: the caches are full of the other cases' data, as between frames.
    """

    budget_s: float = 20.0
    min_rounds: int = 12
    max_rounds: int = 120
    turn_ms: float = 4.0
    max_calls: int = 6
    warm_calls: int = 3
    seed: int = 0
    cold: bool = False

    def __post_init__(self) -> None:
        if self.budget_s <= 0 or self.turn_ms <= 0:
            raise ValueError(f"Plan: budget_s and turn_ms must be above 0, got {self.budget_s} and {self.turn_ms}")
        if not 1 <= self.min_rounds <= self.max_rounds <= _MOST_ROUNDS:
            raise ValueError(
                f"Plan: min_rounds and max_rounds must be within 1 and {_MOST_ROUNDS}, in this order, "
                f"got {self.min_rounds} and {self.max_rounds}"
            )
        if self.max_calls < 1 or self.warm_calls < 1:
            raise ValueError(
                f"Plan: max_calls and warm_calls must be 1 or more, got {self.max_calls}, {self.warm_calls}"
            )


@dataclass
class _Live:
    """A case under way."""

    case: Case
    run: Run
    next_input: int = 0
    calls: int = 1
    is_cold: bool = False
    turn_s: float = 0.0
    samples_ms: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    disturbed: list[bool] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)

    def call(self) -> tuple[float, bool, Any]:
        """Call once; returns seconds, whether a core was taken away meanwhile, and the output."""
        case = self.case
        value = case.inputs[self.next_input]
        self.next_input = (self.next_input + 1) % len(case.inputs)
        before = cores_lost()
        begin = time.perf_counter_ns()
        output = self.run(value)
        taken = time.perf_counter_ns() - begin
        return taken * 1e-9, cores_lost() > before, output

    def turn(self, number: int) -> None:
        """Take a turn: a call that brings the caches back, then the timed ones."""
        if not self.case.self_timed and not self.is_cold:
            self.call()
        for _ in range(self.calls):
            seconds, disturbed, output = self.call()
            if isinstance(output, Timed):
                self.add(number, output.samples_ms, output.disturbed or [False] * len(output.samples_ms))
                for stage, values in output.stages_ms.items():
                    self.stages_ms.setdefault(stage, []).extend(values)
            else:
                self.add(number, [seconds * 1e3], [disturbed])

    def add(self, number: int, samples_ms: Sequence[float], disturbed: Sequence[bool]) -> None:
        """Keep the samples of a round."""
        self.samples_ms.extend(max(ms, 1e-6) for ms in samples_ms)  # a clock of microseconds may say 0
        self.rounds.extend([number] * len(samples_ms))
        self.disturbed.extend(disturbed)

    def result(self) -> CaseResult:
        """Return what was measured."""
        stages = {
            name: (quantile(row, 0.5), quantile(row, 0.95), quantile(row, 0.99))
            for name, values in self.stages_ms.items()
            for row in [np.array(values)]
        }
        return CaseResult(
            self.case.name,
            self.case.suite,
            self.case.threads,
            self.case.facts,
            np.array(self.samples_ms, np.float32),
            np.array(self.rounds, np.uint16),
            np.array(self.disturbed, bool),
            stages,
        )


def measure(
    cases: Sequence[Case], plan: Plan | None = None, *, say: Callable[[str], None] | None = None
) -> tuple[CaseResult, ...]:
    """Check every case, then time those whose outputs are right.

    Rounds follow each other until the time is used up; in each, every case has one turn, in random order: a call that is
    not timed, then a few that are. The garbage collector rests meanwhile. A case whose output differs is refused and has
    no samples; one that raises `Unsuitable` or `MissingDependencyError` says so.

    Args:
        cases: Of one suite or several, together with the yardsticks.
        plan: How much.
        say: Takes a line about what goes on.

    Returns:
        One result a case, in their order.

    Raises:
        ValueError: Two cases have the same suite and name.

    Cost:
        `plan.budget_s` and the checks, or `plan.min_rounds` turns of each case where that is longer.

    Example:
        >>> case = Case("sum", "mine", lambda: sum, [range(10)], check=None)
        >>> measure([case], Plan(budget_s=0.01))[0].is_measured
        True
    """
    plan = plan or Plan()
    keys = [(case.suite, case.name) for case in cases]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice:
        raise ValueError(f"measure: cases must have different names, got {twice[1]!r} twice in {twice[0]}")
    tell = say or (lambda text: None)
    found: dict[tuple[str, str], CaseResult] = {}
    live: list[_Live] = []
    tell(f"{cases[0].suite}: checking {len(cases)} cases" if cases else "no cases")
    for case in cases:
        started = _checked(case)
        if isinstance(started, CaseResult):
            found[started.key] = started
        else:
            _warm(started, plan)
            live.append(started)
    _take_rounds(live, plan, tell)
    found |= {(one.case.suite, one.case.name): one.result() for one in live}
    return tuple(found[key] for key in keys)


def _checked(case: Case) -> _Live | CaseResult:
    """Check a case's outputs; returns it ready to be timed, or why it is not."""
    head = (case.name, case.suite, case.threads, case.facts)
    try:
        differs = case.check(case.make()) if case.check is not None else ""
        return CaseResult(*head, refused=differs) if differs else _Live(case, case.make())
    except (Unsuitable, MissingDependencyError) as error:
        return CaseResult(*head, missing=str(error).strip() or type(error).__name__)


def _warm(one: _Live, plan: Plan) -> None:
    """Warm a case up, and decide how many calls a turn of it has."""
    if one.case.self_timed:  # it warms up by itself
        one.turn_s = one.call()[0]
        return
    seconds = min(one.call()[0] for _ in range(plan.warm_calls))
    one.is_cold = plan.cold
    one.calls = 1 if plan.cold else int(np.clip(plan.turn_ms * 1e-3 / max(seconds, 1e-9), 1, plan.max_calls))
    one.turn_s = (one.calls + 1) * seconds


def _take_rounds(live: list[_Live], plan: Plan, tell: Callable[[str], None]) -> None:
    if not live:
        return
    rng = np.random.default_rng(plan.seed)
    expected = sum(one.turn_s for one in live)
    count = int(np.clip(plan.budget_s / max(expected, 1e-9), plan.min_rounds, plan.max_rounds))
    tell(f"{live[0].case.suite}: timing {len(live)} cases in {count} rounds, about {count * expected:.0f} s")
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    started = time.perf_counter()
    try:
        for number in range(count):
            for index in rng.permutation(len(live)):
                live[index].turn(number)
            if number + 1 >= plan.min_rounds and time.perf_counter() - started > plan.budget_s * 1.5:
                break  # the machine became slower than it was while warming up
    finally:
        if was_enabled:
            gc.enable()


def run_cases(
    cases: Sequence[Case],
    plan: Plan | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
) -> BenchmarkRun:
    """Measure cases and note where and when, see `measure`."""
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    meter = LoadMeter.start()
    results = measure(cases, plan, say=say)
    return BenchmarkRun(created, machine_record(), meter.read(), dict(settings or {}), results)
