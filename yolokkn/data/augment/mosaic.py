"""Mosaics: four or nine pictures on one canvas, each warped once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yolokkn.data.augment.config import AugmentConfig
from yolokkn.data.augment.geometry import Placement, compose, draw_matrix
from yolokkn.data.sample import Sample


def mosaic(samples: Sequence[Sample], rng: np.random.Generator, hw: tuple[int, int], config: AugmentConfig) -> Sample:
    """Put four or nine pictures together on a plane twice the canvas' size, and move that onto the canvas at random.

    The plane itself is never painted: each picture goes straight to its place on the canvas.

    Args:
        samples: Four or nine; the first gives the result its id.
        rng: Decides where.
        hw: Height and width of the canvas.
        config: How much.

    Source: A. Bochkovskiy et al., YOLOv4 (2020), section 3.3.
    """
    if len(samples) not in (4, 9):
        raise ValueError(f"mosaic: samples must be four or nine, got {len(samples)}")
    placements = (_four if len(samples) == 4 else _nine)(samples, rng, hw)
    matrix = draw_matrix(config, rng, (float(hw[1]), float(hw[0])), hw, config.zoom)
    return compose(placements, matrix, hw, config, samples[0].image_id)


def _four(samples: Sequence[Sample], rng: np.random.Generator, hw: tuple[int, int]) -> list[Placement]:
    """Pictures meet with a corner in one point; each fills the canvas' size, what leaves its quarter is cut."""
    h, w = hw
    x, y = (round(v) for v in (rng.uniform(0.5, 1.5, 2) * (w, h)).tolist())
    regions = ((0, 0, x, y), (x, 0, 2 * w, y), (0, y, x, 2 * h), (x, y, 2 * w, 2 * h))
    placements = []
    for i, (sample, region) in enumerate(zip(samples, regions, strict=True)):
        height, width = sample.image.shape[:2]
        gain = min(h / height, w / width)
        dx = x if i % 2 else x - width * gain
        dy = y if i // 2 else y - height * gain
        placements.append(Placement(sample, gain, dx, dy, (*map(float, region),)))  # type: ignore[arg-type]
    return placements


def _nine(samples: Sequence[Sample], rng: np.random.Generator, hw: tuple[int, int]) -> list[Placement]:
    """Pictures fill the cells of a grid of three by three with lines at random, cut to their cells."""
    h, w = hw
    xs = [0, *(round(v * 2 * w) for v in _draw_lines(rng)), 2 * w]
    ys = [0, *(round(v * 2 * h) for v in _draw_lines(rng)), 2 * h]
    placements = []
    for i, sample in enumerate(samples):
        column, row = i % 3, i // 3
        region = (float(xs[column]), float(ys[row]), float(xs[column + 1]), float(ys[row + 1]))
        height, width = sample.image.shape[:2]
        gain = min((region[3] - region[1]) / height, (region[2] - region[0]) / width) * 1.25
        room_x, room_y = region[2] - region[0] - width * gain, region[3] - region[1] - height * gain
        at = rng.uniform(0, 1, 2).tolist()
        placements.append(Placement(sample, gain, region[0] + at[0] * room_x, region[1] + at[1] * room_y, region))
    return placements


def _draw_lines(rng: np.random.Generator) -> list[float]:
    """Draw where the two lines of a grid are, as parts of its side."""
    first, second = rng.random(2).tolist()
    return [0.25 + 0.17 * first, 0.58 + 0.17 * second]
