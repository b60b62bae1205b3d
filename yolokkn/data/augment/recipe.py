"""The order of the steps: mosaic or affine, copy-paste, mixup, colours, degradation, mirrors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from yolokkn.data.augment.appearance import degrade, hsv
from yolokkn.data.augment.config import AugmentConfig
from yolokkn.data.augment.flip import flip
from yolokkn.data.augment.geometry import affine
from yolokkn.data.augment.mix import copy_paste, mixup
from yolokkn.data.augment.mosaic import mosaic
from yolokkn.data.sample import Sample


def augment(
    load: Callable[[int], Sample],
    index: int,
    pictures: Sequence[int] | np.ndarray,
    rng: np.random.Generator,
    hw: tuple[int, int],
    config: AugmentConfig,
    flip_pairs: Sequence[tuple[int, int]] = (),
) -> Sample:
    """Make one picture of training.

    Args:
        load: Gives the sample of an index.
        index: The picture that must be in it.
        pictures: The epoch's pictures; partners are drawn from them, each as often as it stands there.
        rng: Decides everything else: the same generator gives the same picture.
        hw: Height and width of the result.
        config: What is done, and how much.
        flip_pairs: Keypoints that change places in a mirror.

    Raises:
        ValueError: copy_paste is asked for, and the samples have no masks to copy by.
    """
    sample = _place(load, index, pictures, rng, hw, config)
    if config.copy_paste and sample.masks is None:
        raise ValueError(
            f"augment: copy_paste must be 0 for samples without masks, got {config.copy_paste:g}; "
            "open the dataset for the task segment or segment-pose"
        )
    if config.copy_paste and rng.random() < config.copy_paste:
        sample = copy_paste(sample, load(_draw(pictures, rng)), rng, config)
    if config.mixup and rng.random() < config.mixup:
        sample = mixup(sample, _place(load, _draw(pictures, rng), pictures, rng, hw, config), rng)
    sample = degrade(hsv(sample, rng, config), rng, config)
    left_right, up_down = rng.random(2).tolist()
    if left_right < config.flip_lr:
        sample = flip(sample, flip_pairs)
    if up_down < config.flip_ud:
        sample = flip(sample, flip_pairs, axis=1)
    return sample


def _place(
    load: Callable[[int], Sample],
    index: int,
    pictures: Sequence[int] | np.ndarray,
    rng: np.random.Generator,
    hw: tuple[int, int],
    config: AugmentConfig,
) -> Sample:
    wants_mosaic, wants_nine = rng.random(2).tolist()
    if wants_mosaic >= config.mosaic:
        return affine(load(index), rng, hw, config)
    partners = [_draw(pictures, rng) for _ in range(8 if wants_nine < config.mosaic9 else 3)]
    return mosaic([load(i) for i in (index, *partners)], rng, hw, config)


def _draw(pictures: Sequence[int] | np.ndarray, rng: np.random.Generator) -> int:
    return int(pictures[int(rng.integers(len(pictures)))])
