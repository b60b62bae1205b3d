"""VOC's average precision: cases by hand, and against the slow reference."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation import voc_reference as slow
from tests.strategies import scaled
from yolokkn.evaluation.boxes import FoundBoxes, LabelledBoxes, boxes_from_coco
from yolokkn.evaluation.coco import CocoAnnotation, CocoCategory, CocoDataset, CocoImage
from yolokkn.evaluation.voc import evaluate_voc, judge

BOX = [0, 0, 10, 10]
FAR = [100, 100, 110, 110]


def labelled(rows, difficult=()):
    """rows: (image, box, class)."""
    images, boxes, classes = zip(*rows, strict=True) if rows else ((), (), ())
    return LabelledBoxes(
        np.array(images, int), boxes, np.array(classes, int), np.isin(np.arange(len(rows)), list(difficult))
    )


def found(rows):
    """rows: (image, box, class, score)."""
    images, boxes, classes, scores = zip(*rows, strict=True) if rows else ((), (), (), ())
    return FoundBoxes(np.array(images, int), boxes, np.array(classes, int), scores)


def test_everything_found():
    metrics = evaluate_voc(labelled([(0, BOX, 0), (1, BOX, 1)]), found([(0, BOX, 0, 0.5), (1, BOX, 1, 0.1)]), "ab")
    assert (metrics.map_area, metrics.map_11_point) == (1, 1)
    assert metrics.ap_area == (1, 1)


def test_nothing_found_and_nothing_there():
    assert evaluate_voc(labelled([(0, BOX, 0)]), found([]), ["a"]).map_area == 0
    metrics = evaluate_voc(labelled([]), found([(0, BOX, 0, 0.5)]), ["a"])
    assert metrics.ap_area == (None,)
    assert metrics.map_area == metrics.map_11_point == -1
    assert evaluate_voc(labelled([]), found([]), []).map_area == -1


def test_right_wrong_right():
    truth = labelled([(0, BOX, 0), (1, BOX, 0)])
    metrics = evaluate_voc(truth, found([(0, BOX, 0, 0.9), (0, FAR, 0, 0.8), (1, BOX, 0, 0.7)]), ["a"])
    # precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: the area is (1 + 2/3) / 2; recalls 0 to 0.5 read 1, the other five 2/3
    assert metrics.map_area == pytest.approx(5 / 6)
    assert metrics.map_11_point == pytest.approx((6 + 5 * 2 / 3) / 11)


def test_recall_is_compared_exactly():
    """Three of ten objects: the recall 0.3 is reached, which 3 * 0.1 in floats would deny."""
    truth = labelled([(i, BOX, 0) for i in range(10)])
    metrics = evaluate_voc(truth, found([(i, BOX, 0, 0.9) for i in range(3)]), ["a"])
    assert metrics.map_11_point == pytest.approx(4 / 11)


def test_the_second_detection_of_an_object_is_wrong():
    truth = labelled([(0, BOX, 0)])
    assert judge(truth, found([(0, BOX, 0, 0.5), (0, [0, 0, 10, 9], 0, 0.9)])).tolist() == [0, 1]


def test_a_detection_belongs_to_what_it_overlaps_most_even_if_that_is_taken():
    truth = labelled([(0, [0, 0, 10, 10], 0), (0, [0, 2, 10, 12], 0)])
    boxes = found([(0, [0, 0, 10, 10], 0, 0.9), (0, [0, 0.4, 10, 10.4], 0, 0.8)])
    assert judge(truth, boxes).tolist() == [1, 0]  # COCO would give the second object to the second detection


def test_difficult_objects_count_neither_way():
    truth = labelled([(0, BOX, 0), (0, FAR, 0)], difficult=[1])
    boxes = found([(0, FAR, 0, 0.9), (0, FAR, 0, 0.8), (0, BOX, 0, 0.7)])
    assert judge(truth, boxes).tolist() == [-1, -1, 1]
    metrics = evaluate_voc(truth, boxes, ["a"])
    assert (metrics.map_area, metrics.num_truths, metrics.num_found) == (1, (1,), (3,))


def test_the_threshold_itself_is_enough():
    truth = labelled([(0, [0, 0, 10, 10], 0)])
    half = found([(0, [0, 0, 10, 5], 0, 0.9)])  # IoU exactly 1/2
    assert evaluate_voc(truth, half, ["a"]).map_area == 1
    below = found([(0, [0, 0, 10, np.nextafter(5, 0)], 0, 0.9)])
    assert evaluate_voc(truth, below, ["a"]).map_area == 0


def test_pixels_named_inclusively():
    """Pixels 1 to 2 and 2 to 2 of one row: 1 of 2 pixels are shared, as places the second box is empty."""
    truth = labelled([(0, [1, 1, 2, 1], 0)])
    box = found([(0, [2, 1, 2, 1], 0, 0.9)])
    assert evaluate_voc(truth, box, ["a"], inclusive=True).map_area == 1
    assert evaluate_voc(truth, box, ["a"]).map_area == 0
    # turned into places between pixels, as the readers do, both conventions measure the same
    assert evaluate_voc(labelled([(0, [0, 0, 2, 1], 0)]), found([(0, [1, 0, 2, 1], 0, 0.9)]), ["a"]).map_area == 1


def test_classes_and_pictures_are_kept_apart():
    truth = labelled([(0, BOX, 0), (1, BOX, 1)])
    metrics = evaluate_voc(truth, found([(0, BOX, 1, 0.9), (1, BOX, 0, 0.9)]), ["a", "b", "c"])
    assert metrics.ap_area == (0, 0, None)
    assert metrics.map_area == 0


def test_equal_scores_keep_their_order():
    truth = labelled([(0, BOX, 0)])
    first_right = [(0, BOX, 0, 0.5), (0, FAR, 0, 0.5)]
    assert evaluate_voc(truth, found(first_right), ["a"]).map_area == 1
    assert evaluate_voc(truth, found(first_right[::-1]), ["a"]).map_area == 0.5


def random_case(rng):
    num_classes, num_images = int(rng.integers(1, 4)), int(rng.integers(1, 5))

    def boxes(count):
        corners = rng.integers(0, 12, (count, 2, 2))
        return np.concatenate([corners.min(1), corners.max(1)], 1).astype(float)

    m, n = int(rng.integers(0, 25)), int(rng.integers(0, 60))
    truth = LabelledBoxes(
        rng.integers(0, num_images, m), boxes(m), rng.integers(0, num_classes, m), rng.random(m) < 0.2
    )
    scores = rng.integers(0, 12, n) / 12  # many ties
    return (
        truth,
        FoundBoxes(rng.integers(0, num_images, n), boxes(n), rng.integers(0, num_classes, n), scores),
        num_classes,
    )


def test_equal_to_the_slow_reference():
    rng = np.random.default_rng(0)
    for k in range(scaled(300)):
        truth, boxes, num_classes = random_case(rng)
        threshold, one = (0.5, 0.3, 0.75)[k % 3], float(k % 2)
        names = [str(i) for i in range(num_classes)]
        metrics = evaluate_voc(truth, boxes, names, iou_threshold=threshold, inclusive=bool(one))
        for c in range(num_classes):
            count = int(((truth.class_ids == c) & ~truth.difficult).sum())
            assert metrics.num_truths[c] == count
            if count == 0:
                assert metrics.ap_area[c] is None and metrics.ap_11_point[c] is None
                continue
            right = slow.verdicts(truth, boxes, c, threshold, one)
            assert metrics.ap_area[c] == pytest.approx(slow.ap_area(right, count), abs=1e-12)
            assert metrics.ap_11_point[c] == pytest.approx(slow.ap_11_point(right, count), abs=1e-12)


def test_the_table_and_the_json():
    metrics = evaluate_voc(labelled([(0, BOX, 0)]), found([(0, BOX, 0, 0.9)]), ["cat", "dog"])
    lines = metrics.table().splitlines()
    assert lines[0].split() == ["class", "AP50", "VOC07", "objects", "found"]
    assert lines[1].split() == ["cat", "1.0000", "1.0000", "1", "1"]
    assert lines[2].split() == ["dog", "-", "-", "0", "0"]
    assert lines[3].split()[:2] == ["mean", "1.0000"]
    assert metrics.to_dict()["per_class"]["dog"]["ap_area"] is None


def test_coco_rows_become_columns():
    dataset = CocoDataset(
        (CocoImage(7, "a.jpg", 20, 20), CocoImage(9, "b.jpg", 20, 20)),
        (CocoCategory(3, "cup"), CocoCategory(5, "fork")),
        (CocoAnnotation(1, 9, 5, (0, 0, 10, 10), 100.0), CocoAnnotation(2, 7, 3, (0, 0, 4, 4), 16.0, is_crowd=True)),
    )
    results = [{"image_id": 9, "category_id": 5, "bbox": [0, 0, 10, 9], "score": 0.75}]
    truth, boxes, names = boxes_from_coco(dataset, results)
    assert names == ("cup", "fork")
    assert (truth.image_index.tolist(), truth.class_ids.tolist()) == ([1, 0], [1, 0])
    assert truth.difficult.tolist() == [False, True]
    assert (boxes.boxes.tolist(), boxes.scores.tolist()) == ([[0, 0, 10, 9]], [0.75])
    assert evaluate_voc(truth, boxes, names).ap_area == (None, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"class_ids": [2]}, "class ids of found must be within 0 and 0"),
        ({"class_ids": [0.0]}, "FoundBoxes: class_ids must be integers"),
        ({"scores": [np.nan]}, "FoundBoxes: scores must be finite"),
        ({"boxes": [[0, 0, np.inf, 1]]}, "FoundBoxes: boxes must be finite"),
        ({"scores": [0.5, 0.5]}, r"FoundBoxes: scores must be as long as boxes \(1\)"),
    ],
)
def test_wrong_columns_are_refused(change, said):
    columns = {"image_index": [0], "boxes": [BOX], "class_ids": [0], "scores": [0.5], **change}
    with pytest.raises((ValueError, TypeError), match=said):
        evaluate_voc(labelled([(0, BOX, 0)]), FoundBoxes(**columns), ["a"])


def test_the_threshold_must_be_an_overlap():
    with pytest.raises(ValueError, match="iou_threshold must be above 0"):
        evaluate_voc(labelled([]), found([]), [], iou_threshold=0)
