"""What values flow through a graph on real pictures, and the range of each that a few bits shall cover."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yolokkn.errors import ModelError, SourceError
from yolokkn.graph import parse_model
from yolokkn.graph.onnx_file import FLOAT
from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yolokkn.runtime.model import Model
from yolokkn.runtime.sources import open_source

METHODS = ("mse", "minmax", "percentile")
_BINS = 4096  # of a histogram, half of them below 0
_SHARES = np.linspace(0.2, 1.0, 81)  # of the largest number: where a range may end
_PERCENTILE = 0.9999
ENOUGH_IMAGES = 32  # below which a calibration is said to have few
_FLAT = 2.0  # grey levels of standard deviation in every channel


@dataclass
class ValueHistogram:
    """Counts of a value's elements between -limit and limit; the limit doubles when a larger number comes.

    Attributes:
        limit: 0 until a number other than 0 has come.
        counts: (4096,) int64.
        least: Smallest number, 0 at most.
        largest: Largest number, 0 at least.
    """

    limit: float = 0.0
    counts: np.ndarray = field(default_factory=lambda: np.zeros(_BINS, np.int64))
    least: float = 0.0
    largest: float = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count every element of a float32 array.

        Raises:
            ValueError: An element is NaN or infinite.
        """
        low, high = float(values.min(initial=0)), float(values.max(initial=0))
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("ValueHistogram: values must be finite, got NaN or infinity")
        self.least, self.largest = min(self.least, low), max(self.largest, high)
        reach = max(-low, high)
        if self.limit == 0:
            self.limit = reach
        while reach > self.limit:
            quarter: np.ndarray = np.zeros(_BINS // 4, np.int64)
            self.counts = np.concatenate([quarter, self.counts.reshape(-1, 2).sum(1), quarter])
            self.limit *= 2
        per_unit = _BINS / 2 / self.limit if self.limit else 0.0
        places = (values.ravel() * np.float32(per_unit) + np.float32(_BINS / 2)).astype(np.int32)
        self.counts += np.bincount(places.clip(0, _BINS - 1), minlength=_BINS)

    def value_range(self, method: str, *, symmetric: bool, bits: int = 8) -> tuple[float, float]:
        """Return the least and the largest number that some bits shall cover; 0 lies within them.

        Args:
            method: "minmax" covers all, "percentile" 99.99% of the elements; "mse" loses the least squared difference
                between the numbers and what the bits make of them.
            symmetric: As far below 0 as above it.
            bits: How many there are.
        """
        if method not in METHODS:
            raise ValueError(f"value_range: method must be one of {', '.join(METHODS)}, got {method!r}")
        reach = max(-self.least, self.largest)
        if method == "percentile":
            reach = self._percentile(reach)
        elif method == "mse":
            seen = self.counts > 0
            numbers, counts = self._centres()[seen], self.counts[seen]
            ends = [self._ends(share * reach, symmetric) for share in _SHARES]
            losses = [_loss(numbers, counts, low, high, 2**bits - 2) for low, high in ends]
            reach *= float(_SHARES[int(np.argmin(losses))])
        return self._ends(reach, symmetric)

    def _ends(self, reach: float, symmetric: bool) -> tuple[float, float]:
        return (-reach, reach) if symmetric else (max(self.least, -reach), min(self.largest, reach))

    def _centres(self) -> np.ndarray:
        """Return the middle of each bin, (4096,) float64; 0 for that of 0, where most zeros are exact ones."""
        centres = (np.arange(_BINS) + 0.5 - _BINS / 2) * (2 * self.limit / _BINS)
        centres[_BINS // 2] = 0
        return centres

    def _percentile(self, reach: float) -> float:
        order = np.argsort(np.abs(self._centres()), kind="stable")
        covered = np.cumsum(self.counts[order])
        place = int(np.searchsorted(covered, _PERCENTILE * covered[-1]))
        return min(reach, float(abs(self._centres()[order[min(place, _BINS - 1)]])) + self.limit / _BINS)


def _loss(numbers: np.ndarray, counts: np.ndarray, low: float, high: float, num_steps: int) -> float:
    """Return the summed squared difference between each number and the nearest of so many steps from low to high."""
    step = (high - low) / num_steps
    if step <= 0:
        return 0.0
    difference = np.rint(numbers / step).clip(round(low / step), round(high / step)) * step - numbers
    return float((counts * difference**2).sum())


@dataclass
class CalibrationSeen:
    """What a calibration was fed with.

    Attributes:
        num_images: Pictures that were taken.
        num_offered: Pictures that the source has; None where it does not say.
        num_flat: Pictures taken that hardly vary: all one value, but for noise.
    """

    num_images: int = 0
    num_offered: int | None = None
    num_flat: int = 0

    def add(self, image: np.ndarray) -> None:
        """Count a picture, (H, W, 3) uint8."""
        self.num_images += 1
        self.num_flat += int(float(image[::4, ::4].std(axis=(0, 1)).max(initial=0)) < _FLAT)

    def text(self) -> str:
        """Return what was taken as a line for people."""
        offered = "" if self.num_offered in (None, self.num_images) else f" of {self.num_offered}"
        return f"calibrated on {self.num_images}{offered} pictures"

    def warnings(self) -> list[str]:
        """Return what speaks against trusting the ranges that were found."""
        found = []
        if self.num_images < ENOUGH_IMAGES:
            found.append(
                f"{self.num_images} pictures are few to calibrate on: {ENOUGH_IMAGES} or more, better 100, of the kind that "
                "the model is for"
            )
        if self.num_flat:
            found.append(f"{self.num_flat} of the {self.num_images} pictures hardly vary: nothing is learned from them")
        return found


def calibration_feeds(
    model: Model,
    images: Any,
    limit: int = 128,
    advance: Callable[[], None] = lambda: None,
    seen: CalibrationSeen | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield what a network takes for pictures of a source, preprocessed as the runtime does it.

    Args:
        model: A loaded model: it knows letterbox, size and scale.
        images: A folder, pattern, list or video, whatever `yolokkn.predict` reads; better of the kind that the model is for.
        limit: At most so many, spread evenly over the source.
        advance: Called after each picture.
        seen: Counts what is taken.

    Raises:
        SourceError: There is no such source, it holds no pictures, or one cannot be read.
        ValueError: `limit` is less than 1.
    """
    if limit < 1:
        raise ValueError(f"calibration_feeds: limit must be 1 or more, got {limit}")
    source = open_source(images)
    if seen is not None:
        seen.num_images, seen.num_offered, seen.num_flat = 0, source.num_frames or None, 0
    paths = getattr(source, "paths", None)
    if paths and len(paths) == source.num_frames and len(paths) > limit:
        source = open_source([paths[i * len(paths) // limit] for i in range(limit)])
    total = source.num_frames or 0
    wanted = {i * total // limit for i in range(limit)} if total > limit else None
    workspace = model.workspace()
    count = 0
    with source:
        for frame in source:
            if wanted is None or frame.index in wanted:
                if seen is not None:
                    seen.add(frame.image)
                yield workspace.feeds(frame.image)
                count += 1
                advance()
            if count == limit:
                break
    if source.num_skipped:
        raise SourceError(
            f"calibration_feeds: every picture must be readable, got {source.num_skipped} that is not: {source.warnings[0]}"
        )


def collect_histograms(
    content: bytes, names: Sequence[str], feeds: Iterable[Mapping[str, np.ndarray]], name: str = "model"
) -> dict[str, ValueHistogram]:
    """Run a graph over feeds, one at a time, and count the numbers of some of its values.

    Args:
        content: The bytes of an ONNX file, whose values of these names are float32.
        names: Values of the graph.
        feeds: What the graph takes, by input; sizes may differ where the graph's are free.
        name: What error messages call the model.

    Raises:
        ValueError: There is no feed.
        ModelError: A value is NaN or infinite.
    """
    model = parse_model(content, name)
    outputs = {value.name for value in model.graph.output}
    inputs = {value.name for value in model.graph.input}
    for value in names:
        if value not in outputs and value not in inputs:
            model.graph.output.add(name=value).type.tensor_type.elem_type = FLOAT
    backend = OnnxRuntimeBackend(model.to_bytes())
    histograms = {value: ValueHistogram() for value in names}
    num_fed = 0
    for feed in feeds:
        num_fed += 1
        if set(feed) != {spec.name for spec in backend.inputs}:
            raise ValueError(
                f"quantize_int8: feeds must give {', '.join(spec.name for spec in backend.inputs)}, got {', '.join(feed)}"
            )
        found = {**feed, **backend.run(feed)}
        for value, histogram in histograms.items():
            try:
                histogram.add(found[value])
            except ValueError as error:
                raise ModelError(
                    f"quantize_int8: {name} must give finite numbers, got NaN or infinity in {value}"
                ) from error
    if not num_fed:
        raise ValueError(
            "quantize_int8: feeds must hold a picture at least, got none; a calibration needs real pictures"
        )
    return histograms
