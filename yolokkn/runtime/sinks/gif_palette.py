"""256 colours for a GIF: some for what is drawn, the rest by median cut (Heckbert, SIGGRAPH 1982) for the scene."""

from __future__ import annotations

import heapq

import numpy as np

from yolokkn.runtime.palette import SHADES, bgr_of

NUM_HUES = 13  # of what is drawn; kept in every palette, so that a new track needs no new one
NUM_SCENE_COLOURS = 255 - 2 - 3 * NUM_HUES  # the 256th is transparent: "as in the frame before"
_LEVELS = 32


def bins_of(image: np.ndarray) -> np.ndarray:
    """Return the histogram bin of each pixel: (H, W) uint16 in [0, 32768)."""
    top = (image >> 3).astype(np.uint16)
    return np.asarray((top[..., 0] << 10) | (top[..., 1] << 5) | top[..., 2])


def median_cut(counts: np.ndarray) -> np.ndarray:
    """Choose colours for a histogram.

    Args:
        counts: (32768,) pixels of each bin.

    Returns:
        (N, 3) float32 BGR, N at most NUM_SCENE_COLOURS.
    """
    used = np.flatnonzero(counts)
    colours = np.stack([used >> 10, (used >> 5) & 31, used & 31], -1).astype(np.float32) * 8 + 4
    weights = counts[used].astype(np.float64)
    boxes = [(-np.inf, 0, np.arange(len(used)))]
    final: list[np.ndarray] = []
    serial = 0
    while boxes and len(boxes) + len(final) < NUM_SCENE_COLOURS:
        _, _, members = heapq.heappop(boxes)
        spread = np.ptp(colours[members], axis=0)
        if len(members) < 2:
            final.append(members)
            continue
        order = members[np.argsort(colours[members, int(spread.argmax())], kind="stable")]
        share = np.cumsum(weights[order])
        cut = min(max(int(np.searchsorted(share, share[-1] / 2)), 1), len(order) - 1)
        for half in (order[:cut], order[cut:]):
            serial += 1
            # a box deserves a cut by its spread and, less than in proportion, by its pixels: small bright things live
            size = float(np.ptp(colours[half], axis=0).max()) * float(weights[half].sum()) ** 0.4
            heapq.heappush(boxes, (-size, serial, half))
    groups = final + [members for _, _, members in boxes]
    return np.array([np.average(colours[g], axis=0, weights=weights[g]) for g in groups], np.float32)


def drawing_colours() -> np.ndarray:
    """Return black, white and the hues that boxes and labels come in: (N, 3) float32 BGR."""
    wheel = [bgr_of(hue / NUM_HUES, *level) for level in SHADES for hue in range(NUM_HUES)]
    return np.array([(0, 0, 0), (255, 255, 255), *wheel], np.float32)


class Palette:
    """Colours with the nearest one of each bin.

    Args:
        image: (H, W, 3) uint8 BGR to choose them from.
    """

    def __init__(self, image: np.ndarray) -> None:
        bins = bins_of(image)
        scene = median_cut(np.bincount(bins.ravel(), minlength=_LEVELS**3))
        self.colours = np.concatenate([drawing_colours(), scene])
        every = np.arange(_LEVELS**3)
        centres = np.stack([every >> 10, (every >> 5) & 31, every & 31], -1).astype(np.float32) * 8 + 4
        distance = (self.colours**2).sum(1) - 2 * centres @ self.colours.T
        self._nearest = distance.argmin(1).astype(np.uint8)
        self.error = self.error_of(image)

    def indices_of(self, image: np.ndarray) -> np.ndarray:
        """Return the palette index of each pixel: (H, W) uint8."""
        return np.asarray(self._nearest[bins_of(image)])

    def error_of(self, image: np.ndarray) -> float:
        """Return the mean distance of some of the pixels to their colours, grey levels."""
        some = image[::4, ::4]
        return float(np.abs(self.colours[self.indices_of(some)] - some).mean())

    def argb(self) -> np.ndarray:
        """Return (256, 4) uint8 alpha, red, green, blue; unused entries and the last are transparent."""
        table: np.ndarray = np.zeros((256, 4), np.uint8)
        table[: len(self.colours), 0] = 255
        table[: len(self.colours), 1:] = np.clip(np.rint(self.colours[:, ::-1]), 0, 255)
        return table
