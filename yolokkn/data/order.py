"""Which pictures come when: an epoch's order, its batches, each rank's share; NumPy only, no state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ORDER, _PICTURE, _SIZE = 1, 2, 3  # streams of random numbers that must not meet


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of a place in the training: the same key gives the same numbers, wherever it runs."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed & (2**63 - 1), *key])))


@dataclass(frozen=True, eq=False)
class Plan:
    """What an epoch consists of.

    Attributes:
        num_pictures: Pictures in the dataset.
        batch_size: Of the global batch, over all ranks.
        seed: Decides everything random.
        shuffle: Training: shuffled, every batch full. Otherwise in order, the last batch short.
        rank: Which of the processes this is.
        world_size: How many processes there are.
        weights: How often each picture comes in an epoch; None: once.
    """

    num_pictures: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    rank: int = 0
    world_size: int = 1
    weights: np.ndarray | None = None

    @property
    def num_drawn(self) -> int:
        """Pictures in an epoch, before the last batch is filled up."""
        if self.weights is None or not self.shuffle:
            return self.num_pictures
        return max(round(float(self.weights.sum())), 1)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return -(-self.num_drawn // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Return the pictures of an epoch one after the other: (num_batches * batch_size,) for training.

        A last batch that is not full takes its rest from the epoch's beginning (with other augmentation, as that
        follows the place in the epoch).
        """
        if not self.shuffle:
            return np.arange(self.num_pictures)
        rng = generator(self.seed, _ORDER, epoch)
        drawn = rng.permutation(self.num_pictures)
        if self.weights is not None:
            # Systematic sampling: each picture comes floor or ceil of its weight, and their number is the same each time.
            share = self.weights[drawn] * (self.num_drawn / max(float(self.weights.sum()), 1e-12))
            ends = np.floor(np.cumsum(share) + rng.random() * (1 - 1e-9) + 1e-9).astype(np.int64)
            counts = np.diff(np.concatenate([[0], ends]))
            drawn = np.repeat(drawn, counts)
            drawn = rng.permutation(np.resize(drawn, self.num_drawn))
        return np.resize(drawn, self.num_batches * self.batch_size)

    def share(self, order: np.ndarray, batch: int) -> list[tuple[int, int]]:
        """Return this rank's part of a global batch: (place in the epoch, picture) of each.

        Ranks take runs one after the other, so that their parts joined are the batch of a single process.
        """
        first = batch * self.batch_size
        count = min(self.batch_size, len(order) - first)
        begin, end = (first + count * r // self.world_size for r in (self.rank, self.rank + 1))
        return [(place, int(order[place])) for place in range(begin, end)]

    def picture_rng(self, epoch: int, place: int) -> np.random.Generator:
        """Return the generator of a picture's augmentation."""
        return generator(self.seed, _PICTURE, epoch, place)

    def draw_size(self, epoch: int, batch: int, hw: tuple[int, int], spread: float) -> tuple[int, int]:
        """Return the height and width of a batch: the sides times 1 - spread to 1 + spread, multiples of 32."""
        if not spread:
            return hw
        factor = float(generator(self.seed, _SIZE, epoch, batch).uniform(1 - spread, 1 + spread))
        return max(round(hw[0] * factor / 32), 1) * 32, max(round(hw[1] * factor / 32), 1) * 32
