"""The cases of the suite `pipeline`: the network alone, one frame after the other, and the whole run as `track` does it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import tracking
from yolokkn.benchmark.backends import parity_check
from yolokkn.benchmark.case import Case, Check, Run, Timed, cores_lost, differing
from yolokkn.benchmark.networks import network_case
from yolokkn.benchmark.trackers import slow_twin
from yolokkn.errors import SourceError
from yolokkn.runtime.differences import compare_detections
from yolokkn.runtime.model import Model
from yolokkn.runtime.parity_report import matched
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.tolerances import TOLERANCES
from yolokkn.runtime.track import track
from yolokkn.types import Detections, Tracks

SUITE = "pipeline"
ONE_BY_ONE, WHOLE = "one frame after the other", "whole run, as track does it"
_WINDOW = 10  # frames whose mean time is a sample of the whole run: frames of several workers come in bursts
_NUM_PICTURES = 4


def pipeline_cases(
    model: Model, plain: Model, source: Any, *, tracker: str = "kkn", num_frames: int = 120, precision: str = "fp32"
) -> list[Case]:
    """Return the cases of a model on a source.

    Args:
        model: What runs; it keeps scores as `track` does (0.1 and more).
        plain: The same file on ONNX Runtime without optimisations: the reference.
        source: A video, a folder or list of pictures: read from its start in every round, so nothing live.
        tracker: One of `yolokkn.tracking.TRACKERS`.
        num_frames: Frames of a round, fewer where the source has fewer.
        precision: Whose row of the tolerances holds.

    Raises:
        SourceError: The source cannot be read, is live, or has too few frames.
    """
    images = _first_images(source, _NUM_PICTURES)
    check = parity_check(model, plain, images, precision)
    settings = {"model": model, "source": source, "tracker": tracker}
    threads = model.backend.threads or 1
    facts: dict[str, Any] = {"frames": num_frames, "tracker": tracker}
    agreement = _tracks_check(plain, source, tracker, precision)
    return [
        network_case(model, images, check, name="network alone", suite=SUITE, facts={"stage": "network"}),
        Case(
            ONE_BY_ONE, SUITE, lambda: _one_by_one(**settings), [num_frames], agreement, threads=threads,
            self_timed=True, facts=facts | {"stage": "pipeline"},
        ),
        Case(
            WHOLE, SUITE, lambda: _whole(**settings), [num_frames], agreement, threads=threads, self_timed=True,
            facts=facts | {"stage": "pipeline", "sample": f"mean of {_WINDOW} frames"},
        ),
    ]  # fmt: skip


def _first_images(source: Any, count: int) -> list[np.ndarray]:
    with open_source(source) as frames:
        if frames.is_live:
            raise SourceError(f"{frames.name}: a live source is never the same twice; record it and give the file")
        return [frame.image for frame in itertools.islice(frames, count)]


def _one_by_one(model: Model, source: Any, tracker: str) -> Run:
    """Return a run that takes so many frames through every stage, one after the other, on all threads of the model."""

    def run(count: int) -> Timed:
        stages: dict[str, list[float]] = {"decode": [], "preprocess": [], "inference": [], "postprocess": []}
        stages |= {"track": []}
        samples: list[float] = []
        output: list[Tracks] = []
        lost = [cores_lost()]
        with open_source(source) as frames:
            follow = tracking.create(tracker, frame_rate=tracking.nominal_frame_rate(frames.frame_rate))
            while len(samples) < count:
                begin = time.perf_counter()
                frame = next(frames, None)
                if frame is None:
                    break
                decoded = time.perf_counter()
                found = model(frame.image)
                detected = time.perf_counter()
                when = frame.timestamp_s if frames.has_timestamps else None
                ids = follow.update(found.boxes, found.scores, found.class_ids, when, **_told(tracker, found))
                done = time.perf_counter()
                samples.append((done - begin) * 1e3)
                output.append(Tracks.from_detections(found, ids))
                lost.append(cores_lost())
                spent = {"decode": decoded - begin, "track": done - detected}
                for stage, values in stages.items():
                    values.append(spent[stage] * 1e3 if stage in spent else found.timing_ms[stage])
        kept = slice(1 if len(samples) > 1 else 0, None)  # the first frame opens what the others use
        stages = {stage: values[kept] for stage, values in stages.items()}
        disturbed = [now > before for before, now in itertools.pairwise(lost)]
        return Timed(samples[kept], output, stages, disturbed[kept])

    return run


def _told(tracker: str, found: Detections) -> dict[str, Any]:
    """Return what a tracker makes use of beside the boxes."""
    wants = found.masks is not None and tracking.create(tracker).takes_masks
    return {"masks": found.masks} if wants else {}


def _whole(model: Model, source: Any, tracker: str) -> Run:
    """Return a run of `yolokkn.track` over so many frames; the first ones, which fill its queues, are not counted."""

    def run(count: int) -> Timed:
        times, lost, output = [], [], []
        frames = track(source, model=model, tracker=tracker, policy="every", gmc_method="none")
        for _, tracks in itertools.islice(frames, count + _WINDOW):
            times.append(time.perf_counter())
            lost.append(cores_lost())
            output.append(tracks)
        frames.close()  # type: ignore[attr-defined]
        every = slice(_WINDOW - 1, None, _WINDOW) if len(times) >= 2 * _WINDOW else slice(None)
        marks = np.array(times)[every]
        if len(marks) < 2:
            raise SourceError(f"{source}: a whole run needs 2 frames at least, got {len(times)}")
        frames_each = _WINDOW if len(times) >= 2 * _WINDOW else 1
        disturbed = [bool(n > 0) for n in np.diff(np.array(lost)[every])]
        return Timed((np.diff(marks) / frames_each * 1e3).tolist(), output, disturbed=disturbed)

    return run


def _tracks_check(plain: Model, source: Any, tracker: str, precision: str, count: int = 6) -> Check:
    """Return a check of the first frames' tracks: detections as the reference's, identities as the slow twin gives them."""

    def check(run: Run) -> str:
        found = run(count).output[:count]
        with open_source(source) as frames:
            rate = tracking.nominal_frame_rate(frames.frame_rate)
            follow = slow_twin(tracker, rate)
            for index, (frame, tracks) in enumerate(zip(itertools.islice(frames, count), found, strict=False)):
                wanted = replace(plain, options=plain.options)(frame.image)
                compared = compare_detections(
                    wanted, tracks, TOLERANCES[precision], gain=min(plain.letterbox_for(frame.hw).gain_xy),
                    score_threshold=plain.options.score_threshold, iou_threshold=plain.options.iou_threshold,
                    max_detections=plain.options.max_detections,
                )  # fmt: skip
                if not compared.is_noise:
                    return f"frame {index}: {matched(compared)}"
                when = frame.timestamp_s if frames.has_timestamps else None
                ids = follow.update(tracks.boxes, tracks.scores, tracks.class_ids, when, **_told(tracker, tracks))
                said = differing(tracks.track_ids, ids)
                if said:
                    return f"frame {index}: identities: {said}"
        return ""

    return check


def source_name(source: Any) -> str:
    """Return what a source is called, without folders."""
    if not isinstance(source, (str, Path)):
        return "pictures in memory"
    with open_source(source) as frames:
        return str(frames.name).rsplit("/", 1)[-1]


def scene_images(source: Any, count: int = 8) -> Sequence[np.ndarray]:
    """Return some pictures of a source, for runs of the network alone."""
    return _first_images(source, count)
