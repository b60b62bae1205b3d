import numpy as np
import pytest

from yolokkn.runtime.timing import LatencyHistogram, LatencyLedger


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_quantiles_are_within_two_percent(q):
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(1, 2, 20_000))
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(float(value))
    assert histogram.quantile(q) == pytest.approx(np.quantile(values, q), rel=0.02)
    assert histogram.max_ms == values.max()
    assert histogram.sum_ms == pytest.approx(values.sum())


def test_extremes_do_not_break_it():
    histogram = LatencyHistogram()
    for value in (-1.0, 0.0, 1e-9, 1e12):
        histogram.add(value)
    assert histogram.count == 4
    assert histogram.quantile(1.0) > 1e6
    assert LatencyHistogram().quantile(0.5) == 0.0


def test_ledger_table_and_dict_agree():
    ledger = LatencyLedger()
    for _ in range(10):
        ledger.add_frame({"decode": 1.0, "inference": 9.0}, age_ms=12.0)
    ledger.add_dropped("late", 3)
    ledger.wall_s = 2.0
    plain = ledger.to_dict()
    assert plain["stages"]["inference"]["share"] == pytest.approx(0.9)
    assert plain["stages"]["inference"]["p99"] == pytest.approx(9.0, rel=0.02)
    assert plain["age_ms"]["max"] == 12.0
    assert plain["dropped"] == {"late": 3}
    assert "10 frames in 2.00 s: 5.0 frames/s; dropped: 3 late" in ledger.table()
