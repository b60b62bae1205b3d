"""The bootstrap of AP: equal to COCO's own figures on the pictures as they are and on pictures that are there twice."""

from __future__ import annotations

import numpy as np
import pytest

from yolokkn.evaluation.coco import CocoDataset, evaluate_coco
from yolokkn.evaluation.coco_bootstrap import ap_difference_interval, ap_of


def scene(num_images=12, seed=0, noise=3.0, times=None):
    """Pictures with boxes of two categories, and detections that miss, err and invent; some pictures several times."""
    content = {"images": [], "annotations": [], "categories": [{"id": 3, "name": "cup"}, {"id": 5, "name": "cat"}]}
    results = []
    for place in range(num_images):
        for _ in range(1 if times is None else times[place]):
            generator = np.random.default_rng([seed, place])
            image = len(content["images"]) + 1
            content["images"].append({"id": image, "file_name": f"{image}.jpg", "height": 200, "width": 200})
            for _ in range(4):
                box = np.concatenate([generator.uniform(0, 100, 2), generator.uniform(20, 60, 2)]).tolist()
                category = int(generator.choice([3, 5]))
                one = {"image_id": image, "category_id": category, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                content["annotations"].append({"id": len(content["annotations"]) + 1, **one})
                moved = (np.array(box) + generator.normal(0, noise, 4)).tolist()
                score = float(generator.random())
                results.append({"image_id": image, "category_id": category, "bbox": moved, "score": score})
    return CocoDataset.from_dict(content), results


def judged(**options):
    metrics = evaluate_coco(*scene(**options))
    return metrics, metrics.judged


def test_all_pictures_once_and_some_often_give_what_coco_gives():
    metrics, once = judged()
    assert ap_of(once, np.ones(12, int)) == pytest.approx(metrics["AP"], abs=1e-12)
    times = [2, 0, 1, 3, 1, 0, 1, 1, 2, 0, 1, 1]
    assert ap_of(once, times) == pytest.approx(judged(times=times)[0]["AP"], abs=1e-12)


def test_a_model_is_no_better_than_itself_and_a_worse_one_is_worse():
    _, good = judged(noise=1.0)
    _, bad = judged(noise=6.0)
    assert ap_difference_interval(good, good, num_samples=20) == (0.0, 0.0)
    low, high = ap_difference_interval(good, bad, num_samples=50)
    assert low < high < 0 and ap_difference_interval(good, bad, num_samples=50) == (low, high)
    with pytest.raises(ValueError, match="second must be over"):
        ap_difference_interval(good, judged(num_images=5)[1])
