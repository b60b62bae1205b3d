"""Times the letterbox against what a user would write with OpenCV: one thread, interleaved rounds, medians.

Run: python benchmarks/bench_letterbox.py [--rounds 101] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from yolokkn import ops
from yolokkn.geometry import Letterbox, LetterboxRule

PAD = 114
TOLERANCE = 1.05  # OpenCV rounds its pixels to 8 bits, with weights of 11 bits


@dataclass(frozen=True)
class Case:
    name: str
    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    rule: LetterboxRule
    swap_rb: bool
    scale: float


CASES = (
    Case("1080p -> 640 RGB 0-1", (1080, 1920), (640, 640), "letterbox", True, 1 / 255),
    Case("720p -> 640 RGB 0-1", (720, 1280), (640, 640), "letterbox", True, 1 / 255),
    Case("768x576 -> 416 top-left BGR 0-255", (576, 768), (416, 416), "topleft", False, 1.0),
    Case("1440p -> 640 RGB 0-1", (1440, 2560), (640, 640), "letterbox", True, 1 / 255),
    Case("500x427 -> 640 RGB 0-1 (upscale)", (427, 500), (640, 640), "letterbox", True, 1 / 255),
)

Run = Callable[[np.ndarray], np.ndarray]


class Peers:
    """Every way of one case, with its buffers allocated beforehand where the way allows it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.geometry = g = Letterbox.fit(case.image_hw, case.input_hw, case.rule)
        self.size = g.resized_hw[::-1]
        self.rows = slice(g.pad_top, g.pad_top + g.resized_hw[0])
        self.cols = slice(g.pad_left, g.pad_left + g.resized_hw[1])
        self.canvas = np.full((*case.input_hw, 3), PAD, np.uint8)
        self.content = np.empty((*g.resized_hw, 3), np.uint8)
        self.planes = [np.empty(g.resized_hw, np.uint8) for _ in range(3)]
        self.float_content = np.empty((*g.resized_hw, 3), np.float32)
        self.table = (np.arange(256) * case.scale).astype(np.float32)

    def blob(self) -> np.ndarray:
        return np.full((1, 3, *self.case.input_hw), PAD * self.case.scale, np.float32)

    def order(self, channel: int) -> int:
        return 2 - channel if self.case.swap_rb else channel

    def yolokkn(self, keep_padding: bool) -> Run:
        blob, scale, swap_rb, geometry = self.blob(), (self.case.scale,) * 3, self.case.swap_rb, self.geometry

        def run(image: np.ndarray) -> np.ndarray:
            return ops.letterbox(image, geometry, swap_rb=swap_rb, scale=scale, out=blob[0], keep_padding=keep_padding)

        return run

    def cv2_canvas_blob(self) -> Run:
        def run(image: np.ndarray) -> np.ndarray:
            cv2.resize(image, self.size, dst=self.canvas[self.rows, self.cols], interpolation=cv2.INTER_LINEAR)
            return cv2.dnn.blobFromImage(self.canvas, self.case.scale, swapRB=self.case.swap_rb)[0]

        return run

    def cv2_split_multiply(self) -> Run:
        blob = self.blob()

        def run(image: np.ndarray) -> np.ndarray:
            cv2.resize(image, self.size, dst=self.content, interpolation=cv2.INTER_LINEAR)
            cv2.split(self.content, self.planes)
            for channel, plane in enumerate(self.planes):
                to = blob[0, self.order(channel), self.rows, self.cols]
                np.multiply(plane, np.float32(self.case.scale), out=to, dtype=np.float32)
            return blob[0]

        return run

    def cv2_split_table(self) -> Run:
        blob = self.blob()

        def run(image: np.ndarray) -> np.ndarray:
            cv2.resize(image, self.size, dst=self.content, interpolation=cv2.INTER_LINEAR)
            cv2.split(self.content, self.planes)
            for channel, plane in enumerate(self.planes):
                cv2.LUT(plane, self.table, dst=blob[0, self.order(channel), self.rows, self.cols])
            return blob[0]

        return run

    def cv2_float_split(self) -> Run:
        blob = self.blob()
        views = [blob[0, self.order(channel), self.rows, self.cols] for channel in range(3)]

        def run(image: np.ndarray) -> np.ndarray:
            cv2.resize(image, self.size, dst=self.content, interpolation=cv2.INTER_LINEAR)
            np.multiply(self.content, np.float32(self.case.scale), out=self.float_content, dtype=np.float32)
            cv2.split(self.float_content, views)
            return blob[0]

        return run

    def padded(self, way: Callable[[], Run]) -> Run:
        """A way that keeps its padding, made to write it on every call too."""
        run, value = way(), np.float32(PAD * self.case.scale)

        def write_all(image: np.ndarray) -> np.ndarray:
            planes = run(image)
            planes[:, : self.rows.start] = value
            planes[:, self.rows.stop :] = value
            planes[:, self.rows, : self.cols.start] = value
            planes[:, self.rows, self.cols.stop :] = value
            return planes

        return write_all

    def cv2_blob_from_image(self) -> Run:
        def run(image: np.ndarray) -> np.ndarray:
            resized = cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR)
            bordered = self.bordered(resized)
            return cv2.dnn.blobFromImage(bordered, self.case.scale, swapRB=self.case.swap_rb)[0]

        return run

    def composed(self) -> Run:
        """The usual composition: resize, copyMakeBorder, transpose, contiguous copy, float, divide."""

        def run(image: np.ndarray) -> np.ndarray:
            bordered = self.bordered(cv2.resize(image, self.size, interpolation=cv2.INTER_LINEAR))
            planes = (bordered[..., ::-1] if self.case.swap_rb else bordered).transpose(2, 0, 1)
            blob = np.ascontiguousarray(planes).astype(np.float32)
            return blob if self.case.scale == 1 else np.divide(blob, np.float32(255), out=blob)

        return run

    def bordered(self, resized: np.ndarray) -> np.ndarray:
        (in_h, in_w), g = self.case.input_hw, self.geometry
        bottom, right = in_h - self.rows.stop, in_w - self.cols.stop
        return cv2.copyMakeBorder(
            resized, g.pad_top, bottom, g.pad_left, right, cv2.BORDER_CONSTANT, value=(PAD, PAD, PAD)
        )

    def ways(self) -> dict[str, Run]:
        return {
            "yolokkn": self.yolokkn(False),
            "yolokkn, kept": self.yolokkn(True),
            "cv2 canvas + blobFromImage": self.cv2_canvas_blob(),
            "cv2 split + multiply, kept": self.cv2_split_multiply(),
            "cv2 split + LUT, kept": self.cv2_split_table(),
            "cv2 float + split, kept": self.cv2_float_split(),
            "cv2 split + multiply": self.padded(self.cv2_split_multiply),
            "cv2 split + LUT": self.padded(self.cv2_split_table),
            "cv2 blobFromImage": self.cv2_blob_from_image(),
            "resize, border, numpy": self.composed(),
        }


def check(case: Case, ways: dict[str, Run], image: np.ndarray) -> None:
    for name, run in ways.items():
        error = float(np.abs(run(image) - ways["yolokkn"](image)).max()) / case.scale
        if error > TOLERANCE:
            raise SystemExit(f"bench_letterbox: {name} differs from yolokkn by {error:.2f} of 255 in {case.name}")


def measure(case: Case, rounds: int) -> dict[str, tuple[float, float]]:
    """Median milliseconds of each way, cold and warm, after a check that all agree.

    Images alternate and ways take turns in random order. Cold: the first call of a turn, after the others have filled
    the caches, as a network does between two frames. Warm: the third call of the turn.
    """
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*case.image_hw, 3), dtype=np.uint8) for _ in range(3)]
    ways = Peers(case).ways()
    check(case, ways, images[0])
    times: dict[str, list[list[float]]] = {name: [] for name in ways}
    for index in range(rounds):
        for name in rng.permutation(list(ways)).tolist():
            calls = []
            for _ in range(3):
                begin = time.perf_counter()
                ways[name](images[index % 3])
                calls.append((time.perf_counter() - begin) * 1e3)
            times[name].append([calls[0], calls[2]])
    medians = {name: np.median(values, axis=0) for name, values in times.items()}
    return {name: (float(cold), float(warm)) for name, (cold, warm) in medians.items()}


def ratios(figures: dict[str, tuple[float, float]], kept: bool) -> tuple[float, float]:
    """How many times faster than the best peer, cold and warm, among the ways that keep their padding or write it."""
    own = figures["yolokkn, kept" if kept else "yolokkn"]
    peers = [ms for name, ms in figures.items() if "yolokkn" not in name and name.endswith(", kept") == kept]
    return min(ms[0] for ms in peers) / own[0], min(ms[1] for ms in peers) / own[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=101, help="repeats of each way")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print(
        f"instruction set {ops.instruction_set()}, OpenCV {cv2.__version__}, one thread, medians of {arguments.rounds}"
    )
    print("(kept: the padding stays in the buffer from the call before)")
    results = {}
    for case in CASES:
        figures = measure(case, arguments.rounds)
        full, kept = ratios(figures, False), ratios(figures, True)
        results[case.name] = {"cold_warm_ms": figures, "times_best_peer": full, "times_best_peer_kept": kept}
        print(f"\n{case.name:36s}  cold ms  warm ms")
        for name, (cold, warm) in sorted(figures.items(), key=lambda item: item[1][1]):
            print(f"  {name:34s} {cold:8.3f} {warm:8.3f}")
        print(f"  {'times the best peer':34s} {full[0]:8.2f} {full[1]:8.2f}")
        print(f"  {'times the best peer, kept':34s} {kept[0]:8.2f} {kept[1]:8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
