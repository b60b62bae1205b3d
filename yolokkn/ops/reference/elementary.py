"""Specification of exp and sigmoid in float32: fixed steps, so that every implementation gives the same bytes."""

from __future__ import annotations

import numpy as np

_LOG2_E = np.float32(1.44269504)
_LN2_HIGH = np.float32(0.693359375)  # ln 2 = high + low; the high part has 9 bits, so n * high is exact
_LN2_LOW = np.float32(-2.12194440e-4)
_TAYLOR = [np.float32(1 / k) for k in (5040, 720, 120, 24, 6, 2)]
_LARGEST = np.float32(88.72283)
_SMALLEST = np.float32(-87.33654)


def exp(x: np.ndarray) -> np.ndarray:
    """Compute e**x of float32, within 2 ulp: inf above 88.72283, 0 below -87.33654, NaN stays NaN."""
    x = np.asarray(x, np.float32)
    with np.errstate(all="ignore"):
        inside = np.where((x >= _SMALLEST) & (x <= _LARGEST), x, np.float32(0))
        n = np.rint(inside * _LOG2_E)
        r = (inside - n * _LN2_HIGH) - n * _LN2_LOW
        p = np.full_like(r, _TAYLOR[0])
        for coefficient in _TAYLOR[1:]:
            p = p * r + coefficient
        y = (p * r) * r + r + np.float32(1)
        half = np.floor(n * np.float32(0.5))
        y = np.ldexp(np.ldexp(y, half.astype(np.int32)), (n - half).astype(np.int32))
    y = np.where(x > _LARGEST, np.float32(np.inf), np.where(x < _SMALLEST, np.float32(0), y))
    return np.where(np.isnan(x), x, y).astype(np.float32)


def softplus(x: np.ndarray) -> np.ndarray:
    """Compute log(1 + e**x) of float32, in float64: what libraries differ by is lost in the rounding."""
    value = np.asarray(x, np.float64)
    return (np.maximum(value, 0) + np.log1p(np.exp(-np.abs(value)))).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Compute 1 / (1 + exp(-x)) of float32."""
    return np.float32(1) / (np.float32(1) + exp(-np.asarray(x, np.float32)))
