"""What keeps a source in real time on this machine, with the least loss: measured before the run, kept during it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from yolokkn.errors import LayoutError, MissingDependencyError, ModelError
from yolokkn.runtime.cadence import MOST_FRAMES, Cadence, WithinBudget
from yolokkn.runtime.model import Model
from yolokkn.runtime.motion_gate import MotionGate
from yolokkn.runtime.pipeline import PipelineConfig

DEFAULT_RATE, DEFAULT_HW = 30.0, (720, 1280)
_NETWORK_SHARE = 0.85  # of the budget, for the network and what surrounds it; the rest decodes, tracks and writes
_ROUNDS, _LEAST_S = 5, 0.4
_LEAST_PADDING = 0.1  # of the input, below which it is not worth making it smaller


@dataclass(frozen=True)
class Pace:
    """How a source is kept up with.

    Attributes:
        model: What runs.
        cadence: Which frames the network sees.
        detect_every: Of so many frames one is expected to be detected in.
        reason: For people: what was measured, what was chosen, and whether it is enough.
    """

    model: Model
    cadence: WithinBudget
    detect_every: int
    reason: str


def keep_up(
    open_model: Callable[[bool, bool], Model],
    config: PipelineConfig,
    *,
    frame_rate: float | None = None,
    frame_hw: tuple[int, int] | None = None,
    budget_ms: float | None = None,
) -> Pace:
    """Choose what keeps up with a source: as much as is needed of a quicker backend, a smaller input and fewer detections.

    They are tried in the order of what they lose: the backends give the same detections, an input of the frame's aspect nearly
    the same, and frames that are not detected in are carried by the tracker.

    Args:
        open_model: Opens the model; told whether on the quickest backend, and whether with an input of the frame's aspect.
        config: How the pipeline will run it.
        frame_rate: Frames a second of the source; None: 30.
        frame_hw: Height and width of its frames; None: 720 x 1280.
        budget_ms: Milliseconds that a frame may take; None: what the frame rate leaves.

    Raises:
        ValueError: The budget is not above 0.

    Cost:
        Half a second for each way that is tried; some seconds where the backends of this model were never measured here.
    """
    budget = 1e3 / (frame_rate or DEFAULT_RATE) if budget_ms is None else budget_ms
    cadence = WithinBudget(budget)
    frame = _noise(frame_hw)
    limit = _NETWORK_SHARE * budget
    tried: list[str] = []
    best: tuple[float, Model] | None = None
    for is_quickest, is_rect, words in (
        (False, False, "as it is"),
        (True, False, "on the quickest backend"),
        (True, True, "with an input of the frame's aspect"),
    ):
        model = _opened(open_model, is_quickest, is_rect, frame.shape[:2], None if best is None else best[1])
        if model is None:
            tried.append(f"nothing better {words}")
            continue
        taken = frame_ms(model, frame, config.num_requests)
        tried.append(f"{_shown(model, frame.shape[:2])} {words}: {taken:.1f} ms")
        if best is None or taken < best[0]:
            best = taken, model
        if best[0] <= limit:
            break
    if best is None:
        raise RuntimeError("keep_up: a model must have been opened")
    needed = fewest_frames(best[0], budget)
    said = f"a frame may take {budget:.1f} ms; {'; '.join(tried)}; {_verdict(best[0], needed, limit)}"
    return Pace(best[1], cadence, needed, said)


def fewest_frames(taken_ms: float, budget_ms: float) -> int:
    """Return how many frames must share a detection that takes so long, MOST_FRAMES at most.

    Example:
        >>> fewest_frames(30.0, 40.0), fewest_frames(60.0, 40.0), fewest_frames(1e3, 40.0)
        (1, 2, 8)
    """
    fits = (n for n in range(1, MOST_FRAMES) if taken_ms / n <= _NETWORK_SHARE * budget_ms)
    return next(fits, MOST_FRAMES)


def expected_interval(
    cadence: Cadence | None, model: Model, config: PipelineConfig, frame_hw: tuple[int, int] | None = None
) -> int:
    """Return how many frames apart detections will be about, which a tracker's frame rate is chosen by.

    Args:
        cadence: Which frames the network sees; None: all.
        model: What runs; it is measured, for half a second, where the cadence follows a budget.
        config: How the pipeline will run it.
        frame_hw: Height and width of the frames; None: 720 x 1280.
    """
    if isinstance(cadence, MotionGate):
        return expected_interval(cadence.cadence, model, config, frame_hw)
    if not isinstance(cadence, WithinBudget):
        return 1 if cadence is None else cadence.every
    return fewest_frames(frame_ms(model, _noise(frame_hw), config.num_requests), cadence.budget_ms)


def _noise(frame_hw: tuple[int, int] | None) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*(frame_hw or DEFAULT_HW), 3), np.uint8)


def _verdict(taken: float, needed: int, limit: float) -> str:
    if needed == 1:
        return "the network sees every frame"
    if taken / needed > limit:
        return f"this machine cannot keep up: the network sees one frame in {needed}"
    return f"the network sees about one frame in {needed}, the tracker carries the others"


def _opened(
    open_model: Callable[[bool, bool], Model],
    is_quickest: bool,
    is_rect: bool,
    frame_hw: tuple[int, int],
    before: Model | None,
) -> Model | None:
    """Open a model in a way; None where the way does not exist for it, or changes nothing."""
    if is_rect and before is not None and before.letterbox_for(frame_hw).padding_share < _LEAST_PADDING:
        return None
    try:
        model = open_model(is_quickest, is_rect)
    except (ValueError, ModelError, LayoutError, MissingDependencyError):
        if before is None:
            raise
        return None
    if before is not None and not is_rect and model.backend.name == before.backend.name:
        return None
    return model


def _shown(model: Model, frame_hw: tuple[int, int]) -> str:
    height, width = model.letterbox_for(frame_hw).input_hw
    return f"{model.backend.name} at {height} x {width}"


def frame_ms(model: Model, image: np.ndarray, num_requests: int) -> float:
    """Return the milliseconds of a frame through a model, so many frames at once: the median of some rounds.

    Args:
        model: A loaded model.
        image: (H, W, 3) uint8 BGR.
        num_requests: Frames at once, among which the model's threads are shared.
    """
    shared = model.for_requests(num_requests)
    with ThreadPoolExecutor(num_requests) as pool:

        def run(_: int) -> None:
            shared.workspace().process(image)

        list(pool.map(run, range(2 * num_requests)))
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < _ROUNDS or (time.perf_counter() - began < _LEAST_S and len(times) < 50):
            started = time.perf_counter()
            list(pool.map(run, range(2 * num_requests)))
            times.append((time.perf_counter() - started) * 1e3 / (2 * num_requests))
            if time.perf_counter() - began > 4 * _LEAST_S:
                break
    return statistics.median(times)
