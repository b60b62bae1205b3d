"""Rows that lie together: where each group of ascending keys begins and ends."""

from __future__ import annotations

import numpy as np


def find_groups(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the rows of each wanted key.

    Args:
        keys: (N,) int64, ascending.
        wanted: (M,) int64.

    Returns:
        The first row of each, and one past its last row: (M,) int64; equal where there is none.

    Example:
        >>> [rows.tolist() for rows in find_groups(np.array([1, 1, 4]), np.array([4, 1, 2]))]
        [[2, 0, 2], [3, 2, 2]]
    """
    return np.asarray(np.searchsorted(keys, wanted, side="left")), np.asarray(
        np.searchsorted(keys, wanted, side="right")
    )


def find_offsets(keys: np.ndarray, count: int) -> np.ndarray:
    """Find where each of the groups 0 to count - 1 begins.

    Args:
        keys: (N,) int64 group of each row, ascending, below count.
        count: How many groups there are.

    Returns:
        (count + 1,) int64; group i has the rows offsets[i] to offsets[i + 1].

    Example:
        >>> find_offsets(np.array([0, 0, 2]), 3).tolist()
        [0, 2, 2, 3]
    """
    return np.asarray(np.searchsorted(keys, np.arange(count + 1)))


def number_within(keys: np.ndarray) -> np.ndarray:
    """Number the rows of each group from 0.

    Args:
        keys: (N,) int64, ascending.

    Example:
        >>> number_within(np.array([1, 1, 4])).tolist()
        [0, 1, 0]
    """
    return np.arange(len(keys)) - find_groups(keys, keys)[0]
