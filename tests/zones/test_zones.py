"""Zones and lines: by hand, and the fast counter against the slow one on random walks."""

import numpy as np
import pytest

from tests.strategies import scaled
from yolokkn.errors import ConfigurationError
from yolokkn.types import Tracks
from yolokkn.zones import Line, Zone, ZoneCounter, ZoneMap, read_zones
from yolokkn.zones.reference import SlowZoneCounter

HW = (100, 100)
SQUARE = ((20, 20), (80, 20), (80, 80), (20, 80))


@pytest.fixture(params=[ZoneCounter, SlowZoneCounter], ids=["fast", "slow"])
def counter_of(request):
    return request.param


def at(*places, class_id=0):
    """Tracks whose anchor (the lower edge's middle) is at (track id, x, y)."""
    boxes = np.array([[x - 2, y - 6, x + 2, y] for _, x, y in places], np.float32).reshape(-1, 4)
    ids = np.array([track_id for track_id, _, _ in places], np.int64)
    return Tracks(boxes, np.ones(len(ids), np.float32), np.full(len(ids), class_id, np.int32), track_ids=ids)


def walk(counter, *points, step_s=0.1, track_id=1, begin=0, **kwargs):
    """Take one track along points; returns (kind, place) of what happened."""
    found = []
    for i, (x, y) in enumerate(points):
        found += counter.update(at((track_id, x, y), **kwargs), (begin + i) * step_s, begin + i, HW)
    return [(event.kind, event.place) for event in found]


def test_in_and_out_of_a_zone_with_its_dwell_time(counter_of):
    counter = counter_of(ZoneMap(zones={"z": Zone(SQUARE)}))
    assert walk(counter, (5, 50), (50, 50), (60, 50)) == [("enter", "z")]
    events = counter.update(at((1, 95, 50)), 1.5, 9, HW)
    assert [(event.kind, event.dwell_s, event.frame) for event in events] == [("leave", pytest.approx(1.4), 9)]
    counts = counter.counts["z"]
    assert (counts.enter, counts.leave, counts.inside, counts.mean_dwell_s) == (1, 1, 0, pytest.approx(1.4))


def test_who_stands_on_the_border_does_not_flicker(counter_of):
    counter = counter_of(ZoneMap(zones={"z": Zone(SQUARE)}, lines={"l": Line(((20, 0), (20, 100)))}, margin=4))
    jitter = [(20 + (-1) ** i * 3, 50) for i in range(50)]
    assert walk(counter, (5, 50), *jitter, (30, 50), *jitter, (5, 50)) == [
        ("enter", "z"), ("out", "l"), ("leave", "z"), ("in", "l"),
    ]  # fmt: skip


def test_one_that_is_seen_inside_first_appears_and_one_that_is_lost_vanishes(counter_of):
    counter = counter_of(ZoneMap(zones={"z": Zone(SQUARE)}, forget_s=1.0))
    assert walk(counter, (50, 50), (52, 50), (54, 50)) == [("appear", "z")]
    assert counter.update(at(), 1.2, 12, HW) == []
    (event,) = counter.update(at(), 1.3, 13, HW)
    assert (event.kind, event.timestamp_s, event.dwell_s, event.frame) == ("vanish", 0.2, pytest.approx(0.2), 13)
    assert counter.counts["z"].inside == 0 and counter.update(at(), 9.0, 90, HW) == []


def test_the_ways_over_a_line(counter_of):
    counter = counter_of(ZoneMap(lines={"l": Line(((30, 50), (70, 50)))}))
    assert walk(counter, (50, 20), (50, 45), (50, 48), (50, 52), (50, 60)) == [("in", "l")]
    assert walk(counter, (50, 30), begin=10) == [("out", "l")]
    assert walk(counter, (5, 30), (5, 90), begin=20) == []  # round the end
    assert walk(counter, (40, 90), (40, 20), begin=30) == [("out", "l")]
    assert walk(counter, (10, 80), (90, 20), (90, 80), begin=40, track_id=2) == [("out", "l")]


def test_a_fast_one_is_not_missed(counter_of):
    lines = {str(x): Line(((x, 0), (x, 100))) for x in range(10, 100, 10)}
    assert len(walk(counter_of(ZoneMap(lines=lines)), (1, 50), (99, 50))) == 9


def test_classes_anchors_and_sizes(counter_of):
    zones = ZoneMap(
        zones={"p": Zone(SQUARE, classes=("person",)), "c": Zone(SQUARE, anchor="centre")}, size=(100, 100), margin=1
    )
    counter = counter_of(zones, ("car", "person"))
    assert walk(counter, (5, 5), (50, 50), class_id=0) == [("enter", "c")]
    assert walk(counter, (5, 5), (50, 50), track_id=2, class_id=1) == [("enter", "p"), ("enter", "c")]
    big = counter_of(zones, ("car", "person"))
    assert big.update(at((1, 250, 100)), 0, 0, (200, 500))[0].kind == "appear"  # (50, 50) of the map
    with pytest.raises(ConfigurationError, match="zones: p: the model has no class 'person'"):
        counter_of(zones, ("cat",))


def test_who_has_no_id_or_no_place_does_not_count(counter_of):
    counter = counter_of(ZoneMap(zones={"z": Zone(SQUARE)}))
    nowhere = at((-1, 50, 50), (3, np.nan, 50), (4, 50, np.inf))
    assert counter.update(nowhere, 0, 0, HW) == []


@pytest.mark.parametrize("seed", range(10))
def test_random_walks_are_counted_as_the_slow_counter_does(seed):
    """Polygons that may cross themselves, whole coordinates (ties on borders), ids that come and go."""
    rng = np.random.default_rng(seed)
    walks, steps = scaled(100), 60
    zones = {
        f"z{k}": Zone(
            tuple(map(tuple, rng.integers(0, 100, (rng.integers(3, 9), 2)).tolist())),
            classes=(1,) if k == 1 else None, anchor="centre" if k == 2 else "bottom",
        )
        for k in range(4)
    }  # fmt: skip
    ends = rng.integers(0, 100, (3, 2, 2)).tolist()
    lines = {f"l{k}": Line(tuple(map(tuple, ends[k])), classes=(0,) if k == 0 else None) for k in range(3)}
    size = None if seed % 2 else (100, 100)
    zone_map = ZoneMap(zones, lines, size=size, margin=float(rng.integers(0, 6)), forget_s=0.5)
    fast, slow = ZoneCounter(zone_map), SlowZoneCounter(zone_map)
    at_x = rng.integers(0, 100, (walks, 2)).astype(np.float64)
    classes = rng.integers(0, 2, walks).astype(np.int32)
    num_events = 0
    for step in range(steps):
        at_x = np.clip(at_x + rng.integers(-12, 13, at_x.shape), -10, 110)
        seen = np.flatnonzero(rng.random(walks) < (0.3 if step % 20 > 10 else 0.9))
        rng.shuffle(seen)
        boxes = np.concatenate([at_x[seen] - 3, at_x[seen] + 3], 1).astype(np.float32)
        ids = np.where(rng.random(len(seen)) < 0.05, -1, seen + 1)
        tracks = Tracks(boxes, np.ones(len(seen), np.float32), classes[seen], track_ids=ids)
        found = fast.update(tracks, step * 0.1, step, HW)
        wanted = slow.update(tracks, step * 0.1, step, HW)
        first = [event for event in found if event.kind == "vanish"]
        assert sorted(map(repr, first)) == sorted(repr(event) for event in wanted if event.kind == "vanish")
        assert found[len(first) :] == [event for event in wanted if event.kind != "vanish"]
        num_events += len(found)
    assert num_events > walks and fast.counts == slow.counts


def test_memory_does_not_grow_with_tracks_that_are_gone():
    counter = ZoneCounter(ZoneMap(zones={"z": Zone(SQUARE)}))
    for i in range(3000):
        counter.update(at((i + 1, 50, 50)), i * 0.5, i, HW)
    assert len(counter._last_seen) == 64 and len(counter._rows) <= 5
    counts = counter.counts["z"]
    assert counts.appear == 3000 and counts.vanish == 3000 - counts.inside


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zones: {a: {points: [[0, 0], [1, 0]]}}", "three or more, got 2"),
        ("zones: {a: {points: [[0, 0], [1, 0], [2, .nan]]}}", "finite|number"),
        ("zones: {a: {points: [[0, 0], [1, 0], [2, 1e9]]}}", "pixels of a picture"),
        ("lines: {a: {points: [[0, 0], [0, 0]]}}", "must differ"),
        ("lines: {a: {points: [[0, 0]]}}", "points"),
        ("zones: {a: {point: []}}", "unknown key 'zones.a.point'; did you mean points"),
        ("margin: 3", "zones or lines must be given"),
        ("zones: {a: {points: [[0, 0], [1, 0], [2, 1]]}}\nlines: {a: {points: [[0, 0], [1, 0]]}}", "both be named 'a'"),
        ("zones: {a: {points: [[0, 0], [1, 0], [2, 1]], anchor: middle}}", "anchor"),
        ("size: [0, 4]\nlines: {a: {points: [[0, 0], [1, 0]]}}", "size must be width and height"),
    ],
)
def test_files_that_are_refused(tmp_path, text, said):
    (tmp_path / "z.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_zones(tmp_path / "z.yaml")
    assert "z.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file(tmp_path):
    (tmp_path / "z.yaml").write_text(
        "size: [768, 576]\nmargin: 6\nzones:\n  yard: {points: [[0, 0], [9, 0], [9, 9]], classes: [person, 2]}\n"
        "lines:\n  door: {points: [[0, 0], [5, 5]], anchor: centre}\n"
    )
    zones = read_zones(tmp_path / "z.yaml")
    assert zones == ZoneMap(
        {"yard": Zone(((0, 0), (9, 0), (9, 9)), ("person", 2))}, {"door": Line(((0, 0), (5, 5)), None, "centre")},
        (768, 576), 6.0,
    )  # fmt: skip
