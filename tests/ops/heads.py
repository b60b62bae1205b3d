"""Raw outputs for the tests of the decoders, hard values included, and the comparison of two results."""

from __future__ import annotations

import numpy as np

from yolokkn.ops import Candidates

SPECIAL = np.array(
    [np.nan, -np.nan, np.inf, -np.inf, 1e-40, -1e-40, 0, -0.0, 1, 0.25, np.nextafter(np.float32(0.25), 1), 3e38],
    np.float32,
)


def random_values(rng: np.random.Generator, shape: tuple[int, ...], *, logits: bool = False) -> np.ndarray:
    """Float32 in [0, 1], or logits; sometimes coarse (many ties), sometimes with SPECIAL values strewn in."""
    values = rng.normal(0, 3, shape) if logits else rng.random(shape) ** 3
    if rng.random() < 0.4:
        values = np.round(values * 8) / 8
    values = values.astype(np.float32)
    hit = rng.random(shape) < rng.choice([0, 0.001, 0.02])
    values[hit] = rng.choice(SPECIAL, int(hit.sum()))
    return values


def random_options(rng: np.random.Generator, num_classes: int) -> dict:
    """The keyword arguments that every decoder takes."""
    return {
        "score_threshold": float(rng.choice([0, 0.001, 0.25, 0.3, 0.5, 1.0])),
        "multi_label": bool(rng.integers(2)),
        "max_candidates": int(rng.choice([1, 5, 50, 30000])),
        "class_mask": None if rng.random() < 0.6 else rng.random(num_classes) < 0.5,
    }


def random_anchors(rng: np.random.Generator) -> int:
    """A count on and beside the edges of groups, words and blocks."""
    return int(rng.choice([0, 1, 7, 8, 31, 32, 33, 64, 300, 1024, 1031]))


def assert_same(got: Candidates, want: Candidates) -> None:
    """Every byte, dtype and shape agrees."""
    for name, a, b in zip(want._fields, got, want, strict=True):
        if isinstance(b, int):
            assert a == b, name
            continue
        assert a.dtype == b.dtype and a.shape == b.shape, (name, a.dtype, a.shape, b.dtype, b.shape)
        assert a.tobytes() == b.tobytes(), (name, a, b)
