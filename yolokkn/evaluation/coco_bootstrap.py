"""How uncertain a difference of two APs over the same pictures is: a bootstrap over the pictures, the same draw for both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.evaluation.coco_metrics import Judged, compute_curves


def ap_difference_interval(
    first: Judged, second: Judged, *, num_samples: int = 200, seed: int = 0, share: float = 0.95
) -> tuple[float, float]:
    """Return the interval that holds a share of the differences (second less first) over redrawn pictures.

    Pictures are drawn with replacement, as many as there are; both models are measured on each draw (Efron's percentile
    interval, paired). Takes some hundredths of a second a draw for a few hundred pictures of 80 classes.

    Args:
        first: What `evaluate_coco` judged of the first model.
        second: Of the second, over the same pictures and categories.
        num_samples: Draws.
        seed: Of the draws.
        share: What the interval holds.

    Raises:
        ValueError: The two are of other pictures.
    """
    if first.truths.shape != second.truths.shape:
        raise ValueError(
            f"ap_difference_interval: second must be over {first.truths.shape} categories and pictures as first is, got "
            f"{second.truths.shape}"
        )
    generator = np.random.default_rng(seed)
    num_images = first.truths.shape[1]
    differences: list[float] = []
    for _ in range(num_samples):
        times = np.bincount(generator.integers(0, num_images, num_images), minlength=num_images)
        differences.append(ap_of(second, times) - ap_of(first, times))
    ends: np.ndarray = np.quantile(np.array(differences), np.array([(1 - share) / 2, (1 + share) / 2]))
    return float(ends[0]), float(ends[1])


def ap_of(judged: Judged, times: np.ndarray | Sequence[int]) -> float:
    """Return AP where each picture is there so many times, (I,) int; all once gives that of `evaluate_coco`."""
    weights = np.asarray(times)
    rows: np.ndarray = np.repeat(np.arange(len(judged.images)), weights[judged.images])
    counting = (judged.truths @ weights)[None]
    curves = compute_curves(
        judged.is_hit[rows], judged.is_miss[rows], judged.categories[rows], rows * 0, (1,), counting
    )
    return curves.ap()
