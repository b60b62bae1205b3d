"""The search for a tracker's settings on labelled sequences: seeded, resumable, with sequences held out to tell the truth."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import DataError, MissingDependencyError, did_you_mean
from yolokkn.evaluation.mot import MotFigures, MotMetrics
from yolokkn.evaluation.mot_rerun import LabelledSequence, measure_tracker
from yolokkn.tracking import SETTINGS, create

OBJECTIVES = ("HOTA", "AssA", "DetA", "IDF1", "MOTA")


@dataclass(frozen=True)
class Range:
    """Where one setting is searched.

    Attributes:
        low: The least value.
        high: The largest.
        log: Values are drawn evenly over their logarithm.
        whole: Values are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"Range: low must be at most high (and above 0 by logarithm), got {self.low} and {self.high}"
            )


Choices = tuple[bool, ...]
_OF_PICTURES = ("mask_weight", "proximity_thresh", "appearance_thresh")
Space = Mapping[str, "Range | Choices"]


def default_space(tracker: str) -> dict[str, Range | Choices]:
    """Return where each setting of a tracker is searched where nothing is said.

    Shares: 0.3 either way of the default, within their limits; others: from a third of the default to three times it. What
    only masks or appearance vectors have a use for is left alone: files of detections hold neither.
    """
    space: dict[str, Range | Choices] = {}
    for one in dataclasses.fields(SETTINGS[tracker]):
        default: Any = one.default
        if one.name in _OF_PICTURES:
            continue
        if isinstance(default, bool):
            space[one.name] = (False, True)
            continue
        low, high = one.metadata["low"], one.metadata["high"]
        whole = isinstance(default, int)
        if high <= 1.0:
            space[one.name] = Range(round(max(low, default - 0.3), 6), round(min(high, default + 0.3), 6))
        else:
            least = max(low, default / 3)
            space[one.name] = Range(round(least) if whole else least, min(high, default * 3), log=True, whole=whole)
    return space


def parse_range(tracker: str, text: str) -> tuple[str, Range | Choices]:
    """Read `name=low:high` of a setting that is searched; a logarithmic scale is kept where the default has one.

    Raises:
        ValueError: The setting is unknown, or the bounds are no numbers in their order or beyond the setting's limits.
    """
    name, equals, bounds = text.partition("=")
    name = name.strip().replace("-", "_")
    usual = default_space(tracker)
    if name not in usual:
        raise ValueError(
            f"--search must name a setting of {tracker} ({', '.join(usual)}), got {name!r}{did_you_mean(name, usual)}"
        )
    if not equals:
        return name, usual[name]
    one = next(f for f in dataclasses.fields(SETTINGS[tracker]) if f.name == name)
    before = usual[name]
    try:
        low, high = (float(part) for part in bounds.split(":"))
    except ValueError:
        raise ValueError(f"--search {name} must be given as {name}=low:high, got {bounds!r}") from None
    if not isinstance(before, Range):
        raise ValueError(f"--search {name} has no range: it is true or false")
    if not one.metadata["low"] <= low < high <= one.metadata["high"]:
        raise ValueError(
            f"--search {name} must have low below high, both within {one.metadata['low']:g} and "
            f"{one.metadata['high']:g}, got {bounds!r}"
        )
    return name, Range(low, high, before.log and low > 0, before.whole)


@dataclass(frozen=True)
class Plan:
    """What is searched, and by what it is judged; the same plan and the same sequences give the same trials.

    Attributes:
        tracker: One of TRACKERS.
        space: Where its settings are searched; what is not in it keeps `fixed` or the default.
        fixed: Settings that stay, `class_policy` among them.
        objective: One of OBJECTIVES, of all tuned sequences together, which is made large.
        rules: One of `RULES`.
        fill: Gaps of fewer frames are filled.
        seed: Of the search, 0 or more.
    """

    tracker: str
    space: Space
    fixed: Mapping[str, Any] = field(default_factory=dict)
    objective: str = "HOTA"
    rules: str = "mot17"
    fill: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {self.objective!r}")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}")
        if not self.space:
            raise ValueError(f"tune: a setting of {self.tracker} must be left to search, and all are given")

    def defaults(self) -> dict[str, Any]:
        """Return the values of what is searched in the tracker's defaults, moved into the space where they lie outside."""
        kind = SETTINGS[self.tracker]()
        values: dict[str, Any] = {}
        for name, one in self.space.items():
            value = getattr(kind, name)
            values[name] = min(max(value, one.low), one.high) if isinstance(one, Range) else value
            if isinstance(one, Range) and one.whole:
                values[name] = int(values[name])
        return values


@dataclass(frozen=True)
class Trial:
    """One set of settings and what it gave.

    Attributes:
        number: From 0, which is the defaults.
        settings: What was searched.
        value: The objective on the tuned sequences; None where the tracker refuses these settings together.
    """

    number: int
    settings: dict[str, Any]
    value: float | None

    def line(self) -> str:
        """Return the trial as a line of JSON."""
        return json.dumps(dataclasses.asdict(self)) + "\n"


def plan_digest(plan: Plan, sequences: Mapping[str, LabelledSequence]) -> str:
    """Return a digest of a plan and of every box of its sequences: trials of another one must not be gone on with."""
    digest = hashlib.sha256()
    space = [(k, dataclasses.astuple(v) if isinstance(v, Range) else list(v)) for k, v in plan.space.items()]
    told = [plan.tracker, space, dict(sorted(plan.fixed.items())), plan.objective, plan.rules, plan.fill, plan.seed]
    digest.update(json.dumps(told).encode())
    for name, sequence in sorted(sequences.items()):
        given, truth = sequence.detections, sequence.truth
        digest.update(json.dumps([name, given.num_frames, given.frame_rate, len(given.frames), len(truth)]).encode())
        labels = (truth.frames, truth.ids, truth.boxes, truth.counted, truth.class_ids)
        for array in (given.frames, given.places, given.scores, given.class_ids, sequence.keep, *labels):
            digest.update(np.ascontiguousarray(array).tobytes())
        for frame, matrix in sorted(given.cameras.items()):
            digest.update(f"{frame}".encode() + matrix.tobytes())
    return digest.hexdigest()


def read_trials(path: Path, digest: str) -> list[Trial]:
    """Read the trials of an earlier search; a last line that was cut off is left out.

    Raises:
        DataError: The file is of another plan or other sequences, or damaged before its last line.
    """
    lines = path.read_text("utf-8", errors="replace").splitlines()
    found, trials = "", list[Trial]()
    for place, line in enumerate(lines):
        try:
            row = json.loads(line)
            if place == 0:
                found = row["plan"]
            else:
                trials.append(Trial(row["number"], dict(row["settings"]), row["value"]))
        except (ValueError, KeyError, TypeError) as error:
            if 0 < place == len(lines) - 1:
                break
            raise DataError(f"{path}:{place + 1} must be a line of a search, got {line[:80]!r}") from error
    if found != digest:
        raise DataError(f"{path}: is of another search: tracker, ranges, fixed settings, seed or sequences differ")
    if [t.number for t in trials] != list(range(len(trials))):
        raise DataError(f"{path}: must hold trials 0, 1, 2 ... in order")
    return trials


class Search:
    """A search over the settings of a tracker by a tree-structured Parzen estimator (Bergstra et al., 2011).

    The first trial is the defaults.

    Args:
        plan: What is searched.
        sequences: To tune on.
        processes: Sequences that are measured at once.

    Raises:
        MissingDependencyError: optuna is not installed.
    """

    def __init__(self, plan: Plan, sequences: Mapping[str, LabelledSequence], processes: int = 1) -> None:
        try:
            import optuna
        except ImportError as error:
            raise MissingDependencyError(f"tuning needs optuna ({error}); run: pip install 'yolokkn[tune]'") from None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna, self.plan, self._sequences, self._processes = optuna, plan, dict(sequences), processes
        self._study = optuna.create_study(direction="maximize")
        self._distributions = {name: self._distribution(one) for name, one in plan.space.items()}
        self.trials: list[Trial] = []

    def _distribution(self, one: Range | Choices) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(one, Range):
            return kinds.CategoricalDistribution(one)
        if one.whole:
            return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
        return kinds.FloatDistribution(one.low, one.high, log=one.log)

    def take_up(self, trials: Sequence[Trial]) -> None:
        """Go on after these trials."""
        for trial in trials:
            self._learn(trial)

    def _learn(self, trial: Trial) -> None:
        state = self._optuna.trial.TrialState
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=state.FAIL if trial.value is None else state.COMPLETE,
                value=trial.value,
                params=trial.settings,
                distributions=self._distributions,
            )
        )
        self.trials.append(trial)

    def _next_settings(self) -> dict[str, Any]:
        """Choose what is tried next: of the seed and the trials so far alone, so that a search can be cut anywhere."""
        number = len(self.trials)
        if number == 0:
            return self.plan.defaults()
        seed = int(np.random.SeedSequence([self.plan.seed, number]).generate_state(1)[0])
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=min(10, 2 * len(self._distributions)), multivariate=True
        )
        asked = self._study.ask(self._distributions)
        settings = {name: self._rounded(name, value) for name, value in asked.params.items()}
        self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)  # what it gives is learned by `_learn`
        return settings

    def _rounded(self, name: str, value: Any) -> Any:
        """Return a value to four digits: what people will read, and what is measured."""
        one = self.plan.space[name]
        if not isinstance(one, Range) or one.whole:
            return value
        return min(max(float(f"{value:.4g}"), one.low), one.high)

    def run(self, num_trials: int) -> Iterator[Trial]:
        """Yield each new trial, until there are so many in all."""
        with self._measurer() as measure:
            while len(self.trials) < num_trials:
                settings = self._next_settings()
                trial = Trial(len(self.trials), settings, objective_of(self.plan, settings, measure))
                self._learn(trial)
                yield trial

    @contextmanager
    def _measurer(self) -> Iterator[Callable[[Mapping[str, Any]], MotMetrics]]:
        count = min(self._processes, len(self._sequences))
        if count <= 1:
            yield lambda settings: measure_settings(self.plan, self._sequences, settings)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            count, context, initializer=_Worker.begin, initargs=(self.plan, self._sequences)
        ) as pool:

            def measure(settings: Mapping[str, Any]) -> MotMetrics:
                names = list(self._sequences)
                rows = list(pool.map(_Worker.measure, names, [dict(settings)] * len(names)))
                return MotMetrics(dict(zip(names, rows, strict=True)), MotFigures.join(rows))

            yield measure

    @property
    def best(self) -> Trial | None:
        """The best trial, of equal ones the first; None while the tracker has refused all."""
        measured = [(t.value, -t.number, t) for t in self.trials if t.value is not None]
        return max(measured)[2] if measured else None


class _Worker:
    """What a process of the pool keeps between its calls."""

    plan: Plan
    sequences: dict[str, LabelledSequence]

    @classmethod
    def begin(cls, plan: Plan, sequences: dict[str, LabelledSequence]) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
        cls.plan, cls.sequences = plan, sequences

    @classmethod
    def measure(cls, name: str, settings: dict[str, Any]) -> MotFigures:
        return measure_settings(cls.plan, {name: cls.sequences[name]}, settings).combined


def measure_settings(plan: Plan, sequences: Mapping[str, LabelledSequence], settings: Mapping[str, Any]) -> MotMetrics:
    """Measure a plan's tracker with settings.

    Raises:
        ValueError: The tracker refuses the settings.
    """
    values = {**plan.fixed, **settings}
    return measure_tracker(
        sequences,
        lambda rate: create(plan.tracker, frame_rate=rate, **values),
        rules=plan.rules,
        fill=plan.fill,
    )


def objective_of(
    plan: Plan, settings: Mapping[str, Any], measure: Callable[[Mapping[str, Any]], MotMetrics]
) -> float | None:
    """Return the objective of settings; None where the tracker refuses them together."""
    try:
        create(plan.tracker, **{**plan.fixed, **settings})
    except ValueError:
        return None
    return float(measure(settings).combined.figures()[plan.objective])


def trial_log(plan: Plan, digest: str, trials: Sequence[Trial]) -> str:
    """Return the log of a search so far: a line that names the plan, and one for each trial."""
    first = json.dumps({"plan": digest, "tracker": plan.tracker, "objective": plan.objective}) + "\n"
    return first + "".join(trial.line() for trial in trials)
