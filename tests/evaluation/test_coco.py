import copy
import json

import numpy as np
import pytest

from tests.evaluation.coco_cases import content_of, figures, found, oracle, random_content, random_results
from yolokkn.errors import DataError
from yolokkn.evaluation.coco import CocoDataset, evaluate_coco

IOU_TYPES = ["bbox", "segm", "keypoints"]
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def assert_equals_oracle(content, results, iou_type, params=None, **kwargs):
    got = figures(content, results, iou_type, **kwargs)
    np.testing.assert_allclose(got, oracle(content, results, iou_type, **(params or {})), rtol=0, atol=1e-9)
    return got


@pytest.mark.parametrize("iou_type", IOU_TYPES)
@pytest.mark.parametrize("seed", range(25))
def test_random_cases_equal_the_oracle(iou_type, seed):
    rng = np.random.default_rng(seed)
    content = random_content(rng, iou_type, num_images=1 + seed % 8, num_categories=1 + seed % 5)
    results = random_results(rng, content, iou_type, with_boxes=seed % 3 == 0)
    before = copy.deepcopy((content, results))
    assert_equals_oracle(content, results, iou_type)
    assert (content, results) == before


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_random_cases_find_something(iou_type):
    """The cases above would prove little if every figure were 0, 1 or -1."""
    middling = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        content = random_content(rng, iou_type, num_images=1 + seed % 8, num_categories=1 + seed % 5)
        middling += 0.05 < figures(content, random_results(rng, content, iou_type), iou_type)[0] < 0.95
    assert middling >= 5


def test_names():
    rng = np.random.default_rng(0)
    content = random_content(rng, "keypoints")
    metrics = evaluate_coco(CocoDataset.from_dict(content), [])
    assert list(metrics.figures) == NAMES
    metrics = evaluate_coco(CocoDataset.from_dict(content), [], iou_type="keypoints")
    assert list(metrics.figures) == ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]


def test_hand_computed():
    """Two objects; the best detection is wrong, the second finds one exactly, the third the other with IoU 0.64."""
    content = content_of([(0, 0, 100, 100), (200, 200, 100, 100)])
    results = [
        found((0, 200, 50, 50), 0.9),
        found((0, 0, 100, 100), 0.8),
        found((200, 200, 80, 80), 0.7),
    ]
    metrics = evaluate_coco(CocoDataset.from_dict(content), results)
    # IoU 0.5, 0.55, 0.6: precision 2/3 at all recalls; above: precision 1/2 at the 51 recalls up to 0.5, else 0.
    assert metrics["AP50"] == pytest.approx(2 / 3)
    assert metrics["AP75"] == pytest.approx(0.5 * 51 / 101)
    assert metrics["AP"] == pytest.approx((3 * 2 / 3 + 7 * 0.5 * 51 / 101) / 10)
    assert metrics["AR1"] == 0
    assert metrics["AR100"] == pytest.approx((3 * 1.0 + 7 * 0.5) / 10)
    assert (metrics["APs"], metrics["APm"]) == (-1, -1)
    assert metrics["APl"] == pytest.approx((3 + 7 * 51 / 101) / 10)  # the wrong one is of medium size
    assert metrics.per_class_ap == {"c0": metrics["AP"]}


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_no_results(iou_type):
    content = random_content(np.random.default_rng(3), iou_type)
    got = assert_equals_oracle(content, [], iou_type)
    assert got[0] == 0


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_no_ground_truth(iou_type):
    content = random_content(np.random.default_rng(3), iou_type)
    results = random_results(np.random.default_rng(4), content, iou_type)
    content["annotations"] = []
    assert (assert_equals_oracle(content, results, iou_type) == -1).all()
    assert (figures(content, [], iou_type) == -1).all()
    assert (figures({"images": [], "categories": [], "annotations": []}, [], iou_type) == -1).all()


def test_ties_of_scores_keep_the_order_of_images_and_results():
    content = content_of([(0, 0, 50, 50)], num_images=3)
    content["images"].reverse()
    results = [found((0, 0, 50, 50), 0.5, image_id=i) for i in (3, 2, 1)] + [found((0, 0, 40, 50), 0.5)]
    assert_equals_oracle(content, results, "bbox")
    assert_equals_oracle(content, results[::-1], "bbox")


def test_ties_of_overlap_go_to_the_later_object():
    content = content_of([(0, 0, 50, 50), (0, 0, 50, 50), (0, 0, 50, 50)], crowds=[0, 1, 0], areas=[100, 2500, 2500])
    results = [found((0, 0, 50, 50), s) for s in (0.9, 0.8, 0.7, 0.6)]
    for keep in range(1, 5):
        assert_equals_oracle(content, results[:keep], "bbox")


def test_crowd_swallows_many():
    content = content_of([(0, 0, 200, 200), (10, 10, 40, 40)], crowds=[1, 0])
    results = [found((10 * i, 10 * i, 40, 40), 0.9 - 0.01 * i) for i in range(16)]
    assert assert_equals_oracle(content, results, "bbox")[0] > 0


def test_areas_on_the_edge_of_a_range():
    content = content_of([(0, 0, 32, 32), (100, 0, 96, 96), (0, 200, 100, 100)])
    results = [found(a["bbox"], 0.5) for a in content["annotations"]] + [found((200, 200, 32, 32), 0.9)]
    assert_equals_oracle(content, results, "bbox")


def test_overlap_exactly_at_a_threshold():
    content = content_of([(0, 0, 100, 100)])
    for width in (50, 55, 75, 95, 100, 49.999999, 75.000001):
        assert_equals_oracle(content, [found((0, 0, width, 100), 0.5)], "bbox")


def test_more_detections_than_the_limit():
    rng = np.random.default_rng(0)
    content = content_of(rng.uniform(0, 200, (30, 4)).round(1).tolist())
    results = []
    for _ in range(10):
        for a in content["annotations"]:
            box = [float(v) for v in np.array(a["bbox"]) * rng.normal(1, 0.05, 4)]
            results.append(found(box, round(float(rng.random()), 2)))
    metrics = evaluate_coco(CocoDataset.from_dict(content), results)
    assert metrics.num_results == 300
    assert_equals_oracle(content, results, "bbox")


def test_other_limits():
    rng = np.random.default_rng(5)
    content = random_content(rng, "bbox")
    results = random_results(rng, content, "bbox")
    metrics = evaluate_coco(CocoDataset.from_dict(content), results, max_detections=(2, 3, 100))
    expected = oracle(content, results, "bbox", maxDets=[2, 3, 100])
    np.testing.assert_allclose(list(metrics.figures.values()), expected, rtol=0, atol=1e-9)
    assert metrics["AR2"] == pytest.approx(expected[6], abs=1e-9)
    for bad in ((), (0,), (10, 1), (1, 1), (1.5,)):
        with pytest.raises(ValueError, match="max_detections must be ascending numbers of 1 or more"):
            evaluate_coco(CocoDataset.from_dict(content), results, max_detections=bad)


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_subsets(iou_type):
    rng = np.random.default_rng(6)
    content = random_content(rng, iou_type)
    results = random_results(rng, content, iou_type)
    image_ids = [image["id"] for image in content["images"]][:3]
    category_ids = [5, 2]
    params = {"imgIds": sorted(image_ids), "catIds": [2, 5]}
    assert_equals_oracle(content, results, iou_type, params, image_ids=image_ids, category_ids=category_ids)


def test_per_class_equals_the_oracle_on_that_class():
    rng = np.random.default_rng(7)
    content = random_content(rng, "bbox")
    results = random_results(rng, content, "bbox")
    metrics = evaluate_coco(CocoDataset.from_dict(content), results)
    for category in content["categories"]:
        expected = oracle(content, results, "bbox", catIds=[category["id"]])[0]
        assert metrics.per_class_ap[category["name"]] == pytest.approx(expected, abs=1e-9)
    content["categories"][1]["name"] = content["categories"][0]["name"]
    metrics = evaluate_coco(CocoDataset.from_dict(content), results)
    assert list(metrics.per_class_ap)[:2] == ["thing 0", "thing 0 (5)"]


def test_annotation_zero_is_told():
    content = content_of([(0, 0, 50, 50), (100, 0, 50, 50)])
    for a in content["annotations"]:
        a["id"] -= 1
    results = [found(a["bbox"], 0.5) for a in content["annotations"]]
    with pytest.warns(UserWarning, match="annotation with id 0 never counts as found"):
        assert_equals_oracle(content, results, "bbox")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"image_id": 9}, r"results\[1\].image_id must be an id of the data set, got 9"),
        ({"category_id": "cup"}, r"results\[1\].category_id must be an id of the data set, got 'cup'"),
        ({"category_id": [1]}, r"results\[1\].category_id must be an id of the data set, got \[1\]"),
        ({"score": None}, r"results\[1\].score must be a finite number, got None"),
        ({"score": float("nan")}, r"results\[1\].score must be a finite number, got nan"),
        ({"score": "0.5"}, r"results\[1\].score must be a finite number, got '0.5'"),
        ({"bbox": [1, 2, 3]}, r"results\[1\].bbox must be 4 finite numbers, got \[1, 2, 3\]"),
        ({"bbox": [1, 2, 3, float("inf")]}, r"results\[1\].bbox must be 4 finite numbers"),
    ],
)
def test_refuses_bad_results(change, text):
    content = content_of([(0, 0, 50, 50)])
    good = found((0, 0, 50, 50), 0.5)
    with pytest.raises(ValueError, match=text):
        figures(content, [good, {**good, **change}])


def test_refuses_what_does_not_fit():
    content = content_of([(0, 0, 50, 50)])
    good = found((0, 0, 50, 50), 0.5)
    with pytest.raises(ValueError, match=r"results\[1\] must have bbox, got \['category_id', 'image_id', 'score'\]"):
        figures(content, [good, {k: v for k, v in good.items() if k != "bbox"}])
    with pytest.raises(TypeError, match=r"results\[0\] must be a dictionary, got list"):
        figures(content, [[1]])
    with pytest.raises(ValueError, match="iou_type must be one of bbox, segm, keypoints, got 'box'"):
        figures(content, [good], "box")
    with pytest.raises(ValueError, match=r"image_ids must be ids of the data set, got \[7\]"):
        figures(content, [good], image_ids=[1, 7])
    with pytest.raises(DataError, match="annotation 1: keypoints must be 17 x, y, visibility, got none"):
        figures(content, [{**good, "keypoints": [0.0] * 51}], "keypoints")


def test_metrics_are_readable():
    content = content_of([(0, 0, 50, 50)], num_categories=2)
    metrics = evaluate_coco(CocoDataset.from_dict(content), [found((0, 0, 50, 50), 0.5)])
    assert json.loads(json.dumps(metrics.to_dict()))["figures"]["AP"] == pytest.approx(1.0)
    lines = metrics.table(per_class=True).splitlines()
    assert lines[0] == "bbox: 1 images, 1 objects, 1 results"
    assert lines[1].split() == ["AP", "1.0000"]
    assert lines[4].split() == ["APs", "-"]
    assert lines[-1].split() == ["AP", "c0", "1.0000"]
    with pytest.raises(KeyError, match="name must be one of AP, AP50"):
        metrics["mAP"]


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_real_ground_truth_equals_the_oracle(iou_type, shared_data):
    """Every object of some real pictures found with jitter, several times, and invented ones."""
    name = "person_keypoints" if iou_type == "keypoints" else "instances"
    content = json.loads((shared_data / f"coco/annotations/{name}_val2017.json").read_text())
    content["images"] = content["images"][: 40 if iou_type == "keypoints" else 20]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    results = random_results(np.random.default_rng(0), content, iou_type)
    got = assert_equals_oracle(content, results, iou_type)
    assert 0.05 < got[0] < 0.95
