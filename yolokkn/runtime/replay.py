"""Runs recorded behind the network, and run again from there: the same bytes, on any machine, without model or video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from yolokkn import tracking
from yolokkn._version import __version__
from yolokkn.errors import LayoutError, SourceError
from yolokkn.geometry import Letterbox
from yolokkn.layouts import DecodeOptions, Layout
from yolokkn.layouts.archive import layout_from_plain, layout_to_plain
from yolokkn.runtime.following import Follower, FrameResult, MakeRecorder
from yolokkn.runtime.model import Model, as_float
from yolokkn.runtime.postprocess import postprocess
from yolokkn.runtime.run_file import Record, RunWriter, read_records
from yolokkn.runtime.sources import Source
from yolokkn.types import Detections, Frame, Masks, Tracks

FORMAT = 1
_OUTPUT, _RESULT = "output/", "result/"
_PER_ROW = ("boxes", "scores", "class_ids", "keypoints", "track_ids")


class RunRecorder:
    """Writes what a run did behind its network: raw outputs, times, and results to compare with.

    Args:
        path: A new `.ykr` file.
        model: What runs, with `keeps_outputs`.
        source: What is read; shown without credentials.
        frame_rate: Of the source.
        is_live: Of the source.
        tracker: The run's tracker, one of `yolokkn.tracking`; None: none.
        follows: How frames that the network does not see are followed: `Follower`'s has_times, carries, interpolate, new_ids.
        overwrite: Replace a file that is there.

    Raises:
        SinkError: The file cannot be written.
        TypeError: The tracker is a caller's own, which cannot be written down.
    """

    def __init__(
        self,
        path: Path,
        model: Model,
        *,
        source: str,
        frame_rate: float | None,
        is_live: bool,
        tracker: Any,
        follows: Mapping[str, bool],
        overwrite: bool = False,
    ) -> None:
        if tracker is not None and not isinstance(tracker, tracking.Tracker):
            raise TypeError(f"record: tracker must be one of yolokkn.tracking, got {type(tracker).__name__}")
        self._file = RunWriter(path, overwrite=overwrite)
        self._file.write(
            {
                "format": FORMAT,
                "version": __version__,
                "model": model.name,
                "layout": layout_to_plain(model.layout),
                "options": asdict(model.options),
                "class_names": list(model.class_names),
                "source": source,
                "frame_rate": frame_rate,
                "is_live": is_live,
                "tracker": None if tracker is None else tracker_to_plain(tracker),
                "follows": dict(follows),
            },
            {},
        )

    def write(self, done: FrameResult) -> None:
        """Take a frame that is finished.

        Raises:
            SinkError: The disk does not take it.
            ValueError: The model does not keep its outputs.
        """
        result, frame = done.result, done.frame
        if result is None or (done.is_seen and result.raw is None):
            raise ValueError("record: the model must keep its outputs (keeps_outputs)")
        values: dict[str, Any] = {
            "index": frame.index,
            "timestamp_s": frame.timestamp_s,
            "hw": list(frame.hw),
            "source": frame.source,
            "connection": frame.connection,
            "is_seen": done.is_seen,
            "is_between": done.is_between,
            "timing_ms": {name: float(ms) for name, ms in done.timing_ms.items()},
            "num_dropped": result.num_dropped,
            "carried": bool(getattr(result, "carried", False)),
        }
        arrays = {f"{_RESULT}{name}": value for name, value in result_arrays(result).items()}
        if done.is_seen and result.raw is not None:
            values["letterbox"] = asdict(result.raw.letterbox)
            arrays |= {f"{_OUTPUT}{name}": value for name, value in result.raw.outputs.items()}
        if done.camera is not None:
            arrays["camera"] = done.camera
        self._file.write(values, arrays)

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


def tracker_to_plain(tracker: tracking.Tracker) -> dict[str, Any]:
    """Return what a tracker is made of as plain values."""
    return {
        "name": tracker.name,
        "frame_rate": tracker.frame_rate,
        "class_policy": tracker.class_policy,
        "settings": asdict(tracker.settings),
    }


def result_arrays(result: Detections) -> dict[str, np.ndarray]:
    """Return the arrays of a result by name."""
    arrays = {name: getattr(result, name, None) for name in _PER_ROW}
    if result.masks is not None:
        arrays |= {"mask_data": result.masks.data, "mask_crops": result.masks.crops}
    return {name: value for name, value in arrays.items() if value is not None}


@dataclass(frozen=True)
class RecordedRun:
    """A recorded run, opened; iterate over `replay`.

    Attributes:
        path: The file.
        model: Name of the model that ran.
        layout: What its outputs mean.
        options: What was kept of them.
        class_names: Names by class id.
        source: What was read.
        frame_rate: Of the source; None where it claimed none.
        is_live: Of the source.
        tracker: What the tracker was made of; None: there was none.
        follows: `Follower`'s settings.
        version: Of yolokkn, that recorded it.
    """

    path: Path
    model: str
    layout: Layout
    options: DecodeOptions
    class_names: tuple[str, ...]
    source: str
    frame_rate: float | None
    is_live: bool
    tracker: Mapping[str, Any] | None
    follows: Mapping[str, bool]
    version: str

    @classmethod
    def open(cls, path: str | Path) -> RecordedRun:
        """Open a file.

        Raises:
            SourceError: It is no recorded run, or of a later format.
        """
        path = Path(path)
        head = next(read_records(path), None)
        if head is None:
            raise SourceError(f"replay: {path} holds nothing")
        values = head.values
        if values.get("format") != FORMAT:
            raise SourceError(f"replay: {path} must be of format {FORMAT}, got {values.get('format')!r}")
        try:
            options: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values["options"].items()}
            return cls(
                path=path,
                model=str(values["model"]),
                layout=layout_from_plain(values["layout"]),
                options=DecodeOptions(**options),
                class_names=tuple(map(str, values["class_names"])),
                source=str(values["source"]),
                frame_rate=None if values["frame_rate"] is None else float(values["frame_rate"]),
                is_live=bool(values["is_live"]),
                tracker=values["tracker"],
                follows={name: bool(value) for name, value in values["follows"].items()},
                version=str(values["version"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, LayoutError) as error:
            raise SourceError(f"replay: {path}: its beginning is not that of a recorded run: {error}") from None

    def make_tracker(self, name: str | None = None, **settings: Any) -> tracking.Tracker | None:
        """Make the run's tracker anew, or another one.

        Args:
            name: A tracker's name; None: the run's.
            **settings: Changes of its settings.
        """
        recorded = self.tracker
        if name is None and recorded is None:
            return None
        if name is None or (recorded is not None and name == recorded["name"]):
            try:
                made = {**recorded["settings"], **settings}  # type: ignore[index]
                policy = settings.pop("class_policy", recorded["class_policy"])  # type: ignore[index]
                made.pop("class_policy", None)
                return tracking.create(recorded["name"], frame_rate=recorded["frame_rate"], class_policy=policy, **made)  # type: ignore[index]
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(f"replay: {self.path}: its tracker cannot be made: {error}") from None
        rate = recorded["frame_rate"] if recorded is not None else tracking.nominal_frame_rate(self.frame_rate, 1)
        return tracking.create(name, frame_rate=rate, **settings)

    def replay(
        self, tracker: tracking.Tracker | None = None, **options: Any
    ) -> Iterator[tuple[Frame, Detections, Detections]]:
        """Run everything behind the network again.

        Args:
            tracker: Gives identities; None: none.
            **options: Other DecodeOptions than the run's.

        Yields:
            Each frame (its picture is black: it was not recorded), its result, and the recorded result.

        Raises:
            SourceError: The file is damaged or ends early; after the frames before that place.
        """
        decode = replace(self.options, **options)
        camera = _RecordedCamera()
        records = read_records(self.path)
        next(records)
        follower: Follower | None = None
        waiting: list[tuple[FrameResult, Record]] = []
        for record in records:
            done = self._decoded(record, decode)
            camera.matrix = record.arrays.get("camera")
            if tracker is not None and follower is None:
                gives_ids: Any = tracker
                follower = Follower(gives_ids, camera=camera, **_follows(self.follows))
            waiting.append((done, record))
            finished = [done] if follower is None else follower.push(done)
            yield from self._finished(finished, waiting)
        if follower is not None:
            follower.flush()  # of a run that was left, what lies on the way to a frame that was not recorded is not known
            left = [(done, record) for done, record in waiting if not record.values.get("is_between")]
            yield from self._finished([done for done, _ in left], left)

    def _finished(
        self, finished: list[FrameResult], waiting: list[tuple[FrameResult, Record]]
    ) -> Iterator[tuple[Frame, Detections, Detections]]:
        for one in finished:
            done, record = waiting.pop(0)
            if one is not done or one.result is None:
                raise RuntimeError("replay: frames must come back in their order")
            times = MappingProxyType({str(k): float(v) for k, v in record.values["timing_ms"].items()})
            recorded = self._recorded(record)
            yield one.frame, replace(one.result, timing_ms=times, raw=None), replace(recorded, timing_ms=times)

    def _decoded(self, record: Record, options: DecodeOptions) -> FrameResult:
        values = record.values
        try:
            h, w = (int(side) for side in values["hw"])
            if not (0 < h <= 65536 and 0 < w <= 65536):
                raise ValueError(f"a frame of {w}x{h}")
            black = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (h, w, 3))
            frame = Frame(
                black, int(values["index"]), float(values["timestamp_s"]), 0.0, str(values["source"]), int(values["connection"])
            )  # fmt: skip
            done = FrameResult(frame, bool(values["is_seen"]))
            if not done.is_seen:
                if self.tracker is None:
                    done.result = self._recorded(record)
                return done
            box = values["letterbox"]
            pairs = {name: (int(box[name][0]), int(box[name][1])) for name in ("image_hw", "input_hw", "resized_hw")}
            letterbox = Letterbox(**pairs, pad_top=int(box["pad_top"]), pad_left=int(box["pad_left"]))
            outputs = _named(record, _OUTPUT)
            done.result = postprocess(self.layout, as_float(outputs), 0, letterbox, options, self.class_names)
            return done
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise SourceError(f"replay: {self.path}: a frame's record is not one: {error}") from None

    def _recorded(self, record: Record) -> Detections:
        found: dict[str, Any] = dict(_named(record, _RESULT))
        try:
            crops, data = found.pop("mask_crops", None), found.pop("mask_data", None)
            h, w = (int(side) for side in record.values["hw"])
            shared: dict[str, Any] = {
                "masks": None if crops is None or data is None else Masks(data, crops, (h, w)),
                "class_names": self.class_names,
                "num_dropped": int(record.values["num_dropped"]),
            }
            if "track_ids" not in found:
                return Detections(**found, **shared)
            return Tracks(**found, **shared, carried=bool(record.values["carried"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"replay: {self.path}: a frame's result is not one: {error}") from None


def recorder_of(
    stack: ExitStack, path: Path, model: Model, source: Source, tracker: Any, *, overwrite: bool = False
) -> MakeRecorder:
    """Return what a pipeline makes its recorder of; the file is completed with the stack.

    Args:
        stack: Closes it.
        path: A new `.ykr` file.
        model: What runs, with `keeps_outputs`.
        source: What is read.
        tracker: The run's tracker, or None.
        overwrite: Replace a file that is there.
    """

    def make(follows: Mapping[str, bool]) -> Callable[[FrameResult], None]:
        recorder = RunRecorder(
            path, model, source=source.name, frame_rate=source.frame_rate, is_live=source.is_live, tracker=tracker,
            follows=follows, overwrite=overwrite,
        )  # fmt: skip
        stack.callback(recorder.close)
        return recorder.write

    return make


class _RecordedCamera:
    """Gives the camera's motion that was measured when the run was recorded."""

    def __init__(self) -> None:
        self.matrix: np.ndarray | None = None

    def update(self, image: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray | None:
        """Return the frame's matrix, (2, 3) float64."""
        return self.matrix


def _named(record: Record, prefix: str) -> dict[str, np.ndarray]:
    """Return a record's arrays of one kind, by their own names."""
    return {name.removeprefix(prefix): value for name, value in record.arrays.items() if name.startswith(prefix)}


def _follows(follows: Mapping[str, bool]) -> dict[str, Any]:
    known = ("has_times", "carries", "interpolate", "new_ids")
    return {name: follows[name] for name in known if name in follows}


def difference(one: Detections, other: Detections) -> str | None:
    """Say where two results differ in a byte; None: nowhere."""
    if type(one) is not type(other):
        return f"{type(one).__name__} and {type(other).__name__}"
    if getattr(one, "carried", False) != getattr(other, "carried", False) or one.num_dropped != other.num_dropped:
        return "carried or dropped rows"
    mine, theirs = result_arrays(one), result_arrays(other)
    if mine.keys() != theirs.keys():
        return "other fields"
    for name, value in mine.items():
        if value.shape != theirs[name].shape:
            return f"{len(one)} rows and {len(other)}"
        if value.dtype != theirs[name].dtype or value.tobytes() != theirs[name].tobytes():
            return name
    return None
