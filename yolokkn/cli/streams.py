"""Several sources at once: `--source` more than once, or a `.streams` file."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolokkn.cli.arguments import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK
from yolokkn.cli.frames import Summary, free_folder, open_model, record_path, stop_at_interrupt
from yolokkn.cli.pace import asked_pace
from yolokkn.cli.places import files_read, require_stream
from yolokkn.cli.zone_options import open_zones
from yolokkn.errors import SourceError, SourceWarning, printable
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.runtime.model import Model
from yolokkn.runtime.replay import recorder_of
from yolokkn.runtime.sinks.outbox import is_outbox
from yolokkn.runtime.sources import Source
from yolokkn.runtime.sources.spec import named_sources
from yolokkn.runtime.streams import (
    Stream,
    StreamParts,
    StreamResult,
    Streams,
    StreamStatus,
    streams_config,
)
from yolokkn.runtime.track import open_sinks, place_of
from yolokkn.runtime.uri import PLACE
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.web import Monitor, WebServer, read_address

_WATCHED_S = 1.0  # how often a `.streams` file is looked at


def run_streams(
    args: argparse.Namespace,
    specs: list[str],
    listed: list[tuple[str | None, Any]],
    verb: str,
    make_tracker: Any = None,
    make_camera: Callable[[], Any] = lambda: None,
) -> int:
    """Run several sources through one model.

    Args:
        args: The parsed command line.
        specs: The sources as given; a `.streams` file is followed while they run.
        listed: What they mean now, as `named_sources` gives it.
        verb: "track" or "predict".
        make_tracker: Called with a source's frame rate and how many frames apart detections are; gives its tracker.
        make_camera: Makes what measures a camera's motion for it.
    """
    is_one = len(listed) == 1
    _check(args, is_one)
    uris = _uris(args, verb, is_one)
    reads = files_read(args)
    if args.stats:
        refuse_existing(Path(args.stats), args.overwrite, reads)
    config = streams_config(len(listed), args.threads)
    model = replace(open_model(args, config.num_requests), keeps_outputs=bool(args.record))
    counts: dict[str, Summary] = {}
    watches: dict[str, ZoneWatch | None] = {}
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            print(printable(f"yolokkn {verb}: {line}"), file=sys.stderr, flush=True)

    def equip(stack: ExitStack, name: str, source: Source) -> StreamParts:
        counts[name] = Summary()
        pace = asked_pace(args, source, streams.config, model)
        own = [uri.replace(PLACE, name) for uri in uris]
        for uri in own:
            if not is_outbox(uri):
                place_of(uri).parent.mkdir(parents=True, exist_ok=True)
        watch = watches[name] = open_zones(args, stack, model, name)
        overlay = None if watch is None else watch.draw
        sinks = open_sinks(stack, own, source, model, overwrite=args.overwrite, reads=reads, overlay=overlay)
        tracker = make_tracker(source.frame_rate, pace.detect_every) if make_tracker else None
        recorder = None
        if args.record:
            path = record_path(args.record.replace(PLACE, name))
            path.parent.mkdir(parents=True, exist_ok=True)
            recorder = recorder_of(stack, path, model, source, tracker, overwrite=args.overwrite)
        return StreamParts(tracker, make_camera(), pace.cadence, [*filter(None, [watch]), *sinks], recorder)

    def took(one: StreamResult) -> None:
        counts[one.stream].add(one.result)
        if monitor is not None:
            monitor.took(one)

    monitor: Monitor | None = None

    with warnings.catch_warnings(), Streams(
        model, equip, config=config, policy=args.policy, reconnect=args.reconnect,
        new_ids=getattr(args, "new_ids", False), batch=args.batch, batch_wait_ms=args.batch_wait, on_result=took, say=say,
    ) as streams:  # fmt: skip
        warnings.simplefilter("ignore", SourceWarning)  # printed as one line each at the end
        list_of = _StreamsList(streams, specs, say)
        with ExitStack() as stack, stop_at_interrupt(streams) as interrupts:
            if args.web:
                monitor = Monitor(streams, watches, model=model.name)
                host, port = read_address(args.web)
                server = stack.enter_context(WebServer(monitor, host, port, token=os.environ.get("YOLOKKN_WEB_TOKEN")))
                say(f"the page is at {server.url}")
            list_of.begin(listed)
            while not streams.wait(_WATCHED_S):
                list_of.look()
        streams.close()
        ended = {**list_of.removed, **streams.streams}
    return _told(args, verb, ended, counts, watches, model, interrupts)


class _StreamsList:
    """What runs follows what a `.streams` file lists."""

    def __init__(self, streams: Streams, specs: list[str], say: Callable[[str], None]) -> None:
        self._streams, self._specs, self._say = streams, specs, say
        self._seen = self._stamp()
        self._running: dict[tuple[str | None, Any], str] = {}
        self.removed: dict[str, Stream] = {}

    def begin(self, listed: list[tuple[str | None, Any]]) -> None:
        """Start what is listed."""
        for key in listed:
            self._running[key] = self._streams.add(key[1], key[0]).name

    def look(self) -> None:
        """Start what was added to the file since, and stop what was taken out."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            listed = named_sources(self._specs)
        except SourceError as error:
            self._say(f"{error}; goes on as before")
            return
        for key, name in list(self._running.items()):
            if key not in listed:
                stream = self._streams.streams[name]
                self._streams.remove(name)
                self.removed[name] = stream
                del self._running[key]
                self._say(f"{name}: removed")
        for key in listed:
            if key not in self._running:
                try:
                    self._running[key] = self._streams.add(key[1], key[0]).name
                except ValueError as error:
                    self._say(f"{error}; left out")
                    continue
                self._say(f"{self._running[key]}: added")

    def _stamp(self) -> list[tuple[int, int]]:
        stamps = []
        for spec in self._specs:
            if spec.lower().endswith(".streams"):
                try:
                    about = Path(spec).stat()
                except OSError:
                    stamps.append((0, 0))
                else:
                    stamps.append((about.st_mtime_ns, about.st_size))
        return stamps


def _check(args: argparse.Namespace, is_one: bool) -> None:
    for name in ("show", "realtime"):
        if getattr(args, name, False):
            raise ValueError(f"--{name} takes one source" + (", and no --web" if is_one else ""))
    if is_one:
        return
    for name in ("record", "events", "heatmap"):
        if value := getattr(args, name, None):
            require_stream(name, value)


def _uris(args: argparse.Namespace, verb: str, is_one: bool) -> list[str]:
    """Resolve --save: a place for each stream, named by {stream}."""
    uris: list[str] = []
    for uri in args.save:
        if uri.lower() in ("false", "no", "0"):
            continue
        if uri.lower() in ("true", "yes", "1"):
            folder = free_folder(Path(args.project or "runs") / (args.name or verb), args.overwrite)
            uris += [f"{folder}/{PLACE}.mp4", f"{folder}/{PLACE}.jsonl"]
        else:
            if not is_one:
                require_stream("save", uri)
            uris.append(uri)
    return uris


def _told(
    args: argparse.Namespace,
    verb: str,
    streams: dict[str, Stream],
    counts: dict[str, Summary],
    watches: dict[str, ZoneWatch | None],
    model: Model,
    interrupts: list[int],
) -> int:
    statuses = [stream.status() for stream in streams.values()]
    if args.stats:
        ledgers = {name: stream.ledger.to_dict() | _health(stream.status()) for name, stream in streams.items()}
        write_atomically(Path(args.stats), json.dumps({"streams": ledgers}, indent=2) + "\n")
    if not args.quiet:
        for name, summary in counts.items():
            print(f"{name}: {summary.text(model, [])}")
            if (watch := watches.get(name)) is not None:
                print("\n".join(f"  {line}" for line in watch.text().splitlines()))
        print(table(statuses))
    if interrupts:
        print(f"yolokkn {verb}: stopped", file=sys.stderr)
        return 128 + interrupts[0]
    is_incomplete = False
    for stream in streams.values():
        for warning in stream.source.warnings if stream.source is not None else ():
            print(f"yolokkn {verb}: warning: {warning}", file=sys.stderr)
        is_incomplete |= stream.source is not None and (stream.source.truncated or stream.source.num_skipped > 0)
    if any(status.state == "failed" or status.failed_sinks for status in statuses):
        return EXIT_FAILED
    return EXIT_INCOMPLETE if is_incomplete else EXIT_OK


def _health(status: StreamStatus) -> dict[str, Any]:
    return {
        "source": status.source,
        "state": status.state,
        "reason": status.reason,
        "num_connections": status.num_connections,
        "causes": status.causes,
        "failed_sinks": list(status.failed_sinks),
    }


def table(statuses: list[StreamStatus]) -> str:
    """Return a table with a line for each stream."""
    width = max([len("stream"), *(len(status.name) for status in statuses)])
    lines = [f"{'stream':<{width}}  {'state':<12} {'frames':>8} {'age p99':>9}  dropped"]
    for status in statuses:
        dropped = ", ".join(f"{count} {cause}" for cause, count in status.dropped.items()) or "none"
        again = ", ".join(f"{cause} {count} times" for cause, count in status.causes.items())
        lines.append(
            f"{status.name:<{width}}  {status.state:<12} {status.num_frames:>8} {status.age_p99_ms:>6.1f} ms  {dropped}"
            + (f"; {again}, connected {status.num_connections} times" if again else "")
        )
    return "\n".join(lines)
