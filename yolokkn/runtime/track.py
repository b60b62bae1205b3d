"""The Python door of the main job: `yolokkn.track` and `yolokkn.predict`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from yolokkn import tracking
from yolokkn.runtime.model import Model, load
from yolokkn.runtime.pipeline import PipelineConfig, run_pipeline
from yolokkn.runtime.sinks import open_sink
from yolokkn.runtime.sources import open_source
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.types import Detections, Frame, Tracks

_DEFAULT_FRAME_RATE = 30.0
TRACK_SCORE_THRESHOLD = 0.1


def track(
    source: Any,
    *,
    model: Model | str | Path,
    tracker: str | Any = "bytetrack",
    save: str | Sequence[str] = (),
    policy: str | None = None,
    ledger: LatencyLedger | None = None,
    **options: Any,
) -> Iterator[tuple[Frame, Tracks]]:
    """Track the objects of a video, a stream or a row of pictures.

    Args:
        source: A file, folder, glob, list, camera index or URL; see `yolokkn.runtime.sources.open_source`.
        model: A loaded model, or what `yolokkn.load` takes. A model loaded here keeps scores from 0.1 on, since the
            trackers use weak detections to carry tracks on.
        tracker: A name ("bytetrack", "sort") or an object with `update`.
        save: Where results go: "out.mp4", "out.jsonl", "mot:out.txt" ...
        policy: "every" frame or the "latest"; by default what the kind of source wants.
        ledger: Where times go.
        **options: For `yolokkn.load`, where `model` is not loaded yet.

    Yields:
        Each frame with its tracks, in the source's order. Tracks keep the detections' order; the id of a detection that
        belongs to no confirmed track is -1.

    Raises:
        SourceError: The source cannot be opened or read.
        ModelError: The model cannot be loaded.

    Example:
        >>> import yolokkn
        >>> for frame, tracks in yolokkn.track("street.mp4", model="yolox_nano.onnx"):  # doctest: +SKIP
        ...     print(frame.index, tracks.track_ids)
    """
    options.setdefault("score_threshold", TRACK_SCORE_THRESHOLD)
    yield from _run(source, model, tracker, save, policy, ledger, options)  # type: ignore[misc]


def predict(
    source: Any,
    *,
    model: Model | str | Path,
    save: str | Sequence[str] = (),
    policy: str | None = None,
    ledger: LatencyLedger | None = None,
    **options: Any,
) -> Iterator[tuple[Frame, Detections]]:
    """Detect in each frame of a source; arguments as `track`, without a tracker.

    Example:
        >>> import yolokkn
        >>> for frame, detections in yolokkn.predict("photos/", model="yolox_nano.onnx"):  # doctest: +SKIP
        ...     print(frame.source, len(detections))
    """
    yield from _run(source, model, None, save, policy, ledger, options)


def _run(
    source: Any, model: Any, tracker: Any, save: Any, policy: Any, ledger: Any, options: dict[str, Any]
) -> Iterator[tuple[Frame, Detections]]:
    with ExitStack() as stack:
        frames = stack.enter_context(open_source(source))
        config = configure(frames.is_live, policy, options.get("threads"))
        if not isinstance(model, Model):
            model = load(model, num_requests=config.num_requests, **options)
        if isinstance(tracker, str):
            tracker = tracking.create(tracker, frame_rate=frames.frame_rate or _DEFAULT_FRAME_RATE)
        uris = [save] if isinstance(save, (str, Path)) else save
        sinks = [stack.enter_context(open_sink(uri, frame_rate=frames.frame_rate)) for uri in uris]
        pipeline = run_pipeline(frames, model, tracker=tracker, sinks=sinks, config=config, ledger=ledger)
        yield from stack.enter_context(pipeline)


def configure(is_live: bool, policy: str | None, threads: int | None) -> PipelineConfig:
    """Return the pipeline's configuration for a source, with the caller's policy where one is given."""
    config = PipelineConfig.for_source(is_live, threads)
    if policy is None or policy == config.policy:
        return config
    return PipelineConfig(policy, config.num_requests, config.num_workers, config.capacity)
