"""Ranges of values: histograms against the numbers themselves; pictures as the network gets them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yolokkn
from tests.deploy.networks import HW, PICTURE, fitted
from yolokkn.deploy import build_onnx, calibration_feeds
from yolokkn.deploy.calibration import METHODS, ValueHistogram, collect_histograms
from yolokkn.errors import ModelError, SourceError

ARRAYS = st.lists(
    st.tuples(st.integers(0, 2**31), st.sampled_from([0.0, 1e-3, 1.0, 37.0]), st.floats(-1, 1)), min_size=1, max_size=4
)


def numbers(parts):
    return [
        (np.random.default_rng(seed).standard_normal(300) * scale + shift * scale).astype(np.float32)
        for seed, scale, shift in parts
    ]


@settings(deadline=None, max_examples=40)
@given(ARRAYS, st.booleans())
def test_a_histogram_counts_every_number_whatever_the_order_of_sizes(parts, symmetric):
    arrays = numbers(parts)
    histogram = ValueHistogram()
    for array in arrays:
        histogram.add(array)
    everything = np.concatenate(arrays)
    assert histogram.counts.sum() == everything.size
    low, high = histogram.value_range("minmax", symmetric=symmetric)
    assert low <= min(everything.min(), 0) and high >= max(everything.max(), 0)
    if not symmetric:
        assert (low, high) == (min(everything.min(), 0), max(everything.max(), 0))
    for method in METHODS:
        inner = histogram.value_range(method, symmetric=symmetric)
        assert low <= inner[0] <= 0 <= inner[1] <= high
        assert not symmetric or inner[0] == -inner[1]


def loss(values, ends):
    step = (ends[1] - ends[0]) / 254
    return float(((np.round(values.clip(*ends) / step) * step - values) ** 2).sum())


def test_mse_loses_less_than_covering_everything_and_is_near_the_best():
    values = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    values[0] = 40
    histogram = ValueHistogram()
    histogram.add(values)
    ends = {method: histogram.value_range(method, symmetric=True) for method in METHODS}
    best = min(loss(values, (-reach, reach)) for reach in np.linspace(8, 40, 200))
    assert loss(values, ends["mse"]) < 1.05 * best < loss(values, ends["minmax"])
    assert ends["minmax"][1] == 40 and 3.3 < ends["percentile"][1] < 4.5


def test_numbers_that_are_none_are_refused():
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="values must be finite"):
            ValueHistogram().add(np.float32([0, bad]))
    with pytest.raises(ValueError, match="method must be one of mse, minmax, percentile, got 'best'"):
        ValueHistogram().value_range("best", symmetric=True)


@pytest.fixture(scope="module")
def content():
    return build_onnx(fitted("yolovkkn2-p", "detect"), verify=False)[0]


def test_the_values_that_are_counted_are_those_that_flow(content):
    model = yolokkn.load(content)
    feeds = model.workspace().feeds(PICTURE)
    histograms = collect_histograms(content, ["images", "detections"], [feeds, feeds])
    assert histograms["images"].counts.sum() == 2 * 3 * HW[0] * HW[1]
    assert histograms["images"].largest == feeds["images"].max()
    assert histograms["detections"].largest == model.backend.run(feeds)["detections"].max()


def test_wrong_feeds(content):
    with pytest.raises(ValueError, match="feeds must hold a picture at least"):
        collect_histograms(content, ["images"], [])
    with pytest.raises(ValueError, match="feeds must give images, got pictures"):
        collect_histograms(content, ["images"], [{"pictures": np.zeros((1, 3, *HW), np.float32)}])
    with pytest.raises(ModelError, match="must give finite numbers, got NaN or infinity in images"):
        collect_histograms(content, ["images"], [{"images": np.full((1, 3, *HW), np.nan, np.float32)}])


def test_pictures_are_spread_over_the_folder_and_letterboxed(content, tmp_path):
    for i in range(10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((40, 60, 3), 10 * i, np.uint8))
    model = yolokkn.load(content)
    counted = []
    feeds = list(calibration_feeds(model, tmp_path, 4, lambda: counted.append(1)))
    assert len(counted) == 4
    middles = [round(float(feed["images"][0, 0, HW[0] // 2, HW[1] // 2]) * 25.5) for feed in feeds]
    assert middles == [0, 2, 5, 7]
    assert all(feed["images"].shape == (1, 3, *HW) for feed in feeds)
    assert len({feed["images"].ctypes.data for feed in feeds}) == 4, "a feed is the caller's own"
    assert len(list(calibration_feeds(model, [PICTURE] * 3, 2))) == 2


def test_pictures_that_cannot_be_read_are_said(content, tmp_path):
    model = yolokkn.load(content)
    with pytest.raises(SourceError, match="must hold images"):
        next(calibration_feeds(model, tmp_path))
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "b.png"), PICTURE)
    with (
        pytest.warns(UserWarning),
        pytest.raises(SourceError, match="every picture must be readable, got 1 that is not"),
    ):
        list(calibration_feeds(model, tmp_path))
    with pytest.raises(ValueError, match="limit must be 1 or more, got 0"):
        next(calibration_feeds(model, tmp_path, 0))
