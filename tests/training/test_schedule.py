"""Learning rate, mean of the weights and budget: sized to the run, for few steps and many."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from yolokkn.training.budget import Budget
from yolokkn.training.ema import Ema
from yolokkn.training.progress import Progress
from yolokkn.training.schedule import Schedule, plan_schedule


@pytest.mark.parametrize("total", [1, 2, 3, 10, 1000, 100_000])
@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_every_length_has_a_schedule(total, shape):
    schedule = plan_schedule(total, max(total // 100, 1), shape=shape, final=0.05)
    factors = [schedule.factor(i) for i in range(total)]
    assert all(0 < f <= 1 for f in factors)
    peak = factors.index(max(factors))
    assert peak == schedule.warmup_steps <= max(0.1 * total, 0)
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert schedule.factor(total) == pytest.approx(1.0 if shape == "constant" else 0.05)


def test_warm_up_is_what_was_asked_where_there_is_room():
    assert plan_schedule(100_000, 1000, warmup_epochs=3).warmup_steps == 3000
    assert plan_schedule(100_000, 1000, warmup_epochs=0).warmup_steps == 0
    assert plan_schedule(50, 2, warmup_epochs=3).warmup_steps == 5  # an epoch of two steps is no warm-up


def test_impossible_schedules_are_refused():
    with pytest.raises(ValueError, match="warmup_steps must be within"):
        Schedule(10, 10)


@pytest.mark.parametrize("shape", ["cosine", "linear", "constant"])
def test_correcting_the_length_does_not_jump(shape):
    def plan(total):
        return plan_schedule(total, 10, shape=shape)

    progress, before = Progress(1000), 0.0
    for step in range(400):
        schedule = plan(progress.total_steps)
        factor = schedule.factor(step, progress)
        assert abs(factor - before) <= 0.08, f"step {step}"
        if step in (2, 5, 10, 20, 60, 150, 300):
            longer = plan({2: 150, 5: 900, 10: 200, 20: 700, 60: 250, 150: 1500, 300: 400}[step])
            share = progress.share(step)
            progress = schedule.corrected(progress, step, longer)
            assert progress.total_steps == longer.total_steps
            assert progress.share(step) == pytest.approx(share)
            assert longer.factor(step, progress) == pytest.approx(factor)
        before = factor
    assert progress.share(400) == 1.0
    end = plan(400).factor(400, progress)
    assert end == pytest.approx(1.0 if shape == "constant" else 0.01)


def test_the_warm_up_goes_by_steps_when_the_length_was_a_guess():
    guess, real = plan_schedule(100_000, 1000), plan_schedule(1000, 1000)
    progress = guess.corrected(Progress(100_000), 2, real)
    factors = [real.factor(i, progress) for i in range(2, 200)]
    peak = max(range(len(factors)), key=factors.__getitem__)
    assert peak == pytest.approx(real.warmup_steps, abs=2), "two steps were taken slowly"


def test_a_run_out_of_time_takes_no_step_more():
    short = plan_schedule(6, 1)
    assert plan_schedule(10, 1).corrected(Progress(10), 6, short).share(6) == 1.0


def test_the_mean_follows_a_short_run_and_steadies_a_long_one():
    network = nn.Linear(1, 1, bias=False)
    for total, largest in ((20, 0.0), (1000, 0.98), (1_000_000, 0.9999)):
        nn.init.constant_(network.weight, 0.0)
        ema = Ema(network, total)
        steps = min(total, 5000)
        for i in range(steps):
            nn.init.constant_(network.weight, float(i))
            ema.update(network)
        assert ema.largest == pytest.approx(largest, abs=0.001)
        lag = steps - 1 - float(ema.network.weight.detach())
        assert lag <= 0.06 * total + 1  # never further back than its share of the run


def test_the_mean_is_exact():
    network = nn.BatchNorm2d(2)
    ema = Ema(network, 10_000, decay=0.99)
    expected = network.running_mean.clone()
    for i in range(30):
        with torch.no_grad():
            network.running_mean.fill_(i)
            network.num_batches_tracked.fill_(i)
        decay = min(0.99, (1 + i) / (10 + i))
        expected = decay * expected + (1 - decay) * i
        ema.update(network)
    torch.testing.assert_close(ema.network.running_mean, expected)
    assert int(ema.network.num_batches_tracked) == 29
    assert not ema.network.training
    assert not any(p.requires_grad for p in ema.network.parameters())


def test_without_a_mean_the_weights_are_copied():
    network = nn.Linear(3, 2)
    ema = Ema(network, 100, decay=0.0)
    nn.init.normal_(network.weight)
    ema.update(network)
    assert torch.equal(ema.network.weight, network.weight)


@pytest.mark.parametrize("step_s", [0.01, 0.5, 30.0])
def test_a_budget_is_kept(step_s):
    """A run simulated with a clock: it ends before its time, and uses most of it."""
    budget, clock, step = Budget(300.0), 0.0, 0
    progress, since = Progress(1_000_000), 0.0
    measure_s = min(10 * step_s, 30.0)
    while step < progress.total_steps:
        clock += step_s
        step += 1
        budget.saw_step(step_s)
        if step in (2, 5, 10, 20) or step % max(progress.total_steps // 50, 10) == 0 or step_s > 1:
            longer = plan_schedule(max(budget.total_steps(step, clock), 1), 100)
            progress = plan_schedule(progress.total_steps, 100).corrected(progress, step, longer)
        if step % 10 == 0 and budget.wants_measure(clock - since):
            clock += measure_s
            budget.measure_s = measure_s
            since = clock
    clock += measure_s
    assert clock <= 300 + step_s + measure_s
    assert clock >= 0.75 * 300
    assert math.isclose(progress.share(step), 1.0)
