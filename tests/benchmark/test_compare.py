"""What two runs say: slower, faster, or no difference."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from tests.benchmark.runs import MACHINE, drawn, run_of, yardstick
from yolokkn import ops
from yolokkn.benchmark import Case, Plan, against, compare_runs, measure, yardsticks
from yolokkn.benchmark.compare import (
    ABSENT,
    FASTER,
    REFUSED,
    SAME,
    SLOWER,
    comparison_table,
    quiet_blocks,
    times_as_fast,
)
from yolokkn.benchmark.results import BenchmarkRun, CaseResult
from yolokkn.benchmark.statistics import block_medians, block_noise, quantile, ratio_interval


def verdict(a, b, **more):
    (change,) = compare_runs(run_of(a, *more.get("before", ())), run_of(b, *more.get("after", ()))).changes
    return change.verdict


@pytest.mark.parametrize("times", [1.3, 2.0, 10.0])
def test_what_became_slower_is_caught_and_its_inverse_is_faster(times):
    before, after = drawn(seed=1), drawn(seed=2, median=times)
    assert verdict(before, after) == SLOWER
    assert verdict(after, before) == FASTER
    (change,) = compare_runs(run_of(before), run_of(after)).changes
    assert change.low < change.ratio < change.high and change.low < times < change.high


def test_runs_alike_show_no_difference_however_often_one_looks():
    found = [verdict(drawn(seed=2 * i, drift=0.05), drawn(seed=2 * i + 1, drift=0.05)) for i in range(200)]
    assert found.count(SAME) >= 198  # 99% intervals, and the noise floor on top


def test_a_change_below_the_noise_of_the_blocks_is_no_difference():
    before, after = drawn(seed=1, drift=0.3), drawn(seed=2, drift=0.3, median=1.25)
    assert verdict(before, after) == SAME
    quiet = drawn(seed=1), drawn(seed=2, median=1.25)
    assert verdict(*quiet) == SLOWER


def test_a_change_of_two_per_cent_is_not_claimed_however_sure():
    before, after = drawn(seed=1, noise=0.001), drawn(seed=2, noise=0.001, median=1.02)
    (change,) = compare_runs(run_of(before), run_of(after)).changes
    assert change.low > 1 and change.verdict == SAME and "noise floor" in change.reason


def test_few_rounds_tell_nothing():
    before, after = drawn(seed=1, rounds=5), drawn(seed=2, rounds=5, median=9.0)
    (change,) = compare_runs(run_of(before), run_of(after)).changes
    assert change.verdict == SAME and change.reason == "5 rounds are too few to tell: 6 at least" and change.ratio > 8
    assert verdict(drawn(seed=1, rounds=6), drawn(seed=2, rounds=6, median=9.0)) == SLOWER


def test_what_the_machine_lost_is_no_difference_and_what_is_more_is():
    before, after = [yardstick(seed=3)], [yardstick(1.5, seed=4)]
    assert verdict(drawn(seed=1), drawn(seed=2, median=1.5), before=before, after=after) == SAME
    assert verdict(drawn(seed=1), drawn(seed=2, median=3.0), before=before, after=after) == SLOWER
    assert verdict(drawn(seed=1, median=1.5), drawn(seed=2), before=after, after=before) == SAME
    others = [yardstick(seed=3, beside="trackers")], [yardstick(1.5, seed=4, beside="trackers")]
    assert verdict(drawn(seed=1), drawn(seed=2, median=1.5), before=others[0], after=others[1]) == SLOWER


def test_calls_during_which_a_core_was_taken_away_do_not_count():
    busy = drawn(seed=2, disturbed=0.6)
    assert quantile(busy.samples_ms, 0.5) > 2
    assert verdict(drawn(seed=1), busy) == SAME


def test_nothing_is_claimed_where_the_slower_calls_lost_their_cores_much_more_often():
    calm, robbed = drawn(seed=1, median=16.0), drawn(seed=2, median=40.0)
    calm, robbed = (
        replace(r, disturbed=np.random.default_rng(0).random(192) < p) for r, p in ((calm, 0.45), (robbed, 1.0))
    )
    (change,) = compare_runs(run_of(calm), run_of(robbed)).changes
    assert change.verdict == SAME and "others took its cores away" in change.reason
    assert verdict(robbed, calm) == SAME
    longer = replace(robbed, disturbed=np.random.default_rng(0).random(192) < 1 - 0.55 ** (40 / 16))  # at the same rate
    assert verdict(calm, longer) == SLOWER


def test_what_is_wrong_or_missing_in_one_run_is_said():
    wrong = CaseResult("nms", "kernels", 1, refused="3 of 4 values differ")
    absent = CaseResult("nms", "kernels", 1, missing="not installed")
    assert verdict(drawn(), wrong) == REFUSED
    assert verdict(wrong, drawn()) == verdict(drawn(), absent) == ABSENT
    found = compare_runs(run_of(drawn("old")), run_of(drawn("new")))
    assert [(c.name, c.verdict) for c in found.changes] == [("new", ABSENT), ("old", ABSENT)]
    said = comparison_table(compare_runs(run_of(drawn()), run_of(wrong)))
    assert "refused: its output differs from the reference: 3 of 4 values differ" in said


def test_other_machines_models_and_versions_are_named():
    other = replace(run_of(drawn(), model={"name": "b.onnx", "sha256": "1"}), machine={**MACHINE, "cpu": "another"})
    found = compare_runs(run_of(drawn(), model={"name": "a.onnx", "sha256": "0"}), other)
    assert found.differences == ("cpu a processor -> another", "name a.onnx -> b.onnx", "sha256 0 -> 1")
    assert "the runs differ in more than the code: cpu a processor" in comparison_table(found)


def test_blocks_follow_the_rounds_and_their_noise_is_a_share():
    rounds = np.repeat(np.arange(24), 2)
    medians = block_medians(np.where(rounds < 12, 1.0, 2.0), rounds, 12)
    assert medians.tolist() == [1.0] * 6 + [2.0] * 6
    assert block_noise(medians) == pytest.approx(1.0)
    assert block_noise(medians[:1]) == 0.0 and len(block_medians(np.zeros(0), np.zeros(0))) == 0


def test_the_interval_holds_the_ratio_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        a, b = np.exp(0.1 * rng.normal(size=12)), 1.5 * np.exp(0.1 * rng.normal(size=12))
        _, low, high = ratio_interval(a, b, confidence=0.9, seed=seed, num_draws=500)
        held += low <= 1.5 <= high
    assert 165 <= held <= 200
    with pytest.raises(ValueError, match="both runs must have blocks, got 0 and 3"):
        ratio_interval(np.zeros(0), np.ones(3))
    with pytest.raises(ValueError, match="confidence must be between 0 and 1, got 1"):
        ratio_interval(np.ones(3), np.ones(3), confidence=1)


def test_within_a_run_what_disturbs_both_leaves_their_ratio_alone():
    level = np.repeat(np.exp(0.8 * np.random.default_rng(3).normal(size=12)), 16).astype(np.float32)
    fast, slow = (replace(r, samples_ms=r.samples_ms * level) for r in (drawn(seed=1), drawn(seed=2, median=1.5)))
    ratio, low, high = times_as_fast(fast, slow)
    assert 1.4 < low < ratio < high < 1.6
    _, wide_low, wide_high = ratio_interval(quiet_blocks(fast), quiet_blocks(slow))
    assert wide_low < 1 < wide_high
    with pytest.raises(ValueError, match="must have rounds in common"):
        times_as_fast(fast, replace(slow, rounds=slow.rounds + 100))


def suppression(slower=None):
    """A real kernel, as it is or made slower on purpose."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 600, (1500, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(20, 200, (1500, 2)).astype(np.float32)], 1)
    work = boxes, rng.random(1500).astype(np.float32), np.zeros(1500, np.int32)

    def make():
        def run(value):
            if slower == "sleep":
                time.sleep(0.002)
            for _ in range(4 if slower == "calls" else 1):
                kept = ops.nms(*value, iou_threshold=0.7)
            return kept[1:] if slower == "wrong" else kept

        return run

    def twin():
        return lambda value: ops.reference.nms(*value, iou_threshold=0.7)

    return Case("nms, 1500 boxes", "kernels", make, [work], against(twin, [work]))


def measured(slower=None):
    results = measure([suppression(slower), *yardsticks("kernels")], Plan(budget_s=0.8, min_rounds=36))
    return BenchmarkRun("", MACHINE, {}, {}, results)


@pytest.fixture(scope="module")
def before():
    return measured()


@pytest.mark.parametrize(("slower", "wanted"), [("sleep", SLOWER), ("calls", SLOWER), ("wrong", REFUSED), (None, SAME)])
def test_a_kernel_slowed_on_purpose_is_caught_a_wrong_one_refused_and_an_equal_one_let_pass(before, slower, wanted):
    after = measured(slower)
    (change,) = compare_runs(before, after).changes
    assert change.verdict == wanted, comparison_table(compare_runs(before, after))
    if wanted == REFUSED:
        assert not after.results[0].is_measured and "against int64" in after.results[0].refused
