"""What the page shows of running streams; the streams themselves only leave their newest result here."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from yolokkn._version import __version__
from yolokkn.runtime.draw import DrawStyle, draw
from yolokkn.runtime.stream import StreamResult
from yolokkn.runtime.streams import Streams
from yolokkn.runtime.zone_watch import ZoneWatch
from yolokkn.types import Tracks

MOST_PICTURES_PER_S = 8.0  # of a stream, for all viewers together
CARD_WIDTH, FULL_WIDTH = 480, 960
_QUALITY = 80
_STYLE = DrawStyle(trail_length=0)


class Monitor:
    """Looks at streams for viewers: costs the streams nothing but keeping their newest result.

    Args:
        streams: What runs.
        watches: Zones of each stream, by name.
        model: Name of the model, to be shown.
    """

    def __init__(
        self, streams: Streams, watches: dict[str, ZoneWatch | None] | None = None, *, model: str = ""
    ) -> None:
        self._streams, self._watches, self._model = streams, {} if watches is None else watches, model
        self._latest: dict[str, tuple[int, StreamResult]] = {}
        self._pictures: dict[tuple[str, int], tuple[int, bytes]] = {}
        self._drawn_s: dict[tuple[str, int], float] = {}
        self.is_closed = False
        self._lock = threading.Lock()  # of drawing: one core at most is spent on viewers
        self._began_s = time.monotonic()

    def took(self, one: StreamResult) -> None:
        """Take note of a result; called by the streams."""
        number = self._latest.get(one.stream, (0, one))[0] + 1
        self._latest[one.stream] = (number, one)

    def overview(self) -> dict[str, Any]:
        """Return how all streams are doing, as plain values."""
        return {
            "version": __version__,
            "model": self._model,
            "up_s": round(time.monotonic() - self._began_s, 1),
            "streams": [self._row(name) for name in self._streams.streams],
        }

    def detail(self, name: str) -> dict[str, Any] | None:
        """Return all that is known of a stream as plain values; None: there is no such stream."""
        stream = self._streams.streams.get(name)
        if stream is None:
            return None
        return {
            **self._row(name),
            "ledger": stream.ledger.to_dict(),
            "tracks": self._tracks(name),
            "zones": self._zones(name),
        }

    def _row(self, name: str) -> dict[str, Any]:
        status = asdict(self._streams.streams[name].status())
        status["failed_sinks"] = list(status["failed_sinks"])
        number, one = self._latest.get(name, (0, None))
        status["newest"] = number
        status["hw"] = None if one is None else list(one.frame.hw)
        status["num_objects"] = 0 if one is None else _num_objects(one)
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in status.items()}

    def _tracks(self, name: str) -> list[dict[str, Any]]:
        found = self._latest.get(name)
        if found is None:
            return []
        result = found[1].result
        ids = result.track_ids.tolist() if isinstance(result, Tracks) else [None] * len(result)
        return [
            {
                "track_id": track_id,
                "class_name": result.class_name(int(class_id)),
                "score": _finite(score, 4),
                "box": [_finite(value, 1) for value in box],
            }
            for track_id, class_id, score, box in zip(
                ids, result.class_ids.tolist(), result.scores.tolist(), result.boxes.tolist(), strict=True
            )
        ]

    def _zones(self, name: str) -> dict[str, Any]:
        watch = self._watches.get(name)
        if watch is None:
            return {}
        return {place: asdict(counts) for place, counts in watch.counter.counts.items()}

    def names(self) -> list[str]:
        """Return the streams' names."""
        return list(self._streams.streams)

    def healths(self) -> dict[str, str]:
        """Return each stream's state."""
        return {status.name: status.state for status in self._streams.status()}

    def newest(self, name: str) -> int:
        """Return the number of a stream's newest result; 0 before the first."""
        return self._latest.get(name, (0, None))[0]

    def close(self) -> None:
        """Let what viewers wait for end."""
        self.is_closed = True

    def picture(self, name: str, width: int = FULL_WIDTH) -> tuple[int, bytes] | None:
        """Return the number and JPEG of a stream's newest result, drawn; None before the first.

        However many ask, a stream is drawn MOST_PICTURES_PER_S times a second at most in each width.

        Args:
            name: The stream.
            width: CARD_WIDTH or FULL_WIDTH, in pixels; smaller frames stay as they are.
        """
        key = (name, width)
        with self._lock:
            latest, kept = self._latest.get(name), self._pictures.get(key)
            if latest is None:
                return None
            is_young = time.monotonic() - self._drawn_s.get(key, -math.inf) < 1 / MOST_PICTURES_PER_S
            if kept is not None and (kept[0] == latest[0] or is_young):
                return kept
            self._drawn_s[key] = time.monotonic()
            self._pictures[key] = made = (latest[0], self._jpeg(name, latest[1], width))
            return made

    def _jpeg(self, name: str, one: StreamResult, width: int) -> bytes:
        import cv2

        image = draw(one.frame.image, one.result, style=_STYLE)
        if (watch := self._watches.get(name)) is not None:
            watch.draw(image)
        h, w = image.shape[:2]
        if w > width:
            image = np.asarray(cv2.resize(image, (width, max(round(h * width / w), 1)), interpolation=cv2.INTER_AREA))
        return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])


def _num_objects(one: StreamResult) -> int:
    result = one.result
    return int((result.track_ids >= 0).sum()) if isinstance(result, Tracks) else len(result)


def _finite(value: float, decimals: int) -> float | None:
    return round(value, decimals) if math.isfinite(value) else None
