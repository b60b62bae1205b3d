"""Labels find a place of their own where there is one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolokkn.runtime.labels import place_labels


def overlap(a, b, wh_a, wh_b):
    across = min(a[0] + wh_a[0], b[0] + wh_b[0]) - max(a[0], b[0])
    down = min(a[1] + wh_a[1], b[1] + wh_b[1]) - max(a[1], b[1])
    return max(across, 0) * max(down, 0)


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ((50, 50, 90, 90), (50, 40)),  # above
        ((50, 5, 90, 90), (50, 5)),  # no room above: inside
        ((80, 50, 99, 90), (70, 40)),  # moved into the frame
        ((-20, -20, 300, 300), (0, 0)),
        ((50, 98, 90, 99), (50, 88)),
        ((-500, 500, -400, 600), (0, 90)),
    ],
)
def test_one_label(box, place):
    assert place_labels([box], [(30, 10)], (100, 100)) == [place]


def test_the_first_keeps_its_place_and_the_others_step_aside():
    places = place_labels([(20, 50, 70, 90)] * 6, [(24, 10)] * 6, (200, 200))
    assert places[:4] == [(20, 40), (46, 40), (20, 50), (46, 50)]
    for (i, a), (j, b) in itertools.combinations(enumerate(places), 2):
        assert not overlap(a, b, (24, 10), (24, 10)), (i, j)


def test_crowds_cover_less_than_labels_above_would():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corners = rng.uniform(0, 300, (30, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(20, 90, (30, 2))], 1).tolist()
        sizes = [(int(w), 12) for w in rng.integers(30, 70, 30)]
        above = [place_labels([b], [s], (400, 400))[0] for b, s in zip(boxes, sizes, strict=True)]
        placed = place_labels(boxes, sizes, (400, 400))

        def total(places, sizes=sizes):
            pairs = itertools.combinations(range(len(places)), 2)
            return sum(overlap(places[i], places[j], sizes[i], sizes[j]) for i, j in pairs)

        assert total(placed) < 0.35 * total(above)


numbers = st.floats(-1e6, 1e6) | st.integers(-50, 450).map(float)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.tuples(*[numbers] * 4), st.tuples(st.integers(1, 100), st.integers(1, 40))), max_size=12),
    st.tuples(st.integers(40, 400), st.integers(100, 400)),
)
def test_labels_lie_inside_the_frame(labels, hw):
    places = place_labels([b for b, _ in labels], [s for _, s in labels], hw)
    for (x, y), (_, (w, h)) in zip(places, labels, strict=True):
        assert 0 <= x <= hw[1] - w and 0 <= y <= hw[0] - h
