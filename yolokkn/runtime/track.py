"""The Python door of the main job: `yolokkn.track` and `yolokkn.predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from yolokkn import tracking
from yolokkn.coco_names import COCO80, COCO_CATEGORY_IDS
from yolokkn.errors import SinkError
from yolokkn.files import what_is_read
from yolokkn.layouts import DecodeOptions
from yolokkn.runtime.assets import tracker_settings as advised_settings
from yolokkn.runtime.cadence import Cadence, EveryNth, WithinBudget
from yolokkn.runtime.camera_motion import CameraMotionEstimator
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model
from yolokkn.runtime.motion_gate import MotionGate
from yolokkn.runtime.pipeline import PipelineConfig, run_pipeline
from yolokkn.runtime.realtime import expected_interval
from yolokkn.runtime.replay import recorder_of
from yolokkn.runtime.sinks import Sink, open_sink
from yolokkn.runtime.sinks.pictures import PictureSink
from yolokkn.runtime.sources import Source, open_source
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.types import Detections, Frame, Tracks

TRACK_SCORE_THRESHOLD = 0.1


def track(
    source: Any,
    *,
    model: Model | str | Path | None = None,
    tracker: str | Any = "kkn",
    gmc_method: str = "auto",
    save: str | Sequence[str] = (),
    policy: str | None = None,
    detect_every: int | str = 1,
    budget_ms: float | None = None,
    motion_gate: bool = False,
    record: str | Path | None = None,
    ledger: LatencyLedger | None = None,
    **options: Any,
) -> Iterator[tuple[Frame, Tracks]]:
    """Track the objects of a video, a stream or a row of pictures.

    Args:
        source: A file, folder, glob, list, camera index or URL; see `yolokkn.runtime.sources.open_source`.
        model: A loaded model, or what `yolokkn.load` takes; None: the one that comes with the package. A model loaded here
            keeps scores from 0.1 on, since ByteTrack carries tracks on with weak detections; a model that you loaded keeps
            its own threshold, so load it with `score_threshold=0.1`, or give that here.
        tracker: A name (one of `yolokkn.tracking.TRACKERS`), a file as `bytetrack.yaml` (see
            `yolokkn.tracking.read_tracker_file`), or an object with `update`.
        gmc_method: How the camera's motion is measured, for a camera that moves: "sparseOptFlow", "orb", "ecc" or "none";
            "auto": the first for BoT-SORT, none for others.
        save: Where results go: "out.mp4", "out.jsonl", "mot:out.txt" ...
        policy: "every" frame, the "latest" one, or "budget=MS": every frame that is not older than so many milliseconds when
            its turn comes; by default what the kind of source wants (files: every, live: latest).
        detect_every: Of so many frames (up to 8) the network sees one; the tracker carries the others (`tracks.carried`):
            on the way between the detections around them, or, from a live source, as it expects them to move. "auto": as few
            as `budget_ms` allows, and as the tracker's expectations are worth.
        budget_ms: For "auto", the time that a frame may take; None: what the source's frame rate leaves (30 where unknown).
        motion_gate: Where nothing moves, the network sees one frame in eight (for cameras that stand still); see
            `yolokkn.runtime.motion_gate`.
        record: A `.ykr` file that keeps the network's raw outputs, times and results; see `yolokkn.runtime.replay`.
        ledger: Where times go.
        **options: Settings of the tracker by their names (`track_buffer=60`, `class_policy="agnostic"`); and those of
            `yolokkn.load` where `model` is not loaded yet, else thresholds and limits (`score_threshold=0.5`).

    Yields:
        Each frame with its tracks, in the source's order. Tracks keep the detections' order; the id of a detection that
        belongs to no confirmed track is -1.

    Raises:
        SourceError: The source cannot be opened or read.
        ModelError: The model cannot be loaded.

    Example:
        >>> import yolokkn
        >>> for frame, tracks in yolokkn.track("demo"):  # doctest: +SKIP
        ...     print(frame.index, tracks.track_ids)
    """
    if not isinstance(model, Model):
        options.setdefault("score_threshold", TRACK_SCORE_THRESHOLD)
    return cast(
        "Iterator[tuple[Frame, Tracks]]",
        _run(
            source,
            model,
            tracker,
            save,
            policy,
            ledger,
            options,
            gmc_method,
            (detect_every, budget_ms, motion_gate),
            record,
        ),
    )


def predict(
    source: Any,
    *,
    model: Model | str | Path | None = None,
    save: str | Sequence[str] = (),
    policy: str | None = None,
    record: str | Path | None = None,
    ledger: LatencyLedger | None = None,
    **options: Any,
) -> Iterator[tuple[Frame, Detections]]:
    """Detect in each frame of a source; arguments as `track`, without a tracker.

    Example:
        >>> import yolokkn
        >>> for frame, detections in yolokkn.predict("photos/", model="yolox_nano.onnx"):  # doctest: +SKIP
        ...     print(frame.source, len(detections))
    """
    return _run(source, model, None, save, policy, ledger, options, record=record)


def _run(
    source: Any,
    model: Any,
    tracker: Any,
    save: Any,
    policy: Any,
    ledger: Any,
    options: dict[str, Any],
    gmc_method: str = "none",
    pace: tuple[int | str, float | None, bool] = (1, None, False),
    record: str | Path | None = None,
) -> Iterator[tuple[Frame, Detections]]:
    """Check the arguments now, open the source at the first `next`."""
    make_cadence(*pace[:2], None)
    PipelineConfig().with_policy(policy)
    model, tracker, settings, camera = prepare(model, tracker, options, gmc_method)
    uris = [save] if isinstance(save, (str, Path)) else list(save)
    return _frames(source, model, tracker, settings, camera(), uris, policy, ledger, pace, record)


def prepare(
    model: Any, tracker: Any, options: dict[str, Any], gmc_method: str
) -> tuple[Model, Any, dict[str, Any], Callable[[], CameraMotionEstimator | None]]:
    """Read what may be said of a model and a tracker.

    Args:
        model: A loaded model, or what `yolokkn.load` takes.
        tracker: A name, a file, a tracker, or None.
        options: Settings of the tracker, and options of `yolokkn.load` or thresholds; the former are taken out.
        gmc_method: As `track` takes it.

    Returns:
        The model, the tracker's name or itself, its settings where it is a name, and what makes its camera's motion estimator.

    Raises:
        TypeError: An option does not belong there.
    """
    settings = {name: options.pop(name) for name in tracker_settings() & set(options)}
    if isinstance(tracker, str) and tracking.is_tracker_file(tracker):
        file = tracking.read_tracker_file(tracker)
        tracker, settings = file.name, {**file.settings, **settings}
        gmc_method = file.gmc_method if file.gmc_method is not None and gmc_method == "auto" else gmc_method
    if isinstance(tracker, str) and not isinstance(model, Model):
        settings = {**advised_settings(model, tracker), **settings}
    if settings and not isinstance(tracker, str):
        raise TypeError(f"track: {min(settings)} must be given where the tracker is made, or with a tracker's name")
    model = _with_options(model, options) if isinstance(model, Model) else load(model, **options)
    if isinstance(tracker, str):
        tracking.create(tracker, **settings)
    name = tracker if isinstance(tracker, str) else getattr(tracker, "name", "")
    return model, tracker, settings, lambda: CameraMotionEstimator.for_tracker(name, gmc_method)


def _frames(
    source: Any,
    model: Model,
    tracker: Any,
    settings: dict[str, Any],
    camera: CameraMotionEstimator | None,
    uris: list[str | Path],
    policy: Any,
    ledger: Any,
    pace: tuple[int | str, float | None, bool],
    record: str | Path | None,
) -> Iterator[tuple[Frame, Detections]]:
    with ExitStack() as stack:
        frames = stack.enter_context(open_source(source))
        config = configure(frames.is_live, policy, model.backend.threads)
        cadence = make_cadence(*pace[:2], frames.frame_rate, motion_gate=pace[2])
        if isinstance(tracker, str):
            interval = expected_interval(cadence, model, config, frames.hw)
            rate = tracking.nominal_frame_rate(frames.frame_rate, interval)
            tracker = tracking.create(tracker, frame_rate=rate, **settings)
        sinks = open_sinks(stack, uris, frames, model)
        recorder = None
        if record is not None:
            model = replace(model, keeps_outputs=True)
            recorder = recorder_of(stack, Path(record), model, frames, tracker)
        pipeline = run_pipeline(
            frames, model, tracker=tracker, camera=camera, sinks=sinks, config=config, ledger=ledger,
            cadence=cadence, recorder=recorder,
        )  # fmt: skip
        yield from stack.enter_context(pipeline)


AUTO = "auto"


def make_cadence(
    detect_every: int | str, budget_ms: float | None, source_rate: float | None, *, motion_gate: bool = False
) -> Cadence | None:
    """Return which frames the network sees; None: all of them.

    Args:
        detect_every: Of so many frames one; or "auto".
        budget_ms: Milliseconds a frame, for "auto"; None: what the source's rate leaves.
        source_rate: Frames a second; None: 30.
        motion_gate: Fewer where nothing moves.

    Raises:
        ValueError: A value is out of its range, or there is a budget that nothing keeps.
    """
    if motion_gate:
        return MotionGate(make_cadence(detect_every, budget_ms, source_rate))
    if detect_every == AUTO:
        return WithinBudget(1e3 / (source_rate or 30.0) if budget_ms is None else budget_ms)
    if budget_ms is not None:
        raise ValueError('track: budget_ms must come with detect_every="auto"')
    if isinstance(detect_every, str):
        raise ValueError(f'track: detect_every must be a number of frames or "auto", got {detect_every!r}')
    cadence = EveryNth(detect_every)
    return None if cadence.every == 1 else cadence


def tracker_settings() -> set[str]:
    """Return the names of every tracker's settings, less those that mean the detections' thresholds here (SORT has such)."""
    names = {"class_policy"} | {f.name for kind in tracking.SETTINGS.values() for f in fields(kind)}
    return names - {f.name for f in fields(DecodeOptions)}


def open_sinks(
    stack: ExitStack,
    uris: Sequence[str | Path],
    source: Source,
    model: Model,
    *,
    overwrite: bool = False,
    reads: Sequence[str | Path] = (),
    overlay: Callable[[np.ndarray], None] | None = None,
) -> list[Sink]:
    """Open the places for a source's results, closed with the stack; none may be what the source reads, or else is read.

    An overlay draws into the pictures, over everything. COCO results carry COCO's category ids where the model has its 80
    classes, else the class ids.
    """
    category_ids = COCO_CATEGORY_IDS if model.class_names == COCO80 else None
    sinks = []
    for uri in uris:
        refuse_own_source(uri, source, reads)
        sink = open_sink(uri, frame_rate=source.frame_rate, overwrite=overwrite, category_ids=category_ids)
        if isinstance(sink, PictureSink):
            sink.overlay = overlay
        sinks.append(stack.enter_context(sink))
    return sinks


def place_of(uri: str | Path) -> Path:
    """Return the file or folder that a place for results names.

    Example:
        >>> str(place_of("mot:out.txt")), str(place_of("record:clips/a,segment=60s"))
        ('out.txt', 'clips/a')
    """
    text = str(uri)
    if text.startswith("record:"):
        return Path(text.removeprefix("record:").partition(",")[0])
    return Path(text.removeprefix("mot:").removeprefix("coco:"))


def refuse_own_source(uri: str | Path, source: Source, reads: Sequence[str | Path] = ()) -> None:
    """Raise SinkError where results would replace the pictures or the video that they come from, or another file that is read."""
    path = place_of(uri)
    target = path.parent if "*" in path.name else path
    if target.is_dir():
        is_own = source.kind == "images" and any(target.samefile(p) for p in {Path(p).parent for p in source.paths})
    else:
        is_own = what_is_read(target, source.paths) is not None
    if is_own:
        raise SinkError(f"{uri}: is what the source reads; results must go elsewhere")
    if (read := what_is_read(target, reads)) is not None:
        raise SinkError(f"{uri}: is what is read ({read}); results must go elsewhere")


def _with_options(model: Model, options: dict[str, Any]) -> Model:
    """Apply what can still be chosen for a loaded model."""
    legal = {f.name for f in fields(DecodeOptions)}
    wrong = sorted(set(options) - legal)
    if wrong:
        raise TypeError(
            f"track: {wrong[0]} must be given to yolokkn.load, since model is loaded already; "
            f"here can be {', '.join(sorted(legal))}"
        )
    return model.with_options(**options) if options else model


def configure(is_live: bool, policy: str | None, threads: int | None) -> PipelineConfig:
    """Return the pipeline's configuration for a source, with the caller's policy where one is given."""
    return PipelineConfig.for_source(is_live, threads).with_policy(policy)
