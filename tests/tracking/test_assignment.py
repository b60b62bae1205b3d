import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from yolokkn import tracking
from yolokkn.tracking import reference


@pytest.fixture(params=["reference", "cpu"])
def assign(request):
    return reference.assign if request.param == "reference" else tracking.assign


def total(pairs: np.ndarray, costs: np.ndarray, gate: float) -> float:
    return float(costs[pairs[:, 0], pairs[:, 1]].astype(float).sum()) + gate * (len(costs) - len(pairs))


def least(costs: np.ndarray, gate: float) -> float:
    """The same optimum by SciPy: each row also has a column of its own that costs the gate."""
    n, m = costs.shape
    padded = np.full((n, m + n), 1e9)
    padded[:, :m] = np.where(costs <= gate, costs, 1e9)
    padded[np.arange(n), m + np.arange(n)] = gate
    rows, columns = linear_sum_assignment(padded)
    return float(padded[rows, columns].sum())


@pytest.mark.parametrize(
    ("costs", "gate", "pairs"),
    [
        ([[0.1]], 0.5, [[0, 0]]),
        ([[0.5]], 0.5, [[0, 0]]),  # exactly at the gate: a pair
        ([[0.6]], 0.5, []),
        ([[0.1, 0.2], [0.2, 0.9]], 0.5, [[0, 1], [1, 0]]),  # two pairs beat the cheapest one
        ([[0.1, 0.6], [0.3, 0.9]], 0.5, [[0, 0]]),
        ([[0.25, 0.25], [0.25, 0.25]], 1.0, [[0, 0], [1, 1]]),  # all tie: lowest row, lowest column
        ([[0.25], [0.25]], 1.0, [[0, 0]]),  # the lower row keeps the column
        ([[0.5], [0.25]], 1.0, [[1, 0]]),
        ([[np.nan, 0.3], [np.inf, np.nan]], 1.0, [[0, 1]]),
        ([[-2.0, -3.0]], 0.0, [[0, 1]]),
    ],
)
def test_hand_computed(assign, costs, gate, pairs):
    got = assign(np.array(costs, np.float32), gate)
    assert got.dtype == np.int64
    assert got.tolist() == pairs


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_empty(assign, shape):
    assert assign(np.zeros(shape, np.float32), 1.0).shape == (0, 2)


def test_least_total_by_brute_force(assign):
    rng = np.random.default_rng(5)
    for _ in range(100):
        n, m = (int(v) for v in rng.integers(1, 5, 2))
        costs, gate = rng.uniform(0, 1, (n, m)).astype(np.float32), float(rng.uniform(0.2, 1))
        best = min(
            sum(float(costs[r, c]) if c < m and costs[r, c] <= gate else gate for r, c in enumerate(p))
            for p in itertools.permutations(range(n + m), n)
        )
        assert total(assign(costs, gate), costs, gate) == pytest.approx(best, abs=1e-6)


def test_least_total_of_thousands_equals_scipy():
    rng = np.random.default_rng(0)
    for _ in range(2500):
        n, m = rng.integers(0, 25, 2)
        costs, gate = rng.uniform(0, 1, (n, m)).astype(np.float32), float(rng.choice([0.05, 0.2, 0.5, 1.0]))
        pairs = tracking.assign(costs, gate)
        assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
        assert (costs[pairs[:, 0], pairs[:, 1]] <= gate).all()
        assert total(pairs, costs, gate) == pytest.approx(least(costs, gate), abs=1e-6)


def test_large_equals_scipy():
    rng = np.random.default_rng(1)
    costs = rng.uniform(0, 1, (300, 280)).astype(np.float32)
    for gate in (0.01, 0.3):
        assert total(tracking.assign(costs, gate), costs, gate) == pytest.approx(least(costs, gate), abs=1e-5)


def test_many_ties_equal_reference():
    rng = np.random.default_rng(2)
    for _ in range(400):
        n, m = rng.integers(0, 12, 2)
        costs = (rng.integers(0, 5, (n, m)) / 4).astype(np.float32)
        costs[rng.random((n, m)) < 0.3] = np.inf
        for gate in (0.25, 0.5, 1.0):
            np.testing.assert_array_equal(tracking.assign(costs, gate), reference.assign(costs, gate))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_floats_equal_reference(data):
    n, m = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))
    value = st.floats(-4, 4, width=16) | st.sampled_from([np.nan, np.inf, -np.inf])
    costs = np.array(data.draw(st.lists(value, min_size=n * m, max_size=n * m)), np.float32).reshape(n, m)
    np.testing.assert_array_equal(tracking.assign(costs, 2.0), reference.assign(costs, 2.0))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_pairs_are_a_matrix_of_them(data):
    """Rows and columns of any names, pairs in any order: the pairs of the reference over the whole matrix."""
    n, m = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    value = st.integers(-8, 8).map(lambda v: v / 4) | st.sampled_from([np.nan, np.inf, -np.inf])
    costs = np.array(data.draw(st.lists(value, min_size=n * m, max_size=n * m)), np.float64).reshape(n, m)
    order = np.array(data.draw(st.permutations(range(n * m))))
    rows, columns = np.divmod(order, m)
    name = st.integers(-(2**63), 2**63 - 1)
    row_names = np.sort(np.array(list(data.draw(st.sets(name, min_size=n, max_size=n))), np.int64))
    column_names = np.sort(np.array(list(data.draw(st.sets(name, min_size=m, max_size=m))), np.int64))
    got = tracking.assign_pairs(row_names[rows], column_names[columns], costs.ravel()[order], 1.0)
    wanted = reference.assign(costs, 1.0)
    np.testing.assert_array_equal(np.stack((rows[got], columns[got]), 1), wanted)


def test_of_equal_pairs_the_cheapest_counts():
    rows, columns, costs = np.array([3, 3, 3, 9]), np.array([1, 1, 1, 1]), np.array([0.5, 0.25, 0.25, 0.75])
    assert tracking.assign_pairs(rows, columns, costs, 1.0).tolist() == [1]


def test_what_no_pair_connects_costs_nothing_more():
    """A million frames of one pair each are one problem, and quick."""
    names = np.arange(1_000_000)
    chosen = tracking.assign_pairs(names, names[::-1].copy(), np.full(len(names), 0.5), 1.0)
    np.testing.assert_array_equal(chosen, names)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"rows": [0]}, TypeError, "assign_pairs: rows must be a NumPy array of int64, got list"),
        ({"columns": np.zeros(1, np.int32)}, TypeError, "columns must have dtype int64, got int32"),
        ({"costs": np.zeros(2)}, ValueError, r"costs must have shape \(1,\), got \(2,\)"),
    ],
)
def test_refuses_pairs_that_do_not_fit(change, error, text):
    fitting = {"rows": np.zeros(1, np.int64), "columns": np.zeros(1, np.int64), "costs": np.zeros(1)}
    with pytest.raises(error, match=text):
        tracking.assign_pairs(**{**fitting, **change}, max_cost=1.0)


def test_all_ties_of_a_large_matrix_are_fast():
    pairs = tracking.assign(np.full((1500, 1500), 0.5, np.float32), 0.8)
    np.testing.assert_array_equal(pairs, np.stack([np.arange(1500)] * 2, 1))


@pytest.mark.parametrize(
    ("bad", "error", "text"),
    [
        ([[0.1]], TypeError, "assign: costs must be a NumPy array of float32, got list"),
        (np.zeros((1, 2)), TypeError, "costs must have dtype float32, got float64"),
        (np.zeros(3, np.float32), ValueError, r"costs must have shape \(\*, \*\), got \(3,\)"),
        (np.zeros((4, 4), np.float32)[:, ::2], ValueError, "costs must be C-contiguous"),
    ],
)
def test_refuses_what_does_not_fit(bad, error, text):
    with pytest.raises(error, match=text):
        tracking.assign(bad, 1.0)
