"""Results as lines of text: JSON lines, CSV and MOTChallenge. Each frame is on the disk before the next one comes."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SinkError
from yolokkn.runtime.sinks.base import Sink, check_new_file
from yolokkn.runtime.sinks.outbox import open_outbox
from yolokkn.runtime.uri import without_credentials
from yolokkn.types import Detections, Frame, Masks, Tracks


class LineFile:
    """A text file that holds only whole pieces: one that the disk cannot take is cut off again."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=0)
        self._size = 0

    def write(self, text: str) -> None:
        """Append a piece.

        Raises:
            OSError: The disk does not take it; the file ends as before.
        """
        data = memoryview(text.encode("utf-8"))
        done = 0
        try:
            while done < len(data):
                done += self._file.write(data[done:]) or 0
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(data)

    def close(self, sync: bool = False) -> None:
        """Close the file; `sync`: once its bytes are on the disk."""
        try:
            if sync:
                os.fsync(self._file.fileno())
        finally:
            self._file.close()


def open_line_file(path: Path) -> LineFile:
    """Open a new file of lines.

    Raises:
        SinkError: It cannot be opened.
    """
    try:
        return LineFile(path)
    except OSError as error:
        raise SinkError(f"open_sink: {path} cannot be written: {error.strerror}") from error


class LineSink(Sink):
    """Base of the sinks whose frames become lines."""

    header = ""

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        super().__init__(path)
        check_new_file(path, overwrite)
        self._file = open_line_file(path)
        self.paths.append(path)
        if self.header:
            self._file.write(self.header)

    def _lines(self, frame: Frame, result: Detections) -> str:
        raise NotImplementedError

    def _write(self, frame: Frame, result: Detections) -> None:
        text = self._lines(frame, result)
        if text:
            self._file.write(text)

    def _finish(self, aborted: bool) -> None:
        self._file.close()


def finite(values: Any, decimals: int) -> Any:
    """Turn numbers into rounded lists that JSON can hold; NaN and infinity become None.

    Example:
        >>> finite(np.array([[1.23456, np.nan]]), 2)
        [[1.23, None]]
    """
    array = np.asarray(values, np.float64)
    rounded = np.round(array, decimals)
    if np.isfinite(rounded).all():
        return rounded.tolist()
    boxed: np.ndarray = rounded.astype(object)
    boxed[~np.isfinite(rounded)] = None
    return boxed.tolist()


def masks_as_rle(masks: Masks) -> list[dict[str, Any]]:
    """Encode masks as COCO run lengths, `counts` as text."""
    from yolokkn import ops

    encode = getattr(ops, "encode_rle", None)
    if encode is None:
        raise SinkError("write: this build has no encode_rle; masks cannot be written")
    codes = []
    for rle in encode(masks):
        counts = rle["counts"]
        text = counts.decode("ascii") if isinstance(counts, bytes) else counts
        codes.append({"size": [int(side) for side in rle["size"]], "counts": text})
    return codes


class JsonlSink(LineSink):
    """One JSON object a frame and line: frame, timestamp_s, source, hw, boxes, scores, class_ids, class_names.

    Tracks add track_ids (-1: unconfirmed), and carried where no network saw the frame (`--detect-every`); models with
    keypoints or masks add keypoints or masks (COCO run lengths);
    timing_ms is there where it was measured. Rows of all lists belong together.
    """

    def _lines(self, frame: Frame, result: Detections) -> str:
        return json_row(frame, result)


def json_row(frame: Frame, result: Detections) -> str:
    """Return a frame's line of `JsonlSink`."""
    row: dict[str, Any] = {
        "frame": frame.index,
        "timestamp_s": finite(frame.timestamp_s, 6),
        "source": frame.source,
        "hw": list(frame.hw),
        "boxes": finite(result.boxes, 2),
        "scores": finite(result.scores, 4),
        "class_ids": result.class_ids.tolist(),
        "class_names": [result.class_name(int(c)) for c in result.class_ids],
    }
    if isinstance(result, Tracks):
        row["track_ids"] = result.track_ids.tolist()
        if result.carried:
            row["carried"] = True
    if result.keypoints is not None:
        row["keypoints"] = finite(result.keypoints, 2)
    if result.masks is not None:
        row["masks"] = masks_as_rle(result.masks)
    if result.timing_ms:
        row["timing_ms"] = {name: finite(ms, 3) for name, ms in result.timing_ms.items()}
    return json.dumps(row, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"


class MessageSink(Sink):
    """The lines of `JsonlSink`, sent to an MQTT broker or a web address; see `open_outbox`."""

    def __init__(self, uri: str) -> None:
        super().__init__(Path(without_credentials(uri)))
        self.outbox = open_outbox(uri)

    def _write(self, frame: Frame, result: Detections) -> None:
        self.outbox.write(json_row(frame, result))

    def _finish(self, aborted: bool) -> None:
        self.outbox.close()


class MotSink(LineSink):
    """MOTChallenge rows `frame,id,left,top,width,height,confidence,-1,-1,-1`, frames from 1.

    Of tracks those that are confirmed; detections have the id -1, as in det.txt.
    """

    def _lines(self, frame: Frame, result: Detections) -> str:
        ids: list[int] = result.track_ids.tolist() if isinstance(result, Tracks) else [-1] * len(result)
        rows = []
        for box, score, track_id in zip(result.boxes, result.scores, ids, strict=True):
            if (track_id >= 0 or not isinstance(result, Tracks)) and np.isfinite(box).all() and np.isfinite(score):
                x1, y1, x2, y2 = (float(v) for v in box)
                place = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
                rows.append(f"{frame.index + 1},{track_id},{place},{float(score):.4f},-1,-1,-1\n")
        return "".join(rows)


class CsvSink(LineSink):
    """One row a detection, under a header; track_id is empty where there is none, carried 1 where no network saw the frame."""

    header = "frame,timestamp_s,source,track_id,class_id,class_name,score,x1,y1,x2,y2,carried\n"

    def _lines(self, frame: Frame, result: Detections) -> str:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        ids = result.track_ids.tolist() if isinstance(result, Tracks) else [-1] * len(result)
        carried = int(isinstance(result, Tracks) and result.carried)
        for i, track_id in enumerate(ids):
            class_id = int(result.class_ids[i])
            about = (frame.index, finite(frame.timestamp_s, 6), frame.source, track_id if track_id >= 0 else "")
            seen = (class_id, result.class_name(class_id), finite(result.scores[i], 4), *finite(result.boxes[i], 2))
            rows.writerow((*about, *seen, carried))
        return text.getvalue()
