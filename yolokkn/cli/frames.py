"""What `track` and `predict` share: a source through a model into sinks, with progress, a summary and the ledger."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolokkn.cli.arguments import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_OK, flag, milliseconds, positive
from yolokkn.cli.model_options import add_model_options, load_model
from yolokkn.cli.pace import choose_pace
from yolokkn.cli.places import files_read
from yolokkn.cli.progress import progress
from yolokkn.cli.zone_options import open_zones
from yolokkn.errors import SourceWarning, printable
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.runtime.camera_motion import CameraMotionEstimator
from yolokkn.runtime.model import Model
from yolokkn.runtime.pipeline import PipelineConfig, ResultSink, run_pipeline
from yolokkn.runtime.replay import recorder_of
from yolokkn.runtime.sinks import VIDEO_SUFFIXES, Sink
from yolokkn.runtime.sinks.text import MessageSink
from yolokkn.runtime.sources import ReconnectingSource, Source, open_source
from yolokkn.runtime.sources.spec import named_sources
from yolokkn.runtime.timing import LatencyLedger
from yolokkn.runtime.track import configure, open_sinks
from yolokkn.runtime.uri import without_credentials
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.types import Detections, Tracks
from yolokkn.web.access import DEFAULT_ADDRESS


def add_frame_options(parser: argparse.ArgumentParser, *, conf: float) -> None:
    """Add the options of a run over frames."""
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="the same as --source")
    group = parser.add_argument_group("source and results")
    group.add_argument(
        "--source", dest="source_option", action="append", metavar="SOURCE",
        help="a file, folder, 'glob*', .txt list of images, camera index, rtsp/http URL, demo; several at once: given more than "
        "once, or a .streams file with one a line (as door=rtsp://...)",
    )  # fmt: skip
    group.add_argument(
        "--save", action="append", nargs="?", const="true", default=[], metavar="URI",
        help="out.mp4 (.mkv .mov .avi .gif), out.jsonl, out.csv, mot:out.txt, coco:out.json, record:folder (video in "
        "segments: record:clips,segment=10m,keep=20G,min-free=500M,drawn=false), mqtt://broker/topic, "
        "webhook+https://host/path, a folder/ or folder/*.png; "
        "may be repeated; alone: a video or pictures and JSON lines into PROJECT/NAME; of several sources: {stream}.jsonl ...",
    )  # fmt: skip
    group.add_argument("--project", default=None, metavar="DIR", help="folder for --save without a URI (default runs)")
    group.add_argument(
        "--name", default=None, metavar="NAME", help="subfolder for --save without a URI (default the verb)"
    )
    group.add_argument(
        "--overwrite", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="replace existing results"
    )
    group.add_argument(
        "--show", type=flag, nargs="?", const=True, default=False, metavar="BOOL", help="show each frame in a window"
    )
    group.add_argument(
        "--record", metavar="RUN.ykr",
        help="keep the network's raw outputs, times and results, for `yolokkn replay`; of several sources: {stream}.ykr",
    )  # fmt: skip
    group.add_argument("--stats", metavar="FILE", help="write the latency ledger as JSON")
    group.add_argument(
        "--quiet",
        type=flag,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="print errors and warnings only",
    )
    group.add_argument(
        "--reconnect", type=flag, nargs="?", const=True, default=None, metavar="BOOL",
        help="open a live stream again whenever it breaks off or freezes, until it is back (default: true, but for http and tcp)",
    )  # fmt: skip
    group.add_argument(
        "--policy", type=policy, metavar="every|latest|budget=MS",
        help="every frame (default of files), the latest one (of live sources), or those that are not older than the budget when "
        "their turn comes",
    )  # fmt: skip
    group.add_argument(
        "--web", nargs="?", const=DEFAULT_ADDRESS, metavar="HOST:PORT",
        help=f"a page with live views, counts and health, /metrics and a JSON API (alone: {DEFAULT_ADDRESS}); at any other than "
        "a loopback address a token is asked for: YOLOKKN_WEB_TOKEN, or one made for the run",
    )  # fmt: skip
    group.add_argument(
        "--batch", type=positive, default=1, metavar="N",
        help="of several sources: so many pictures run as one, where the model's batch is free (for GPUs; default 1)",
    )  # fmt: skip
    group.add_argument(
        "--batch-wait",
        type=milliseconds,
        default=5.0,
        metavar="5ms",
        help="how long a picture waits for others (default 5ms)",
    )
    add_model_options(parser, conf=conf)


def policy(text: str) -> str:
    """Read how frames are dropped: every, latest or budget=200ms."""
    try:
        PipelineConfig().with_policy(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("PipelineConfig: policy ")) from None
    return text


def run_frames(
    args: argparse.Namespace,
    verb: str,
    make_tracker: Any = None,
    make_camera: Callable[[], CameraMotionEstimator | None] = lambda: None,
) -> int:
    """Run a source, or several, through a model.

    Args:
        args: The parsed command line.
        verb: "track" or "predict".
        make_tracker: Called with the source's frame rate and how many frames apart detections are; gives the tracker.
        make_camera: Makes what measures the camera's motion for it.
    """
    if args.source_option and args.source:
        raise ValueError(f"unexpected argument {args.source!r} beside --source (options begin with -- or hold =)")
    specs = args.source_option or [args.source]
    if len(set(args.save)) < len(args.save):
        raise ValueError("--save must name each result once")
    if not all(specs):
        raise ValueError("--source must be given: a file, folder, camera or URL")
    listed = named_sources(specs)
    if args.web or len(listed) > 1:
        from yolokkn.cli.streams import run_streams

        return run_streams(args, specs, listed, verb, make_tracker, make_camera)
    if args.batch > 1:
        raise ValueError("--batch takes several sources")
    ledger = LatencyLedger()
    counts = Summary()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", SourceWarning)  # printed as one line each at the end
        source = stack.enter_context(open_source(specs[0], reconnect=args.reconnect))
        if isinstance(source, ReconnectingSource):
            source.tell(lambda line: print(printable(f"yolokkn {verb}: {line}"), file=sys.stderr))
        if source.kind == "images":
            source.frame_rate = getattr(args, "frame_rate", None)
        config = configure(source.is_live, args.policy, args.threads)
        pace = choose_pace(args, source, config, lambda asked: open_model(asked, config.num_requests))
        model = pace.model
        uris, reads = save_uris(args, verb, source), files_read(args)
        if args.stats:
            refuse_existing(Path(args.stats), args.overwrite, [*source.paths, *reads])
        watch = open_zones(args, stack, model)
        sinks = open_sinks(
            stack,
            uris,
            source,
            model,
            overwrite=args.overwrite,
            reads=reads,
            overlay=None if watch is None else watch.draw,
        )
        takers: list[ResultSink] = [*sinks] if watch is None else [watch, *sinks]
        failures = SinkFailures(verb, 0 if args.show else len(takers))
        tracker = make_tracker(source.frame_rate, pace.detect_every) if make_tracker else None
        recorder = None
        if args.record:
            model = replace(model, keeps_outputs=True)
            recorder = recorder_of(stack, record_path(args.record), model, source, tracker, overwrite=args.overwrite)
        pipeline = stack.enter_context(
            run_pipeline(
                source, model, tracker=tracker, camera=make_camera(), cadence=pace.cadence, sinks=takers, config=config,
                ledger=ledger, new_ids=getattr(args, "new_ids", False), recorder=recorder,
                on_sink_error=failures.add if source.is_live else None,
            )
        )  # fmt: skip
        try:
            with progress(source.num_frames, args.quiet) as advance, stop_at_interrupt(pipeline) as interrupts:
                for frame, result in pipeline:
                    counts.add(result)
                    advance()
                    if failures.are_all:
                        break
                    if args.show and not show(frame, result, watch):
                        break
        finally:
            pipeline.close()
    if args.stats:
        write_atomically(Path(args.stats), json.dumps(ledger.to_dict(), indent=2) + "\n")
    if not args.quiet:
        print(counts.text(model, saved(sinks, uris)))
        if watch is not None:
            print("\n".join([watch.text(), *(f"saved {path}" for path in watch.paths)]))
        if isinstance(source, ReconnectingSource) and (causes := source.health.causes):
            counted = ", ".join(f"{cause} {count} times" for cause, count in causes.items())
            print(f"{source.name}: {counted}; connected {source.health.num_connections} times")
        print(ledger.table())
    if interrupts:
        print(f"yolokkn {verb}: stopped", file=sys.stderr)
        return 128 + interrupts[0]
    if failures.count:
        return EXIT_FAILED
    for warning in source.warnings:
        print(f"yolokkn {verb}: warning: {warning}", file=sys.stderr)
    return EXIT_INCOMPLETE if source.truncated or source.num_skipped else EXIT_OK


def record_path(text: str) -> Path:
    """Read --record.

    Raises:
        ValueError: It is no `.ykr` file.
    """
    if not text.endswith(".ykr"):
        raise ValueError(f"--record must end in .ykr, got {text}")
    return Path(text)


def open_model(args: argparse.Namespace, num_requests: int) -> Model:
    """Open the model that the command line names, for so many runs at once."""
    return load_model(
        args, default=True, says_choice=not getattr(args, "realtime", False), num_requests=num_requests,
        score_threshold=args.conf, iou_threshold=args.iou, max_detections=args.max_det, agnostic=args.agnostic,
    )  # fmt: skip


def saved(sinks: list[Sink], uris: list[str]) -> list[str]:
    """Say what each sink wrote."""
    lines = []
    for sink, uri in zip(sinks, uris, strict=True):
        if len(sink.paths) > 1 and sink.paths[0].suffix.lower() in VIDEO_SUFFIXES:
            lines.append(f"{uri} in {len(sink.paths)} files, {sink.paths[0]} to {sink.paths[-1]}: one per frame size")
        else:
            lines.append(without_credentials(uri))
        if isinstance(sink, MessageSink) and sink.outbox.num_lost:
            lines[-1] += f": {sink.outbox.num_sent} lines; {sink.outbox.num_lost} were lost: {sink.outbox.trouble}"
    return lines


class SinkFailures:
    """Says which results of a live source cannot be written any more; the others go on, and what is written is valid.

    Args:
        verb: That runs.
        num_sinks: How many there are; 0: the run is worth going on without any.
    """

    def __init__(self, verb: str, num_sinks: int) -> None:
        self._verb, self._num_sinks = verb, num_sinks
        self.count = 0

    def add(self, _sink: object, error: Exception) -> None:
        """Take note of a failure."""
        self.count += 1
        ending = "nothing is left to write" if self.are_all else "goes on without it"
        print(printable(f"yolokkn {self._verb}: error: {error}; {ending}"), file=sys.stderr)

    @property
    def are_all(self) -> bool:
        """No sink is left that has not failed."""
        return 0 < self._num_sinks <= self.count


class Summary:
    """Counts what a run saw, in memory that does not grow with its length."""

    _REMEMBERED_IDS = 20_000

    def __init__(self) -> None:
        self.num_frames = 0
        self.num_dropped_rows = 0
        self._counts: Counter[int] = Counter()
        self._seen_ids: dict[int, None] = {}  # in the order of their first sight
        self._noun = "detections"

    def add(self, result: Detections) -> None:
        """Count a frame's result: detections, or tracks that were not seen before."""
        self.num_frames += 1
        self.num_dropped_rows += result.num_dropped
        if not isinstance(result, Tracks):
            self._counts.update(result.class_ids.tolist())
            return
        self._noun = "tracks"
        for track_id, class_id in zip(result.track_ids.tolist(), result.class_ids.tolist(), strict=True):
            if track_id >= 0 and track_id not in self._seen_ids:
                self._seen_ids[track_id] = None
                self._counts[class_id] += 1
        while len(self._seen_ids) > self._REMEMBERED_IDS:
            del self._seen_ids[next(iter(self._seen_ids))]

    def text(self, model: Model, uris: list[str]) -> str:
        """Return the summary as text."""
        names = model.class_names
        listed = ", ".join(f"{n} {names[c] if c < len(names) else c}" for c, n in self._counts.most_common(10))
        lines = [f"{self.num_frames} frames, {self._counts.total()} {self._noun}" + (f": {listed}" if listed else "")]
        if self.num_dropped_rows:
            lines.append(
                f"{self.num_dropped_rows} rows of the model's output were dropped: NaN, infinite, or of an unknown class"
            )
        lines += [f"saved {uri}" for uri in uris]
        return "\n".join(lines)


def save_uris(args: argparse.Namespace, verb: str, source: Source) -> list[str]:
    """Resolve --save: the URIs as given, or a video and JSON lines in a folder of their own."""
    uris: list[str] = []
    for uri in args.save:
        if uri.lower() in ("false", "no", "0"):
            continue
        if uri.lower() not in ("true", "yes", "1"):
            uris.append(uri)
            continue
        folder = free_folder(Path(args.project or "runs") / (args.name or verb), args.overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        if source.kind == "images":
            stem, picture = "results", f"{folder}/"
        else:
            stem = Path(source.name).stem if source.kind == "video" else source.kind
            picture = f"{folder}/{stem}.mp4"
        uris += [picture, f"{folder}/{stem}.jsonl"]
    return uris


def free_folder(folder: Path, overwrite: bool) -> Path:
    """Return the folder, or the first of folder2, folder3 ... that does not exist."""
    if overwrite or not folder.exists():
        return folder
    number = 2
    while folder.with_name(f"{folder.name}{number}").exists():
        number += 1
    return folder.with_name(f"{folder.name}{number}")


@contextmanager
def stop_at_interrupt(pipeline: Any) -> Iterator[list[int]]:
    """Let the first Ctrl-C (or SIGTERM) end the run between two frames: every output holds the same ones. A second breaks off.

    Yields:
        The signals that came, none or one.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def handle(number: int, _stack: Any) -> None:
        signal.signal(number, previous[number])
        came.append(number)
        pipeline.stop()

    previous = {int(number): signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, action in previous.items():
            signal.signal(number, action)


def show(frame: Any, result: Detections, watch: ZoneWatch | None = None) -> bool:
    """Show an annotated frame; returns False when the user closes the window or presses q or Esc.

    Raises:
        MissingDependencyError: This OpenCV has no windows.
    """
    import cv2

    from yolokkn.errors import MissingDependencyError
    from yolokkn.runtime.draw import draw

    try:
        image = draw(frame.image, result)
        if watch is not None:
            watch.draw(image)
        cv2.imshow("yolokkn", image)
        return cv2.waitKey(1) & 0xFF not in (27, ord("q"))
    except cv2.error as error:
        raise MissingDependencyError(
            "--show: this OpenCV has no windows; run: pip uninstall opencv-python-headless && pip install opencv-python"
        ) from error
