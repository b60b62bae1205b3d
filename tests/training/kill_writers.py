"""Started by test_kills.py in a process of its own: forks writers, kills each at a random moment, and looks at what they left.

Usage: python -m tests.training.kill_writers FOLDER COUNT
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import torch

from yolokkn.data.cache import PictureCache
from yolokkn.data.datasets import open_dataset
from yolokkn.evaluation.coco import read_results, write_results
from yolokkn.training.checkpoint import load_checkpoint, save_checkpoint

SIZE = 25_000  # numbers in a tensor


def write_checkpoint(folder: Path, version: int) -> None:
    tensors = {f"model/{i}": torch.full((SIZE,), float(version)) for i in range(4)}
    save_checkpoint(folder / "last.safetensors", tensors, {"version": version})


def check_checkpoint(folder: Path) -> int:
    found = load_checkpoint(folder / "last.safetensors")
    values = {float(v) for tensor in found.tensors.values() for v in tensor.unique()}
    if values != {float(found.manifest["version"])} or len(found.tensors) != 4:
        raise RuntimeError(f"mixed versions: {values}, {found.manifest['version']}")
    return int(found.manifest["version"])


def write_rows(folder: Path, version: int) -> None:
    rows = [{"image_id": i, "category_id": 1, "bbox": [0, 0, 1, 1], "score": float(version)} for i in range(800)]
    write_results(folder / "results.json", rows)


def check_rows(folder: Path) -> int:
    rows = read_results(folder / "results.json")
    versions = {row["score"] for row in rows}
    if len(rows) != 800 or len(versions) != 1:
        raise RuntimeError(f"{len(rows)} rows of versions {versions}")
    return int(versions.pop())


def make_pictures(folder: Path) -> None:
    for part in ("images", "labels"):
        (folder / "set" / part).mkdir(parents=True)
    for i in range(6):
        image = np.random.default_rng(i).integers(0, 255, (200, 200, 3), np.uint8)
        cv2.imwrite(str(folder / "set" / "images" / f"{i}.png"), image)
        (folder / "set" / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")


def fill_cache(folder: Path, version: int) -> None:
    for file in (folder / "cache").glob("*.px"):
        file.unlink()
    cache = PictureCache(
        open_dataset(folder / "set", format="yolo", names=["class 0"]), (160, 160), 1 << 30, folder / "cache"
    )
    for i in range(6):
        cache.load(i)


def check_cache(folder: Path) -> int:
    dataset = open_dataset(folder / "set", format="yolo", names=["class 0"])
    kept = PictureCache(dataset, (160, 160), 1 << 30, folder / "cache")
    fresh = PictureCache(dataset, (160, 160), 0)
    for i in range(6):
        if not np.array_equal(kept.load(i).image, fresh.load(i).image):
            raise RuntimeError(f"picture {i} of the cache differs")
    return 0


WRITERS = ((write_checkpoint, check_checkpoint), (write_rows, check_rows), (fill_cache, check_cache))


def run_writer(write, folder: Path, version: int, ready: int) -> None:
    os.write(ready, b".")
    while True:
        version += 1
        write(folder, version)


def main(folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    make_pictures(folder)
    rng = random.Random(0)
    write_checkpoint(folder, 0)
    write_rows(folder, 0)
    versions = [0, 0, 0]
    outcomes: Counter[str] = Counter()
    for number in range(count):
        kind = 2 if number % 10 == 9 else number % 2
        write, check = WRITERS[kind]
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                run_writer(write, folder, versions[kind], write_end)
            finally:
                os._exit(1)
        os.read(read_end, 1)
        time.sleep(rng.random() * 0.025)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.close(read_end)
        os.close(write_end)
        if not os.WIFSIGNALED(status):
            raise RuntimeError("a writer ended by itself")
        version = check(folder)
        outcomes["kept the old" if version == versions[kind] else "has a new one"] += kind < 2
        versions[kind] = version
        parts = list(folder.rglob(".*.part"))
        outcomes["killed in the middle of a file"] += bool(parts)
        for part in parts:
            part.unlink()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
