"""Zones and lines along a run: events as lines of text, counts drawn into pictures, a heat map of where tracks were."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType

import numpy as np

from yolokkn.errors import SinkError
from yolokkn.files import write_atomically
from yolokkn.runtime.sinks.base import check_new_file
from yolokkn.runtime.sinks.outbox import Outbox, is_outbox, open_outbox
from yolokkn.runtime.sinks.text import LineFile, finite, open_line_file
from yolokkn.types import Detections, Frame, Tracks
from yolokkn.zones import ZoneCounter, ZoneEvent, ZoneMap

_ZONE, _LINE, _INK = (80, 200, 255), (90, 90, 255), (255, 255, 255)  # BGR
_CELL = 4  # pixels of a side of the heat map's cells
_LONGEST_STEP_S = 1.0


class ZoneWatch:
    """A sink that counts; give it to a pipeline before the sinks that draw.

    Args:
        zones: Zones and lines.
        class_names: Names by class id.
        events: A `.jsonl` file that gets each event as it happens: event, place, track_id, class_id, class_name, timestamp_s,
            frame, source, and dwell_s of those that leave or vanish; or an address as `open_outbox` takes it.
        heatmap: A `.png` or `.jpg` picture, written at the end: where tracks were for how long, over the last frame.
        overwrite: Replace files that are there.

    Attributes:
        counter: What counts.

    Raises:
        SinkError: A file cannot be written, or is there already.
        ConfigurationError: A place counts a class that the model does not have.
    """

    def __init__(
        self,
        zones: ZoneMap,
        class_names: tuple[str, ...] = (),
        *,
        events: str | Path | None = None,
        heatmap: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self.counter = ZoneCounter(zones, class_names)
        self._heatmap, self._heat, self._last = heatmap, np.zeros((0, 0), np.float64), None  # type: Path | None, np.ndarray, Frame | None
        self._outbox: Outbox | None = None
        if events is not None and is_outbox(str(events)):
            self._outbox, events = open_outbox(str(events)), None
        if events is not None:
            events = Path(events)
        for path, suffixes in ((events, (".jsonl",)), (heatmap, (".png", ".jpg"))):
            if path is not None and path.suffix.lower() not in suffixes:
                raise SinkError(f"zones: {path} must end in {' or '.join(suffixes)}")
            if path is not None:
                check_new_file(path, overwrite)
        self.paths = [path for path in (events, heatmap) if path is not None]
        self._file: LineFile | None = None if events is None else open_line_file(events)

    def write(self, frame: Frame, result: Detections) -> None:
        """Count a frame's tracks."""
        if not isinstance(result, Tracks):
            raise SinkError("zones: only tracks can be counted; there is no tracker")
        events = self.counter.update(result, frame.timestamp_s, frame.index, frame.hw)
        lines = "".join(self._line(event, frame, result) for event in events)
        if self._outbox is not None and lines:
            self._outbox.write(lines)
        if self._file is not None and lines:
            try:
                self._file.write(lines)
            except OSError as error:
                raise SinkError(f"zones: the events cannot be written: {error.strerror}") from error
        if self._heatmap is not None:
            self._warm(frame, result)

    @staticmethod
    def _line(event: ZoneEvent, frame: Frame, result: Tracks) -> str:
        row = {
            "event": event.kind,
            "place": event.place,
            "track_id": event.track_id,
            "class_id": event.class_id,
            "class_name": result.class_name(event.class_id),
            "timestamp_s": finite(event.timestamp_s, 6),
            "frame": event.frame,
            "source": frame.source,
        }
        if event.dwell_s is not None:
            row["dwell_s"] = finite(event.dwell_s, 3)
        return json.dumps(row, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"

    def _warm(self, frame: Frame, result: Tracks) -> None:
        cells = (frame.hw[0] // _CELL + 1, frame.hw[1] // _CELL + 1)
        if self._heat.shape != cells:
            self._heat, self._last = np.zeros(cells), None
        step_s = (
            0.0 if self._last is None else min(max(frame.timestamp_s - self._last.timestamp_s, 0.0), _LONGEST_STEP_S)
        )
        boxes = result.boxes[(result.track_ids >= 0) & np.isfinite(result.boxes).all(1)]
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]
        places = np.clip(np.stack([y, x], 1) // _CELL, 0, np.array(cells) - 1).astype(int)
        np.add.at(self._heat, (places[:, 0], places[:, 1]), step_s)
        self._last = frame

    def draw(self, image: np.ndarray) -> None:
        """Draw the zones and lines, with their counts, into a picture (H, W, 3) uint8 BGR."""
        import cv2

        zones, (h, w) = self.counter.zones, image.shape[:2]
        scale = np.array([1.0, 1.0] if zones.size is None else [w / zones.size[0], h / zones.size[1]])
        width = max(round(min(h, w) / 300), 1)
        for name, zone in zones.zones.items():
            points = np.round(np.array(zone.points) * scale).astype(np.int32)
            cv2.polylines(image, [points], True, _ZONE, width, cv2.LINE_AA)
            counts = self.counter.counts[name]
            _label(
                image,
                f"{name}: {counts.inside} inside, {counts.enter + counts.appear} so far",
                points[points[:, 1].argmin()],
            )
        for name, line in zones.lines.items():
            a, b = np.round(np.array(line.points) * scale).astype(np.int32)
            cv2.arrowedLine(image, a.tolist(), b.tolist(), _LINE, width, cv2.LINE_AA, tipLength=0.04)
            counts = self.counter.counts[name]
            _label(image, f"{name}: {counts.num_in} in, {counts.num_out} out", (a + b) // 2)

    def text(self) -> str:
        """Return what was counted, a line for each place."""
        lines = []
        for name in self.counter.zones.zones:
            counts = self.counter.counts[name]
            lines.append(
                f"{name}: {counts.enter} entered, {counts.appear} appeared, {counts.leave} left, {counts.vanish} vanished, "
                f"{counts.inside} inside at the end; {counts.mean_dwell_s:.1f} s inside on average"
            )
        for name in self.counter.zones.lines:
            counts = self.counter.counts[name]
            lines.append(f"{name}: {counts.num_in} in, {counts.num_out} out")
        if self._outbox is not None and self._outbox.num_lost:
            lines.append(f"{self._outbox.name}: {self._outbox.num_lost} events were lost: {self._outbox.trouble}")
        return "\n".join(lines)

    def close(self) -> None:
        """Complete the files."""
        if self._outbox is not None:
            self._outbox.close()
        file, self._file = self._file, None
        if file is not None:
            file.close(sync=True)
        heatmap, self._heatmap = self._heatmap, None
        if heatmap is not None and self._last is not None:
            write_atomically(heatmap, _encoded(self._heat, self._last.image, heatmap.suffix))

    def __enter__(self) -> ZoneWatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _encoded(heat: np.ndarray, image: np.ndarray, suffix: str) -> bytes:
    """Return the picture of a heat map as a file's bytes."""
    import cv2

    h, w = image.shape[:2]
    smooth = cv2.GaussianBlur(heat, (0, 0), max(min(h, w) / 60 / _CELL, 1.0))
    warm = smooth[smooth > 0.01 * max(float(smooth.max()), 1e-12)]
    full_s = float(np.quantile(warm, 0.9)) if len(warm) else 1.0  # not the one spot where something stood all the time
    share = np.sqrt(np.minimum(smooth / max(full_s, 1e-12), 1.0))  # what is a tenth as long shows at a third
    full = np.asarray(cv2.resize(share, (heat.shape[1] * _CELL, heat.shape[0] * _CELL)))[:h, :w, None]
    colours = cv2.applyColorMap((full * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    blended = image * (1 - 0.75 * full) + colours * (0.75 * full)
    return bytes(cv2.imencode(suffix, blended.astype(np.uint8))[1])


def _label(image: np.ndarray, text: str, at: np.ndarray) -> None:
    import cv2

    scale = max(min(image.shape[:2]) / 1100, 0.4)
    (w, h), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = int(np.clip(at[0] - w // 2, 0, max(image.shape[1] - w - 6, 0)))
    y = int(np.clip(at[1] - 6, h + 4, max(image.shape[0] - below - 4, h + 4)))
    cv2.rectangle(image, (x, y - h - 4), (x + w + 6, y + below + 2), (40, 40, 40), -1)
    cv2.putText(image, text, (x + 3, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
