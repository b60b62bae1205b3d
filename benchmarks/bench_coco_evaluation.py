"""COCO figures of boxes: yolokkn against pycocotools, interleaved, on made-up ground truth of the size of a small set.

python benchmarks/bench_coco_evaluation.py [--images 206] [--repeats 5]
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import statistics
import time

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolokkn.coco_names import COCO80, COCO_CATEGORY_IDS
from yolokkn.evaluation.coco import CocoDataset, evaluate_coco


def make_case(num_images: int, num_found: int = 100):
    """About 9 objects a picture, and 100 detections of which some six tenths lie near an object."""
    rng = np.random.default_rng(0)
    ids = COCO_CATEGORY_IDS
    images = [{"id": i + 1, "file_name": f"{i}.jpg", "height": 480, "width": 640} for i in range(num_images)]
    annotations, results = [], []
    for image in images:
        count = int(rng.integers(1, 18))
        boxes = np.concatenate([rng.uniform(0, 400, (count, 2)), rng.uniform(8, 240, (count, 2))], axis=1).round(2)
        kinds = rng.choice(ids, 3)[rng.integers(0, 3, count)]
        for box, kind in zip(boxes.tolist(), kinds.tolist(), strict=True):
            row = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": kind, "bbox": box}
            annotations.append({**row, "area": box[2] * box[3], "iscrowd": int(rng.random() < 0.02)})
        of = rng.integers(0, count, num_found)
        near = rng.random(num_found) < 0.6
        found = boxes[of] + rng.normal(0, 0.1, (num_found, 4)) * boxes[of][:, [2, 3, 2, 3]]
        labels = np.where(near, kinds[of], rng.choice(ids, num_found))
        scores = (rng.random(num_found) * np.where(near, 1, 0.5)).round(3)
        for box, kind, score in zip(found.round(2).tolist(), labels.tolist(), scores.tolist(), strict=True):
            results.append({"image_id": image["id"], "category_id": kind, "bbox": box, "score": score})
    categories = [{"id": i, "name": name} for i, name in zip(ids, COCO80, strict=True)]
    return {"info": {}, "images": images, "categories": categories, "annotations": annotations}, results


def run_pycocotools(content, results):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats


def run_yolokkn(content, results):
    return np.array(list(evaluate_coco(CocoDataset.from_dict(content), results).figures.values()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=206)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    content, results = make_case(options.images)
    seconds: dict[str, list[float]] = {"pycocotools": [], "yolokkn": []}
    figures = {}
    for _ in range(options.repeats):
        for name, run in (("pycocotools", run_pycocotools), ("yolokkn", run_yolokkn)):
            case = copy.deepcopy((content, results))
            begin = time.perf_counter()
            figures[name] = run(*case)
            seconds[name].append(time.perf_counter() - begin)
    ratio = statistics.median(p / y for p, y in zip(seconds["pycocotools"], seconds["yolokkn"], strict=True))
    difference = np.abs(figures["pycocotools"] - figures["yolokkn"]).max()
    for name, values in seconds.items():
        print(f"{name:12} {statistics.median(values) * 1e3:9.1f} ms  AP {figures[name][0]:.4f}")
    print(f"{len(results)} results: {ratio:.1f} times as fast, largest difference of a figure {difference:.1e}")


if __name__ == "__main__":
    main()
