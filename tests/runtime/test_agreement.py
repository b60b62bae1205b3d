"""How much two models share: by hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest

from yolokkn.ops import Candidates
from yolokkn.runtime.agreement import Agreement, agree, agree_cells, sum_agreements
from yolokkn.runtime.parity_report import ColumnResult, PictureParity, StageResult
from yolokkn.runtime.parity_summary import summarize, summary_table
from yolokkn.types import Detections

A, B, C = (10, 10, 50, 50), (100, 100, 160, 180), (200, 20, 260, 60)


def some(boxes, scores, class_ids=None):
    n = len(boxes)
    ids = np.zeros(n, np.int32) if class_ids is None else np.int32(class_ids)
    return Detections(np.float32(boxes).reshape(n, 4), np.float32(scores), ids)


def test_the_same_shares_everything():
    three = some([A, B, C], [0.9, 0.8, 0.3])
    found = agree(three, three, 0.25, 0.05)
    assert (found.num_reference, found.num_found, found.num_kept, found.num_kept_tightly) == (3, 3, 3, 3)
    assert found.share == 1 and found.shared == pytest.approx(2.0) and found.shifts == (0, 0, 0)
    assert (found.num_ordered, found.num_turned) == (3, 0)
    assert found.is_enough(0.0, 0.0)


def test_scores_boxes_and_classes_are_told_apart():
    reference = some([A, B, C], [0.9, 0.8, 0.4])
    weaker = agree(reference, some([A, B], [0.6, 0.8]), 0.25, 0.05)
    assert weaker.shared == pytest.approx(1.4) and weaker.total == pytest.approx(0.9 + 0.8 + 0.4)
    assert weaker.num_kept == 2 and weaker.shifts == pytest.approx((-0.3, 0.0))
    moved = agree(reference, some([(16, 10, 56, 50), B, C], [0.9, 0.8, 0.4]), 0.25, 0.05)  # IoU 34 / 46
    assert (moved.num_kept, moved.num_kept_tightly) == (3, 2) and moved.share == 1
    other = agree(reference, some([A, B, C], [0.9, 0.8, 0.4], [1, 0, 0]), 0.25, 0.05)
    assert other.num_kept == 2 and other.total == pytest.approx(0.9 + 0.9 + 0.8 + 0.4)


def test_a_partner_just_below_the_threshold_shares_its_score_and_is_not_kept():
    found = agree(some([A], [0.3]), some([A], [0.2]), 0.25, 0.05)
    assert (found.num_reference, found.num_found, found.num_kept) == (1, 0, 0)
    assert found.share == pytest.approx(2 / 3)
    assert agree(some([A], [0.2]), some([A], [0.2]), 0.25, 0.05).total == 0  # both below: nobody asked


def test_order_counts_where_scores_differ_by_more_than_noise():
    reference = some([A, B, C], [0.9, 0.7, 0.68])
    turned = agree(reference, some([B, A, C], [0.9, 0.7, 0.6]), 0.25, 0.1)
    assert (turned.num_ordered, turned.num_turned) == (2, 1)
    assert agree(reference, some([A, C, B], [0.9, 0.7, 0.6]), 0.25, 0.1).num_turned == 0


def test_nothing_on_either_side():
    nothing, one = some([], []), some([A], [0.9])
    assert agree(nothing, nothing, 0.25, 0.1).share == 1
    lost, invented = agree(one, nothing, 0.25, 0.1), agree(nothing, one, 0.25, 0.1)
    assert lost.share == invented.share == 0 and lost.total == invented.total == pytest.approx(0.9)
    assert not lost.is_enough(0.5, 0.3) and agree(some([A], [0.5]), nothing, 0.25, 0.1).is_enough(0.5, 0.3)


def test_pictures_are_summed():
    parts = [agree(some([A], [0.8]), some([A], [score]), 0.25, 0.1) for score in (0.8, 0.4)]
    together = sum_agreements(parts)
    assert together.num_kept == 2 and together.share == pytest.approx(0.75)
    assert together.shifts == pytest.approx((0.0, -0.4))
    assert sum_agreements([]) == Agreement()


def cells(scores, ids=None, move=0.0):
    n = len(scores)
    boxes = np.float32([[i * 50 + move, 0, i * 50 + 40 + move, 40] for i in range(n)]).reshape(n, 4)
    return Candidates(
        boxes, np.float32(scores), np.zeros(n, np.int32) if ids is None else np.int32(ids), np.arange(n), 0
    )


def test_cells():
    scores = np.geomspace(1e-3, 0.9, 200).astype(np.float32)
    same = agree_cells(cells(scores), cells(scores))
    assert same.correlation == pytest.approx(1) and same.shared == pytest.approx(same.total)
    weaker = agree_cells(cells(scores), cells(scores * 0.5))
    assert weaker.correlation > 0.99 and weaker.shared / weaker.total == pytest.approx(0.5)
    shuffled = agree_cells(cells(scores), cells(np.random.default_rng(0).permutation(scores)))
    assert abs(shuffled.correlation) < 0.2
    assert agree_cells(cells(scores), cells(scores, np.ones(200))).shared == 0
    assert agree_cells(cells(scores), cells(scores, move=30.0)).shared == 0
    assert agree_cells(cells(scores), cells(np.full(200, 0.5))).correlation == 0  # a network that gives one value
    nothing = cells([])
    assert agree_cells(nothing, nothing).correlation == 1 == agree_cells(cells([0.5] * 9), nothing).correlation


def picture(agreement, agrees=True):
    stage = StageResult("network", agrees, "")
    column = ColumnResult("a", (stage,), agreement)
    return PictureParity("p.jpg", (4, 4), "best.onnx", "int8", 0.25, 0.25, 1, (column,))


def test_what_each_picture_allows_all_together_may_not():
    """Int8 may lose half of one picture's scores, and a fifth of all."""
    half = agree(some([A, B], [0.8, 0.8]), some([A, B], [0.5, 0.5]), 0.25, 0.2)
    assert half.is_enough(0.5, 0.3)
    (one,) = summarize([picture(half)])
    assert not one.differs and not one.agrees  # two detections are no ground for a verdict
    assert "a was NOT judged: 2 detections are too few to judge int8 by" in summary_table([picture(half)])
    (few,) = summarize([picture(half)] * 20)  # 40 detections
    assert few.agrees
    results = [picture(half)] * 30
    (many,) = summarize(results)
    assert not many.agrees and "62.5% of the scores are shared, 80.0% at least are wanted" in many.shortfalls[0]
    text = summary_table(results)
    assert "30 pictures, 60 detections with scores above 0.25 by best.onnx" in text
    assert "int8 wants a calibration on pictures prepared as the model takes them" in text
    assert "on each of them, within the tolerances of int8; over all, 50 detections" in summary_table(
        [picture(half)] * 2
    )
    assert "a DIFFERS from best.onnx: 62.5% of the scores" in text and "60 of 60 (100.0%)" in text
    (with_broken,) = summarize([picture(half, agrees=False), picture(half)])
    assert with_broken.first_stages == {"network": 1} and with_broken.num_agree == 1 and not with_broken.agrees


def test_order_over_all_pictures():
    turned = Agreement(2, 2, 2, 2, 1.5, 1.6, 1, 5, (0.0, 0.0))
    (summary,) = summarize([picture(turned)] * 30)
    assert summary.shortfalls == ("30 couples of detections in another order, 7 are allowed",)
