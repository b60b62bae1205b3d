"""Taking turns: what is timed, what is refused, what is kept."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmark.runs import drawn, run_of
from yolokkn.benchmark import (
    Case,
    Plan,
    Timed,
    Unsuitable,
    against,
    differing,
    machine_record,
    measure,
    pinned,
    read_run,
    run_cases,
)
from yolokkn.benchmark.machine import LoadMeter, allowed_cores
from yolokkn.benchmark.measure import _Live
from yolokkn.benchmark.results import CaseResult, table
from yolokkn.errors import DataError

SMALL = Plan(budget_s=0.05, min_rounds=4, max_rounds=8)


def case(name="double", run=lambda n: n * 2, **more):
    return Case(name, "mine", lambda: run, [1, 2, 3], against(lambda: lambda n: n + n, [1, 2, 3]), **more)


def test_a_wrong_output_gets_no_speed_and_says_what_differs():
    good, bad = measure([case(), case("square", lambda n: n * n)], SMALL)
    assert good.is_measured and not good.refused
    assert not bad.is_measured and bad.refused == "input 0: 1 against 2"
    assert "REFUSED, its output differs from the reference: input 0: 1 against 2" in table((bad,))


def test_what_cannot_run_here_says_why():
    def make():
        raise Unsuitable("not installed")

    (found,) = measure([Case("peer", "mine", make, [0], check=None)], SMALL)
    assert found.missing == "not installed" and not found.is_measured
    (found,) = measure([Case("peer", "mine", make, [0], check=lambda run: "")], SMALL)
    assert found.missing == "not installed"


def test_an_error_of_the_work_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        measure([case("broken", lambda n: n // 0)], SMALL)


def test_cases_take_turns_in_an_order_that_changes_and_inputs_in_theirs():
    seen = []

    def noting(name):
        return Case(name, "mine", lambda: lambda n: seen.append((name, n)), [0, 1, 2], None)

    plan = Plan(budget_s=10, min_rounds=20, max_rounds=20, max_calls=1, warm_calls=1)
    results = measure([noting("a"), noting("b"), noting("c")], plan)
    rounds = [seen[i : i + 6] for i in range(3, len(seen), 6)]
    orders = {tuple(name for name, _ in one[::2]) for one in rounds}
    assert len(rounds) == 20 and len(orders) >= 4
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert [n for name, n in seen if name == "a"][:7] == [0, 1, 2, 0, 1, 2, 0]
    assert [r.rounds.tolist() for r in results] == [list(range(20))] * 3
    other = list(seen)
    seen.clear()
    measure([noting("a"), noting("b"), noting("c")], plan)
    assert seen == other


def test_the_collector_rests_and_comes_back_even_after_an_error():
    states = []
    measure([Case("gc", "mine", lambda: lambda n: states.append(gc.isenabled()), [0], None)], SMALL)
    assert states[-1] is False and gc.isenabled()
    count = [0]

    def fails_late(n):
        count[0] += 1
        return 1 // (count[0] < 20)

    with pytest.raises(ZeroDivisionError):
        measure([Case("late", "mine", lambda: fails_late, [0], None)], Plan(budget_s=5, min_rounds=50))
    assert gc.isenabled()


def test_self_timed_runs_give_their_own_samples_and_stages():
    def run(n):
        return Timed([1.0, 2.0], stages_ms={"decode": [0.5, 0.5], "track": [0.25, 0.75]})

    (found,) = measure([Case("whole", "mine", lambda: run, [0], None, self_timed=True)], SMALL)
    assert found.samples_ms.tolist() == [1.0, 2.0] * (len(found.samples_ms) // 2)
    assert found.rounds[:4].tolist() == [0, 0, 1, 1]
    assert found.stages_ms == {"decode": (0.5, 0.5, 0.5), "track": (0.25, 0.75, 0.75)}


def test_a_call_that_lost_its_core_is_marked():
    def spin(seconds):
        end = os.times().user + seconds
        while os.times().user < end:
            pass

    with pinned(1):  # a process that starts here shares the one core: the system takes turns
        rival = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
        try:
            rival.stdout.readline()
            _, disturbed, _ = _Live(Case("spin", "mine", lambda: spin, [0.2], None), spin).call()
        finally:
            rival.kill()
            rival.communicate()
    assert disturbed


def test_pinned_threads_stay_on_their_cores_and_come_back():
    before = allowed_cores()
    with pinned(1) as cores:
        assert len(cores) == 1 and allowed_cores() == cores
    assert allowed_cores() == before
    with pytest.raises(ValueError, match=f"num_cores must be within 1 and {len(before)}, got 9999"), pinned(9999):
        pass


def test_the_record_tells_machine_and_commit_and_no_paths():
    record = machine_record()
    assert record["cpu"] and record["cores"] >= 1 and record["packages"]["numpy"] and record["memory_gib"] > 0
    assert set(record["clocks"]) == {"mhz", "governor"}
    assert os.path.expanduser("~") not in json.dumps(record) and os.getcwd() not in json.dumps(record)


def test_the_load_of_others_is_seen():
    meter = LoadMeter.start()
    sum(range(2_000_000))
    load = meter.read()
    assert 0 <= load["others"] <= 1 and 0 <= load["stolen"] <= 1 and len(load["average"]) == 3


@pytest.mark.parametrize(
    ("found", "wanted", "said"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), ""),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), "1 of 2 values differ"),
        (np.zeros(2, np.float32), np.zeros(2), "float32 (2,) against float64 (2,)"),
        ([1, (2, "a")], [1, (2, "b")], "[1]: [1]: 'a' against 'b'"),
        ({"a": 1}, {"b": 1}, "dict of 1 against dict of 1"),
        ([1], [1, 2], "list of 1 against list of 2"),
        (Plan(seed=1), Plan(seed=2), "seed: 1 against 2"),
        (None, Plan(), "NoneType against Plan"),
        (None, np.zeros(1), "None against float64 (1,)"),
    ],
)
def test_differences_are_said_in_a_few_words(found, wanted, said):
    assert differing(found, wanted) == said


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Case("", "mine", lambda: None, [0], None), "name and suite must not be empty"),
        (lambda: Case("a", "mine", lambda: None, [], None), "inputs of 'a' must hold one at least, got none"),
        (lambda: Case("a", "mine", lambda: None, [0], None, threads=0), "threads must be 1 or more, got 0"),
        (lambda: Plan(budget_s=0), "budget_s and turn_ms must be above 0, got 0 and 4.0"),
        (lambda: Plan(min_rounds=9, max_rounds=3), "min_rounds and max_rounds must be within"),
        (lambda: measure([case(), case()], SMALL), "must have different names, got 'double' twice in mine"),
    ],
)
def test_wrong_arguments_are_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_run_comes_back_from_its_file_sample_by_sample(tmp_path):
    run = run_cases([case(), case("square", lambda n: n * n)], SMALL, settings={"threads": 1})
    (tmp_path / "a.json").write_text(run.to_json())
    back = read_run(tmp_path / "a.json")
    assert (back.created, back.machine, back.settings) == (run.created, run.machine, run.settings)
    for one, other in zip(run.results, back.results, strict=True):
        assert (one.key, one.refused, one.facts) == (other.key, other.refused, other.facts)
        for name in ("samples_ms", "rounds", "disturbed"):
            assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    assert back.results[0].p99 == run.results[0].p99 > 0
    shown = json.loads((tmp_path / "a.json").read_text())["results"][0]
    assert set(shown["ms"]) == {"p50", "p95", "p99", "max"} and "mean" not in shown["ms"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(format="other"), "must be a file of `yolokkn benchmark --save`"),
        (lambda c: c.pop("machine"), "must hold machine, load, settings and results"),
        (lambda c: c["results"][0].pop("name"), "is not a file of"),
        (lambda c: c["results"][0].update(samples_ms="AAAA"), "is not a file of"),
        (lambda c: c["results"][0].update(samples_ms=c["results"][0]["rounds"]), "samples, rounds and flags"),
        (lambda c: c["results"].append(c["results"][0]), "holds a case twice"),
    ],
)
def test_files_of_others_are_refused_with_one_line(tmp_path, change, said):
    content = json.loads(run_of(drawn(rounds=4, calls=4)).to_json())
    change(content)
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        read_run(tmp_path / "a.json")


def test_samples_of_nonsense_are_refused(tmp_path):
    bad = drawn(rounds=3)
    samples = bad.samples_ms.copy()
    samples[0] = np.nan
    (tmp_path / "a.json").write_text(run_of(drawn()).to_json())
    row = replace(bad, samples_ms=samples).to_dict()
    with pytest.raises(DataError, match="must be milliseconds above 0"):
        CaseResult.from_dict(row, "a.json")
    (tmp_path / "b.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is no JSON"):
        read_run(tmp_path / "b.json")
