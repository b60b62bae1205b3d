"""The Python door of many streams: `yolokkn.track_streams`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from yolokkn import tracking
from yolokkn.runtime.model import Model
from yolokkn.runtime.realtime import expected_interval
from yolokkn.runtime.sources import Source
from yolokkn.runtime.sources.spec import named_sources
from yolokkn.runtime.streams import StreamParts, Streams, streams_config
from yolokkn.runtime.track import TRACK_SCORE_THRESHOLD, make_cadence, open_sinks, prepare
from yolokkn.runtime.uri import PLACE


def track_streams(
    sources: Mapping[str, Any] | Sequence[Any] | str | Path,
    *,
    model: Model | str | Path | None = None,
    tracker: str | None = "kkn",
    gmc_method: str = "auto",
    save: str | Sequence[str] = (),
    policy: str | None = None,
    detect_every: int | str = 1,
    budget_ms: float | None = None,
    motion_gate: bool = False,
    reconnect: bool | None = None,
    new_ids: bool = False,
    batch: int = 1,
    say: Callable[[str], None] | None = print,
    **options: Any,
) -> Streams:
    """Track the objects of several sources at once, each with a tracker of its own.

    Args:
        sources: Source of each name; or a list of them, or a `.streams` file, which are named after themselves.
        model: As in `yolokkn.track`; all share it.
        tracker: A name, or a file as `bytetrack.yaml`; None: detections only.
        gmc_method: As in `yolokkn.track`.
        save: Where results go; each place holds `{stream}`, as "results/{stream}.jsonl".
        policy: As in `yolokkn.track`.
        detect_every: As in `yolokkn.track`.
        budget_ms: As in `yolokkn.track`.
        motion_gate: As in `yolokkn.track`.
        reconnect: As in `open_source`; live streams that are not there yet are waited for.
        new_ids: A stream that was opened again gets new ids.
        batch: Pictures of several streams that may run as one, where the model's batch is free.
        say: Told in lines what happens to a stream.
        **options: As in `yolokkn.track`.

    Returns:
        The running streams: iterate over them for results as they come; `add`, `remove`, `status`, `stop`.

    Raises:
        SourceError: A `.streams` file cannot be read. A source that cannot be opened is told by `say` and `status()`.
        ModelError: The model cannot be loaded.
        ValueError: A place in `save` does not hold `{stream}`.

    Example:
        >>> import yolokkn
        >>> with yolokkn.track_streams({"door": "rtsp://camera/1", "yard": "rtsp://camera/2"}) as streams:  # doctest: +SKIP
        ...     for stream, frame, tracks in streams:
        ...         print(stream, frame.timestamp_s, tracks.track_ids)
    """
    uris = [save] if isinstance(save, (str, Path)) else list(save)
    for uri in uris:
        if PLACE not in str(uri):
            raise ValueError(f"track_streams: save must hold {PLACE}, as results/{PLACE}.jsonl, got {uri}")
    make_cadence(detect_every, budget_ms, None)
    listed = list(sources.items()) if isinstance(sources, Mapping) else named_sources(_as_list(sources))
    config = streams_config(len(listed))
    if not isinstance(model, Model):
        options.setdefault("score_threshold", TRACK_SCORE_THRESHOLD)
        options.setdefault("num_requests", config.num_requests)
    loaded, name, settings, camera = prepare(model, tracker, options, gmc_method)

    def equip(stack: ExitStack, stream: str, source: Source) -> StreamParts:
        cadence = make_cadence(detect_every, budget_ms, source.frame_rate, motion_gate=motion_gate)
        interval = expected_interval(cadence, loaded, config, source.hw)
        made: Any = None
        if name is not None:
            rate = tracking.nominal_frame_rate(source.frame_rate, interval)
            made = tracking.create(name, frame_rate=rate, **settings)
        own = [str(uri).replace(PLACE, stream) for uri in uris]
        sinks = open_sinks(stack, own, source, loaded)
        return StreamParts(made, camera() if made is not None else None, cadence, sinks)

    streams = Streams(
        loaded, equip, config=config, policy=policy, reconnect=reconnect, new_ids=new_ids, batch=batch, say=say
    )
    try:
        for key, spec in listed:
            streams.add(spec, key)
    except BaseException:
        streams.close()
        raise
    return streams


def _as_list(sources: Any) -> list[Any]:
    return [sources] if isinstance(sources, (str, Path)) else list(sources)
