"""Quantiles of samples, and how sure the ratio of two medians is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

NUM_BLOCKS = 12
NUM_DRAWS = 4000


def quantile(values: np.ndarray, q: float) -> float:
    """Return the smallest value that a share q of the values does not pass (nearest rank); NaN without values.

    Example:
        >>> quantile(np.arange(1, 101), 0.99), quantile(np.array([5.0, 1.0, 3.0]), 0.5)
        (99.0, 3.0)
    """
    if not 0 <= q <= 1:
        raise ValueError(f"quantile: q must be within 0 and 1, got {q}")
    ordered = np.sort(np.asarray(values, np.float64), axis=None)
    if not ordered.size:
        return math.nan
    return float(ordered[max(math.ceil(round(q * ordered.size, 9)) - 1, 0)])


def block_medians(samples: np.ndarray, rounds: np.ndarray, num_blocks: int = NUM_BLOCKS) -> np.ndarray:
    """Return the median of each block: neighbouring rounds, in the order of time; blocks without samples are left out.

    Args:
        samples: (N,) milliseconds.
        rounds: (N,) the round in which each was taken, rising.
        num_blocks: At most so many blocks, of like numbers of rounds.
    """
    if not len(samples):
        return np.zeros(0)
    present = np.unique(rounds)
    pieces = np.array_split(present, min(num_blocks, len(present)))
    return np.array([np.median(samples[np.isin(rounds, piece)]) for piece in pieces])


def ratio_interval(
    before: np.ndarray, after: np.ndarray, *, confidence: float = 0.99, seed: int = 0, num_draws: int = NUM_DRAWS
) -> tuple[float, float, float]:
    """Return the ratio of the medians of two runs' blocks, after over before, and its bootstrapped interval.

    Blocks rather than samples are drawn (with replacement, in both runs): neighbouring samples share what the machine did
    at that time, and drawing them one by one would make the interval much too narrow (Kunsch, 1989).

    Args:
        before: (B,) block medians, all above 0.
        after: Likewise, of the other run.
        confidence: Share of the draws within the interval.
        seed: Of the draws.
        num_draws: How many.

    Returns:
        (ratio, low, high).

    Raises:
        ValueError: A run has no blocks, or the confidence is not between 0 and 1.

    Example:
        >>> ratio_interval(np.full(8, 2.0), np.full(8, 3.0))
        (1.5, 1.5, 1.5)
    """
    if not len(before) or not len(after):
        raise ValueError(f"ratio_interval: both runs must have blocks, got {len(before)} and {len(after)}")
    if not 0 < confidence < 1:
        raise ValueError(f"ratio_interval: confidence must be between 0 and 1, got {confidence}")
    rng = np.random.default_rng(seed)
    drawn = []
    for values in (before, after):
        picks = rng.integers(0, len(values), (num_draws, len(values)))
        drawn.append(np.median(values[picks], axis=1))
    ratios = np.sort(drawn[1] / drawn[0])
    outside = (1 - confidence) / 2
    low, high = np.quantile(ratios, [outside, 1 - outside])
    ratio = float(np.median(after) / np.median(before))
    return ratio, min(float(low), ratio), max(float(high), ratio)


def paired_interval(
    ratios: np.ndarray, *, confidence: float = 0.99, seed: int = 0, num_draws: int = NUM_DRAWS
) -> tuple[float, float, float]:
    """Return the median of ratios that were taken at the same times, and its bootstrapped interval.

    Args:
        ratios: (B,) one a block, above 0.
        confidence: Share of the draws within the interval.
        seed: Of the draws.
        num_draws: How many.

    Returns:
        (ratio, low, high).

    Raises:
        ValueError: There are none, or the confidence is not between 0 and 1.

    Example:
        >>> paired_interval(np.array([2.0, 2.0, 2.0]))
        (2.0, 2.0, 2.0)
    """
    if not len(ratios):
        raise ValueError("paired_interval: ratios must hold one at least, got none")
    if not 0 < confidence < 1:
        raise ValueError(f"paired_interval: confidence must be between 0 and 1, got {confidence}")
    picks = np.random.default_rng(seed).integers(0, len(ratios), (num_draws, len(ratios)))
    drawn = np.median(ratios[picks], axis=1)
    outside = (1 - confidence) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return float(np.median(ratios)), float(low), float(high)


def block_noise(medians: np.ndarray) -> float:
    """Return how far a run's blocks lie apart, as a share: the 90th of a hundred over the 10th, less 1; 0 for one block."""
    if len(medians) < 2:
        return 0.0
    low, high = np.quantile(medians, [0.1, 0.9])
    return float(high / low - 1)


def spread(values: Sequence[float] | np.ndarray) -> float:
    """Return the distance of the quartiles as a share of the median; NaN without values.

    Example:
        >>> spread([1.0, 2.0, 3.0, 4.0])
        1.0
    """
    array = np.asarray(values, np.float64)
    middle = quantile(array, 0.5)
    return (quantile(array, 0.75) - quantile(array, 0.25)) / middle if middle else math.nan
