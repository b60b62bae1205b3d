"""Measures how fast mosaics are made from a warm cache: batches by workers, and CPU time of one mosaic.

Run: python benchmarks/bench_data.py [--data coco/] [--task detect] [--imgsz 640] [--batches 40] [--json FILE]

Without --data, pictures are drawn: 200 of 640x480 with 8 boxes (and polygons) each. The CPU time is that of one process
with one thread (time.process_time), which other programs on the machine change little; images/s they do.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from yolokkn.data import AugmentConfig, Dataset, build_loader, open_dataset

PLANS = {
    "scale and shift (default)": AugmentConfig(),
    "with rotation and shear": AugmentConfig(degrees=10, shear=2),
    "with mixup 0.15, copy-paste 0.3": AugmentConfig(mixup=0.15, copy_paste=0.3),
    "without mosaic": AugmentConfig(mosaic=0.0),
}


def draw_set(root: Path, count: int = 200) -> Path:
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    (root / "train").mkdir()
    images, rows = [], []
    for i in range(count):
        image = cv2.resize(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / "train" / f"{i}.jpg"), image)
        images.append({"id": i, "file_name": f"{i}.jpg", "height": 480, "width": 640})
        for _ in range(8):
            x, y, w, h = rng.uniform((0, 0, 20, 20), (400, 300, 200, 150)).round(1).tolist()
            angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack([x + w / 2 * (1 + np.cos(angle)), y + h / 2 * (1 + np.sin(angle))], 1).round(1)
            row = {"image_id": i, "category_id": 1, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
            rows.append({"id": len(rows), "segmentation": [ring.ravel().tolist()], **row})
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "thing"}]}
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return root


def measure(dataset: Dataset, config: AugmentConfig, kind: str, workers: int, args: argparse.Namespace) -> float:
    """Images a second of the second epoch; the first fills the cache."""
    loader = build_loader(
        dataset, batch_size=args.batch, imgsz=args.imgsz, augment=config, workers=workers, worker_kind=kind
    )
    for index in range(len(dataset)):
        loader.cache.load(index)
    rates = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        count, begin = 0, time.perf_counter()
        for number, batch in enumerate(loader):
            count += len(batch.images)
            if number + 1 == args.batches:
                break
        rates.append(count / (time.perf_counter() - begin))
    return max(rates)


def cpu_ms(dataset: Dataset, config: AugmentConfig, args: argparse.Namespace) -> float:
    """Milliseconds of CPU for one picture of a batch, in this process, one thread."""
    loader = build_loader(dataset, batch_size=args.batch, imgsz=args.imgsz, augment=config, workers=0)
    for index in range(len(dataset)):
        loader.cache.load(index)
    times, last = [], time.process_time()
    for number, batch in enumerate(loader):
        now = time.process_time()
        times.append((now - last) / len(batch.images) * 1e3)
        last = now
        if number + 1 == args.batches:
            break
    return float(np.median(times[1:] or times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a dataset; by default one is drawn")
    parser.add_argument("--task", default="detect", help="detect, segment, pose or segment-pose")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--batches", type=int, default=40, help="most batches of a measurement")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        where = args.data or draw_set(Path(folder) / "set")
        dataset = open_dataset(where, task=args.task)
        load = os.getloadavg()[0]
        print(f"{dataset.report.num_images} pictures, {args.task}, {args.imgsz}x{args.imgsz}, load {load:.1f}")
        results: dict[str, dict[str, float]] = {}
        for name, config in PLANS.items():
            if config.copy_paste and "segment" not in args.task:
                name, config = "with mixup 0.15", replace(config, copy_paste=0.0)
            figures = {"cpu ms an image": cpu_ms(dataset, config, args)}
            figures["images/s a core, by that"] = 1e3 / figures["cpu ms an image"]
            for kind in ("process", "thread"):
                figures[f"images/s, {args.workers} {kind}s"] = measure(dataset, config, kind, args.workers, args)
            results[name] = figures
            print(f"{name:34s} " + "  ".join(f"{key} {value:.1f}" for key, value in figures.items()))
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
