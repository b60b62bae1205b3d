"""Curves over confidence and recall, and the confusion matrix."""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation import voc_reference as slow
from tests.evaluation.test_voc import BOX, FAR, found, labelled, random_case
from tests.strategies import scaled
from yolokkn.evaluation.curves import NUM_POINTS, confusion_matrix, detection_curves
from yolokkn.evaluation.voc import evaluate_voc


def test_a_curve_by_hand():
    truth = labelled([(0, BOX, 0), (1, BOX, 0)])
    boxes = found([(0, BOX, 0, 0.9), (0, FAR, 0, 0.8), (1, BOX, 0, 0.7)])
    curves = detection_curves(truth, boxes, ["a", "b"])
    assert curves.has_truth.tolist() == [True, False]
    assert curves.average_precision[0] == pytest.approx(5 / 6)
    at = {round(float(c), 3): i for i, c in enumerate(curves.confidences)}
    for confidence, precision, recall in (
        (0.95, 1, 0),
        (0.9, 1, 0.5),
        (0.85, 1, 0.5),
        (0.8, 0.5, 0.5),
        (0.1, 2 / 3, 1),
    ):
        i = at[confidence]
        assert curves.precision[0, i] == pytest.approx(precision)
        assert curves.recall[0, i] == pytest.approx(recall)
    assert curves.precision_at_recall[0, at[0.5]] == 1
    assert curves.precision_at_recall[0, at[0.501]] == pytest.approx(2 / 3)
    assert curves.mean_f1.max() == pytest.approx(0.8)
    assert curves.best_confidence == 0
    assert curves.to_dict()["per_class"].keys() == {"a"}


def test_no_truth_and_no_detections():
    curves = detection_curves(labelled([]), found([]), ["a"])
    assert np.isnan(curves.f1).all() and curves.mean_f1.tolist() == [0] * NUM_POINTS
    curves = detection_curves(labelled([(0, BOX, 0)]), found([]), ["a"])
    assert (curves.precision_at_recall[0] == 0).all() and (curves.recall[0] == 0).all() and (curves.f1[0] == 0).all()


def test_curves_equal_the_slow_reference():
    rng = np.random.default_rng(1)
    for _ in range(scaled(40)):
        truth, boxes, num_classes = random_case(rng)
        names = [str(i) for i in range(num_classes)]
        curves = detection_curves(truth, boxes, names)
        areas = evaluate_voc(truth, boxes, names).ap_area
        for c in range(num_classes):
            if areas[c] is None:
                assert np.isnan(curves.average_precision[c])
                continue
            assert curves.average_precision[c] == areas[c]
            count = int(((truth.class_ids == c) & ~truth.difficult).sum())
            for i in (0, 77, 250, 300, 500, 916, 1000):
                kept = boxes[boxes.scores >= curves.confidences[i]]
                right = slow.verdicts(truth, kept, c, 0.5)
                assert curves.precision[c, i] == pytest.approx(sum(right) / len(right) if right else 1)
                assert curves.recall[c, i] == pytest.approx(sum(right) / count)
            points = slow.precisions_and_recalls(slow.verdicts(truth, boxes, c, 0.5), count)
            for i in range(0, NUM_POINTS, 50):
                best = max((p for p, r in points if r * 1000 >= i), default=0)
                assert curves.precision_at_recall[c, i] == pytest.approx(float(best))


def test_confusion_by_hand():
    truth = labelled([(0, BOX, 0), (0, FAR, 1), (1, BOX, 1)], difficult=[1])
    boxes = found(
        [
            (0, BOX, 1, 0.9),  # a taken for b
            (0, FAR, 0, 0.9),  # on a difficult object: left out
            (0, FAR, 0, 0.9),  # again
            (1, FAR, 1, 0.9),  # from the background
            (1, BOX, 1, 0.2),  # below the threshold: the object is missed
        ]
    )
    assert confusion_matrix(truth, boxes, 2).tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]
    assert confusion_matrix(truth, boxes, 2, score_threshold=0.1).tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0]]


def test_the_larger_overlap_wins_and_then_the_right_class():
    truth = labelled([(0, BOX, 0)])
    boxes = found([(0, [0, 0, 10, 8], 0, 0.9), (0, BOX, 1, 0.5)])
    assert confusion_matrix(truth, boxes, 2).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    boxes = found([(0, BOX, 1, 0.9), (0, BOX, 0, 0.5)])
    assert confusion_matrix(truth, boxes, 2).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_confusion_counts_everything_once():
    rng = np.random.default_rng(2)
    for _ in range(scaled(100)):
        truth, boxes, num_classes = random_case(rng)
        matrix = confusion_matrix(truth, boxes, num_classes)
        easy = truth.class_ids[~truth.difficult]
        assert matrix[:-1].sum(1).tolist() == np.bincount(easy, minlength=num_classes).tolist()
        assert matrix[:, :-1].sum() <= (boxes.scores >= 0.25).sum()
        assert matrix[-1, -1] == 0


def test_confusion_of_nothing():
    assert confusion_matrix(labelled([]), found([]), 1).tolist() == [[0, 0], [0, 0]]
    assert confusion_matrix(labelled([]), found([(0, BOX, 0, 0.9)]), 1).tolist() == [[0, 0], [1, 0]]
