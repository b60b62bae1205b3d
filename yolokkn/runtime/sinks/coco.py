"""COCO results: one JSON list, in its place only when it is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import SinkError
from yolokkn.runtime.sinks.base import Sink, check_new_file
from yolokkn.runtime.sinks.text import finite, masks_as_rle, open_line_file
from yolokkn.runtime.sources.images import IMAGE_SUFFIXES
from yolokkn.types import Detections, Frame


def image_id_of(frame: Frame) -> int:
    """Return the image id: the number that an image file's name is, else the frame's index."""
    name = Path(frame.source)
    if name.suffix.lower() in IMAGE_SUFFIXES and name.stem.isascii() and name.stem.isdigit():
        return int(name.stem)
    return frame.index


class CocoSink(Sink):
    """COCO results: image_id, category_id, bbox [x, y, w, h], score, segmentation (run lengths), keypoints.

    Rows go to `<name>.partial` beside the file, which takes the file's place at `close`; work that ends by an error
    leaves the older file alone and a valid list under the partial name.

    Args:
        path: The file.
        overwrite: Replace a file that is there.
        category_ids: Category id of each class id; None: the class id itself.
    """

    def __init__(
        self, path: Path, *, overwrite: bool, category_ids: Sequence[int] | Mapping[int, int] | None = None
    ) -> None:
        super().__init__(path)
        check_new_file(path, overwrite)
        self._categories = category_ids
        self._partial = path.with_name(path.name + ".partial")
        check_new_file(self._partial, overwrite)
        self._file = open_line_file(self._partial)
        self._separator = "[\n"

    def _category(self, class_id: int) -> int:
        if self._categories is None:
            return class_id
        try:
            return int(self._categories[class_id])
        except (KeyError, IndexError):
            raise SinkError(f"write: {self.path}: category_ids must name class {class_id}, got none") from None

    def _write(self, frame: Frame, result: Detections) -> None:
        codes = None if result.masks is None else masks_as_rle(result.masks)
        text = []
        for i in np.flatnonzero(np.isfinite(result.boxes).all(1) & np.isfinite(result.scores)):
            x1, y1, x2, y2 = (float(v) for v in result.boxes[i])
            row: dict[str, Any] = {
                "image_id": image_id_of(frame),
                "category_id": self._category(int(result.class_ids[i])),
                "bbox": finite([x1, y1, x2 - x1, y2 - y1], 3),
                "score": finite(result.scores[i], 5),
            }
            if codes is not None:
                row["segmentation"] = codes[i]
            if result.keypoints is not None:
                row["keypoints"] = finite(np.nan_to_num(result.keypoints[i]).ravel(), 3)
            text.append(self._separator + json.dumps(row, allow_nan=False, separators=(",", ":")))
            self._separator = ",\n"
        self._file.write("".join(text))

    def _finish(self, aborted: bool) -> None:
        try:
            self._file.write("\n]\n" if self._separator == ",\n" else "[]\n")
        finally:
            self._file.close(sync=True)
        if aborted:
            self.paths.append(self._partial)
            return
        os.replace(self._partial, self.path)
        self.paths.append(self.path)
