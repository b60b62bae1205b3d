"""What the layouts of an export cost, and whether they give the network's detections: one checkpoint, many pictures.

    python benchmarks/bench_layouts.py best.safetensors --images coco/val2017 --imgsz 384 --half

Layouts take turns on each picture; ratios are medians of pairs against `decoded`, on one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

import yolokkn
from yolokkn.deploy import build_onnx, load_network, network_model, to_half
from yolokkn.layouts import EXPORT_LAYOUTS
from yolokkn.models.deployable import Deployable
from yolokkn.types import Detections


def layouts_of(network: object) -> list[str]:
    """The layouts that a network can be written in."""
    found = []
    for layout in EXPORT_LAYOUTS:
        try:
            Deployable(network, layout=layout)
        except ValueError:
            continue
        found.append(layout)
    return found


def distances(found: Detections, wanted: Detections) -> tuple[np.ndarray, bool]:
    """Pixels from each wanted box to the nearest found one of its class, and whether classes and order agree."""
    if not len(found) or not len(wanted):
        return np.full(len(wanted), np.inf), len(found) == len(wanted)
    apart = np.abs(found.boxes[None] - wanted.boxes[:, None]).max(2)
    apart[wanted.class_ids[:, None] != found.class_ids[None]] = np.inf
    in_order = len(found) == len(wanted) and bool((apart.argmin(1) == np.arange(len(wanted))).all())
    return apart.min(1), in_order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder of .jpg")
    parser.add_argument("--imgsz", type=int, default=384)
    parser.add_argument("--limit", type=int, default=1000, help="pictures at most")
    parser.add_argument("--half", action="store_true", help="the graphs that compute in float16 as well")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, _ = load_network(args.checkpoint)
    size = (args.imgsz, args.imgsz)
    pictures = [cv2.imread(str(path)) for path in sorted(args.images.glob("*.jpg"))[: args.limit]]
    models = {"network": network_model(network, imgsz=size)}
    for layout in layouts_of(network):
        content = build_onnx(network, imgsz=size, layout=layout)[0]
        models[layout] = yolokkn.load(content, threads=1)
        if args.half:
            models[f"{layout} fp16"] = yolokkn.load(to_half(content), threads=1)
    names = [name for name in models if name != "network"]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    apart: dict[str, list[np.ndarray]] = {name: [] for name in names}
    reordered = dict.fromkeys(names, 0)
    for number, picture in enumerate(pictures):
        wanted = models["network"](picture)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.perf_counter()
            found = models[name](picture)
            seconds[name].append(time.perf_counter() - start)
            away, in_order = distances(found, wanted)
            apart[name].append(away)
            reordered[name] += not in_order
    base = np.array(seconds["decoded"])
    print(f"{len(pictures)} pictures, {sum(map(len, apart['decoded']))} detections at score 0.25")
    print("| layout | time, of decoded | boxes off by px: p99 | most | over 0.5 | pictures of another order |")
    print("|---|---|---|---|---|---|")
    for name in names:
        away = np.concatenate(apart[name])
        ratio = np.median(np.array(seconds[name]) / base)
        print(
            f"| {name} | {ratio:.3f} | {np.percentile(away, 99):.4f} | {away.max():.4f} | {(away > 0.5).sum()} "
            f"| {reordered[name]} |"
        )


if __name__ == "__main__":
    main()
