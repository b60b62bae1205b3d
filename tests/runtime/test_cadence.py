"""Which frames the network sees: fixed, and within a budget."""

import pytest

from yolokkn.runtime.cadence import MOST_FRAMES, EveryNth, WithinBudget
from yolokkn.runtime.track import make_cadence


def simulate(cadence, network_ms, num_frames, agreement=0.9):
    """Run frames through; costs and agreements may be functions of the frame. Returns which frames were seen."""
    seen = []
    for frame in range(num_frames):
        if cadence.wants():
            seen.append(frame)
            cost = network_ms(frame) if callable(network_ms) else network_ms
            cadence.saw(cost, agreement(frame) if callable(agreement) else agreement)
    return seen


@pytest.mark.parametrize("every", range(1, MOST_FRAMES + 1))
def test_every_nth(every):
    assert simulate(EveryNth(every), 5.0, 100) == list(range(0, 100, every))


@pytest.mark.parametrize("every", [0, -1, MOST_FRAMES + 1, 2.0, True, "2"])
def test_numbers_that_are_none(every):
    with pytest.raises(ValueError, match=f"EveryNth: every must be a whole number within 1 and {MOST_FRAMES}, got"):
        EveryNth(every)


@pytest.mark.parametrize(
    ("network_ms", "every"), [(1.0, 1), (35.0, 1), (37.0, 2), (70.0, 2), (75.0, 3), (250.0, 7), (9e9, 8)]
)
def test_a_budget_is_kept_by_as_few_carried_frames_as_can_be(network_ms, every):
    cadence = WithinBudget(40.0)
    simulate(cadence, network_ms, 2000)
    assert cadence.every == every


def test_what_is_cold_does_not_count():
    cadence = WithinBudget(40.0)
    assert simulate(cadence, lambda frame: 900.0 if frame < 3 else 10.0, 100) == list(range(100))


def test_single_slow_frames_change_nothing():
    cadence = WithinBudget(40.0)
    assert simulate(cadence, lambda frame: 500.0 if frame % 5 == 0 else 30.0, 1000) == list(range(1000))


def test_a_machine_that_gets_busy_and_idle_again():
    cadence = WithinBudget(40.0)
    simulate(cadence, 20.0, 100)
    assert cadence.every == 1
    simulate(cadence, 60.0, 100)
    assert cadence.every == 2
    simulate(cadence, 56.0, 400)  # fits with more to spare than before, but 1 frame in 1 does not
    assert cadence.every == 2
    simulate(cadence, 33.0, 800)  # would fit, but for the reserve that keeps it from going back and forth
    assert cadence.every == 2
    simulate(cadence, 20.0, 200)
    assert cadence.every == 1


def test_costs_at_the_edge_do_not_make_it_go_back_and_forth():
    cadence, changes, last = WithinBudget(40.0), 0, 1
    for frame in range(4000):
        if cadence.wants():
            cadence.saw(36.0 + (frame % 7 - 3) * 0.5, 0.9)
        changes += cadence.every != last
        last = cadence.every
    assert changes <= 1


def test_bad_expectations_cut_what_the_budget_asks_for():
    cadence = WithinBudget(40.0)
    simulate(cadence, 150.0, 400)
    assert cadence.every == 5
    simulate(cadence, 150.0, 120, agreement=0.3)
    assert cadence.every < 5
    simulate(cadence, 150.0, 3000, agreement=0.3)
    assert cadence.every == 1
    simulate(cadence, 150.0, 3000, agreement=0.9)
    assert cadence.every == 5


def test_without_objects_only_the_budget_counts():
    cadence = WithinBudget(40.0)
    simulate(cadence, 100.0, 400, agreement=None)
    assert cadence.every == 3


@pytest.mark.parametrize("most", [1, 3])
def test_never_more_than_the_most(most):
    cadence = WithinBudget(1.0, most=most)
    simulate(cadence, 100.0, 500)
    assert cadence.every == most


@pytest.mark.parametrize(
    ("budget", "most"), [(0.0, 8), (-1.0, 8), (float("nan"), 8), (float("inf"), 8), (5.0, 0), (5.0, 9)]
)
def test_budgets_that_are_none(budget, most):
    with pytest.raises(ValueError, match="WithinBudget: "):
        WithinBudget(budget, most)


def test_what_is_asked_for():
    assert make_cadence(1, None, 25.0) is None
    assert make_cadence(4, None, 25.0).every == 4
    assert make_cadence("auto", None, 25.0).budget_ms == 40.0
    assert make_cadence("auto", 7.5, 25.0).budget_ms == 7.5
    assert make_cadence("auto", None, None).budget_ms == pytest.approx(1e3 / 30)
    with pytest.raises(ValueError, match='budget_ms must come with detect_every="auto"'):
        make_cadence(3, 10.0, 25.0)
    with pytest.raises(ValueError, match="detect_every must be a number of frames or \"auto\", got 'often'"):
        make_cadence("often", None, 25.0)
