"""The letterbox as it is written with OpenCV: one thread, buffers allocated beforehand where the way allows it.

"kept": the padding stays in the buffer from the call before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "opencv"
PAD = 114

Run = Callable[[Mapping[str, np.ndarray]], Any]


def OUTPUT(result: Any, value: Any, facts: Any) -> dict[str, np.ndarray]:
    return {"blob": np.asarray(result)}


class Place:
    """Where the frame lies in the input, and the buffers."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        import cv2

        cv2.setNumThreads(1)
        self.cv2 = cv2
        self.input_hw, resized = tuple(facts["input_hw"]), tuple(facts["resized_hw"])
        self.scale, self.swap_rb = facts["scale"], facts["swap_rb"]
        self.size = resized[::-1]
        self.top, self.left = facts["pad_top"], facts["pad_left"]
        self.rows, self.cols = slice(self.top, self.top + resized[0]), slice(self.left, self.left + resized[1])
        self.blob = np.full((3, *self.input_hw), PAD * self.scale, np.float32)
        self.content = np.empty((*resized, 3), np.uint8)

    def resize(self, image: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
        return self.cv2.resize(image, self.size, dst=target, interpolation=self.cv2.INTER_LINEAR)

    def plane(self, channel: int) -> np.ndarray:
        return self.blob[2 - channel if self.swap_rb else channel, self.rows, self.cols]

    def bordered(self, resized: np.ndarray) -> np.ndarray:
        bottom, right = self.input_hw[0] - self.rows.stop, self.input_hw[1] - self.cols.stop
        edges = self.top, bottom, self.left, right
        return self.cv2.copyMakeBorder(resized, *edges, self.cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD))


def canvas_blob(facts: Mapping[str, Any]) -> Run:
    at = Place(facts)
    canvas = np.full((*at.input_hw, 3), PAD, np.uint8)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        at.resize(value["image"], canvas[at.rows, at.cols])
        return at.cv2.dnn.blobFromImage(canvas, at.scale, swapRB=at.swap_rb)[0]

    return run


def split_multiply(facts: Mapping[str, Any]) -> Run:
    at = Place(facts)
    planes = [np.empty(at.size[::-1], np.uint8) for _ in range(3)]

    def run(value: Mapping[str, np.ndarray]) -> Any:
        at.cv2.split(at.resize(value["image"], at.content), planes)
        for channel, plane in enumerate(planes):
            np.multiply(plane, np.float32(at.scale), out=at.plane(channel), dtype=np.float32)
        return at.blob

    return run


def split_table(facts: Mapping[str, Any]) -> Run:
    at = Place(facts)
    planes = [np.empty(at.size[::-1], np.uint8) for _ in range(3)]
    table = (np.arange(256) * at.scale).astype(np.float32)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        at.cv2.split(at.resize(value["image"], at.content), planes)
        for channel, plane in enumerate(planes):
            at.cv2.LUT(plane, table, dst=at.plane(channel))
        return at.blob

    return run


def float_split(facts: Mapping[str, Any]) -> Run:
    at = Place(facts)
    as_float = np.empty(at.content.shape, np.float32)
    views = [at.plane(channel) for channel in range(3)]

    def run(value: Mapping[str, np.ndarray]) -> Any:
        at.resize(value["image"], at.content)
        np.multiply(at.content, np.float32(at.scale), out=as_float, dtype=np.float32)
        at.cv2.split(as_float, views)
        return at.blob

    return run


def padded(way: Callable[[Mapping[str, Any]], Run]) -> Callable[[Mapping[str, Any]], Run]:
    """A way that keeps its padding, made to write it on every call too."""

    def make(facts: Mapping[str, Any]) -> Run:
        run, at, pad = way(facts), Place(facts), np.float32(PAD * facts["scale"])

        def write_all(value: Mapping[str, np.ndarray]) -> Any:
            planes = run(value)
            planes[:, : at.rows.start] = pad
            planes[:, at.rows.stop :] = pad
            planes[:, at.rows, : at.cols.start] = pad
            planes[:, at.rows, at.cols.stop :] = pad
            return planes

        return write_all

    return make


def blob_from_image(facts: Mapping[str, Any]) -> Run:
    at = Place(facts)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        bordered = at.bordered(at.resize(value["image"]))
        return at.cv2.dnn.blobFromImage(bordered, at.scale, swapRB=at.swap_rb)[0]

    return run


def composed(facts: Mapping[str, Any]) -> Run:
    """The usual composition: resize, copyMakeBorder, transpose, contiguous copy, float, divide."""
    at = Place(facts)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        bordered = at.bordered(at.resize(value["image"]))
        planes = (bordered[..., ::-1] if at.swap_rb else bordered).transpose(2, 0, 1)
        blob = np.ascontiguousarray(planes).astype(np.float32)
        return blob if at.scale == 1 else np.divide(blob, np.float32(255), out=blob)

    return run


ALL_WAYS = {
    False: {
        "canvas + blobFromImage": canvas_blob,
        "split + multiply": padded(split_multiply),
        "split + LUT": padded(split_table),
        "border + blobFromImage": blob_from_image,
        "resize, border, numpy": composed,
    },
    True: {
        "split + multiply": split_multiply,
        "split + LUT": split_table,
        "float + split": float_split,
    },
}
WAYS = {
    f"{name}{', kept' if kept else ''}": (
        lambda facts, make=make, kept=kept: make(facts) if facts["kept"] == kept else _other(kept)
    )
    for kept, ways in ALL_WAYS.items()
    for name, make in ways.items()
}


def _other(kept: bool) -> Run:
    raise ValueError(f"for the cases whose padding is {'kept' if kept else 'written anew'}")
