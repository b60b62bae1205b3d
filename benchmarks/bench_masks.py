"""Times the mask doors beside what users would pick instead: interleaved repeats, medians, one thread.

Scenes: boxes whose side is log-normal (median 0.12 of the root of the frame's area, sigma 0.7: many small and few large
objects, as COCO has them), 32 prototypes of smooth noise at 160x160 for a 640x640 input, coefficients fitted so that
each box holds one blob that fills about two thirds of it: 2 to 3 % of the frame are set per mask.

    python benchmarks/bench_masks.py [--repeats 30] [--json FILE]

Pools that start with a library are held to one thread by the environment: it says which variables to set.

Peers that are not installed are left out; `pip install -r benchmarks/peers/requirements-masks.txt` gets them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mask_peers
import numpy as np

from yolokkn import ops
from yolokkn.geometry import Letterbox
from yolokkn.types import Masks

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "EDGEFIRST_DISABLE_GL")
FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920)}


class Scene(NamedTuple):
    coeffs: np.ndarray
    prototypes: np.ndarray
    boxes: np.ndarray
    geometry: Letterbox


def smooth_prototypes(rng: np.random.Generator) -> np.ndarray:
    """(32, 160, 160) noise, from fine to coarse."""
    planes = []
    for sigma in np.geomspace(3, 40, 32):
        plane = cv2.GaussianBlur(rng.normal(size=(160, 160)), (0, 0), float(sigma), borderType=cv2.BORDER_REFLECT)
        planes.append(plane / plane.std())
    return np.array(planes, np.float32)


def fit_blob(prototypes: np.ndarray, region: tuple[slice, slice], rng: np.random.Generator) -> np.ndarray:
    """Coefficients (32,) whose logits over the region come near an ellipse."""
    planes = prototypes[:, region[0], region[1]]
    h, w = planes.shape[1:]
    y, x = np.mgrid[0:h, 0:w]
    radius = np.hypot((x - (w - 1) / 2) / (w / 2), (y - (h - 1) / 2) / (h / 2))
    target = np.clip(3 * (0.93 + 0.05 * rng.normal() - radius), -1, 1).ravel()
    matrix = planes.reshape(32, -1).T.astype(np.float64)
    fitted = np.linalg.solve(matrix.T @ matrix + 0.01 * len(target) * np.eye(32) + 1e-3, matrix.T @ target)
    return (6 * fitted).astype(np.float32)


def make_scene(count: int, frame_hw: tuple[int, int], seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    h, w = frame_hw
    geometry = Letterbox.fit(frame_hw, (640, 640))
    prototypes = smooth_prototypes(rng)
    side = np.clip(rng.lognormal(np.log(0.12), 0.7, count), 0.01, 0.7) * np.sqrt(h * w)
    aspect = rng.lognormal(0, 0.4, count)
    size = np.minimum(np.stack([side * aspect, side / aspect], 1), [w, h])
    corner = rng.uniform(0, 1, (count, 2)) * ([w, h] - size)
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    coeffs = []
    for box in geometry.to_input(boxes) / 4:
        x1, y1 = np.clip(np.floor(box[:2]).astype(int), 0, 158)
        x2, y2 = np.clip(np.ceil(box[2:]).astype(int), [x1 + 2, y1 + 2], 160)
        coeffs.append(fit_blob(prototypes, (slice(y1, y2), slice(x1, x2)), rng))
    return Scene(np.array(coeffs, np.float32).reshape(-1, 32), prototypes, boxes, geometry)


def interleaved(candidates: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each, "median" and "quickest" (which a busy machine inflates less).

    A slow candidate gets fewer repeats. Before each timed call goes one that is not, so that none has
    to clean up the caches after the one before it.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for repeat in range(repeats):
        for name, call in candidates.items():
            if repeat >= 3 and sum(times[name]) > 3.0:
                continue
            if repeat == 0 or times[name][0] < 0.1:
                call()
            begin = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begin)
    return {
        "median": {name: 1000 * statistics.median(values) for name, values in times.items()},
        "quickest": {name: 1000 * min(values) for name, values in times.items()},
    }


def compare(name: str, got: np.ndarray, want: np.ndarray) -> None:
    """Refuse to time a peer whose masks are others: mean IoU to the reference below 0.99."""
    union = np.logical_or(got, want).sum((1, 2))
    iou = np.where(union > 0, np.logical_and(got, want).sum((1, 2)) / np.maximum(union, 1), 1.0)
    if iou.size and iou.mean() < 0.99:
        raise SystemExit(f"{name}: masks differ from the reference, mean IoU {iou.mean():.4f}")


def assemble_candidates(scene: Scene, masks: Masks, full: np.ndarray) -> dict[str, Callable[[], Any]]:
    candidates: dict[str, Callable[[], Any]] = {"yolokkn": lambda: ops.assemble_masks(*scene)}
    for name, peer in mask_peers.assemblers().items():
        painted = mask_peers.painted(peer(*scene), scene.boxes, masks.crops, full.shape)
        compare(name, painted, full)
        candidates[name] = lambda peer=peer: peer(*scene)
    return candidates


def rle_candidates(masks: Masks, full: np.ndarray) -> dict[str, Callable[[], Any]]:
    want = ops.encode_rle(masks)
    candidates: dict[str, Callable[[], Any]] = {"yolokkn": lambda: ops.encode_rle(masks)}
    for name, peer in mask_peers.encoders().items():
        got = peer(full)
        if name.startswith("pycocotools") and got != want:
            raise SystemExit(f"{name}: run lengths differ")
        candidates[name] = lambda peer=peer: peer(full)
    return candidates


def polygon_candidates(masks: Masks) -> dict[str, Callable[[], Any]]:
    want = [sum(len(c) for c in contours) for contours in ops.mask_polygons(masks)]
    got = [sum(len(c) for c in contours) for contours in mask_peers.contours_of_crops(masks)]
    if got != want:
        raise SystemExit("cv2.findContours: contours differ")
    return {
        "yolokkn": lambda: ops.mask_polygons(masks),
        "cv2.findContours on crops": lambda: mask_peers.contours_of_crops(masks),
    }


def other_candidates(masks: Masks, full: np.ndarray) -> dict[str, dict[str, Callable[[], Any]]]:
    rles = ops.encode_rle(masks)
    decode: dict[str, Callable[[], Any]] = {"yolokkn": lambda: ops.decode_rle(rles)}
    for name, peer in mask_peers.decoders().items():
        decode[name] = lambda peer=peer: peer(rles)
    out = np.empty_like(full)
    paint: dict[str, Callable[[], Any]] = {
        "yolokkn": lambda: ops.paint_masks(masks, out),
        "numpy": lambda: ops.reference.paint_masks(masks, out),
    }
    return {"decode": decode, "paint": paint}


def report(case: dict[str, Any]) -> None:
    """Print a table: milliseconds, and how many times ours, by the median and by the quickest call."""
    median, quickest = case["ms"]["median"], case["ms"]["quickest"]
    best = min((name for name in median if name != "yolokkn"), key=lambda name: median[name], default=None)
    print(f"\n{case['stage']}, N = {case['count']}, {case['frame']}, {100 * case['set']:.1f} % set per mask")
    print(f"  {'':44s} {'median':>12s} {'x':>8s} {'quickest':>12s} {'x':>8s}")
    for name in sorted(median, key=lambda name: median[name]):
        cells = "".join(f" {ms[name]:9.3f} ms {ms[name] / ms['yolokkn']:8.2f}" for ms in (median, quickest))
        print(f"  {name:44s}{cells}" + ("  best peer" if name == best else ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 50, 100])
    parser.add_argument("--stages", nargs="+", default=["assemble", "rle", "polygons", "decode", "paint"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    missing = [name for name in ONE_THREAD if os.environ.get(name) != "1"]
    if missing:
        raise SystemExit(f"bench_masks: one thread must be asked for, set {'=1 '.join(missing)}=1")
    cv2.setNumThreads(1)
    cases = []
    for frame, frame_hw in FRAMES.items():
        for count in args.counts:
            scene = make_scene(count, frame_hw, seed=count)
            masks = ops.assemble_masks(*scene)
            full = ops.paint_masks(masks)
            stages = {
                "assemble": lambda s=scene, m=masks, f=full: assemble_candidates(s, m, f),
                "rle": lambda m=masks, f=full: rle_candidates(m, f),
                "polygons": lambda m=masks: polygon_candidates(m),
                "decode": lambda m=masks, f=full: other_candidates(m, f)["decode"],
                "paint": lambda m=masks, f=full: other_candidates(m, f)["paint"],
            }
            for stage in args.stages:
                times = interleaved(stages[stage](), args.repeats)
                cases.append({"stage": stage, "count": count, "frame": frame, "set": float(full.mean()), "ms": times})
                report(cases[-1])
    if args.json:
        args.json.write_text(json.dumps({"isa": ops.instruction_set(), "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
