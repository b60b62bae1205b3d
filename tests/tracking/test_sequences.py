"""Whole sequences: found, read, tracked, thinned, gaps filled."""

import numpy as np
import pytest

from tests.tracking.scenes import crowd
from yolokkn import tracking
from yolokkn.tracking.mot_files import MotRow, write_rows
from yolokkn.tracking.sequences import (
    SequenceDetections,
    TrackRows,
    fill_gaps,
    find_detections,
    read_cameras,
    read_sequence,
    track_sequence,
)


def tracked(*rows):
    """Rows of frame, id, left."""
    frames, ids, lefts = (np.array(column) for column in zip(*rows, strict=True))
    places = np.stack([lefts, lefts * 2, np.full(len(lefts), 10), 20 + lefts], 1).astype(np.float64)
    return TrackRows(frames, ids, places, np.linspace(0.5, 0.9, len(ids)), np.arange(len(ids)))


def test_gaps_are_filled_on_straight_lines():
    filled = fill_gaps(tracked((1, 1, 0.0), (1, 2, 7.0), (4, 1, 30.0), (5, 1, 40.0), (20, 2, 9.0)), 5)
    assert list(zip(filled.frames.tolist(), filled.ids.tolist(), filled.places[:, 0].tolist(), strict=True)) == [
        (1, 1, 0.0), (1, 2, 7.0), (2, 1, 10.0), (3, 1, 20.0), (4, 1, 30.0), (5, 1, 40.0), (20, 2, 9.0),
    ]  # fmt: skip
    assert filled.rows.tolist() == [0, 1, -1, -1, 2, 3, 4]
    np.testing.assert_allclose(filled.places[2], [10, 20, 10, 30])
    np.testing.assert_allclose(filled.scores[2], 0.5)


@pytest.mark.parametrize(("most", "want"), [(0, 0), (3, 0), (4, 3), (100, 3)])
def test_longer_gaps_stay(most, want):
    rows = tracked((1, 5, 0.0), (5, 5, 4.0))
    assert len(fill_gaps(rows, most)) == 2 + want
    empty = TrackRows(*(np.zeros(0, np.int64),) * 2, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    assert len(fill_gaps(empty, most)) == 0


def test_cameras_are_joined_over_frames_left_out():
    moves = {f: np.array([[1.0, 0, f], [0, 1.0, -f]]) for f in (2, 3, 4)}
    columns = np.array([[f, -1, 10, 10, 5, 5, 0.9] for f in (4, 1, 2, 3)], np.float64)
    sequence = SequenceDetections.from_columns("s", columns)
    sequence = SequenceDetections(**{**sequence.__dict__, "cameras": moves})
    thin = sequence.thinned(np.array([1, 4]))
    assert thin.frames.tolist() == [1, 4]
    assert list(thin.cameras) == [4]
    np.testing.assert_allclose(thin.cameras[4], [[1, 0, 9], [0, 1, -9]])


def test_thinned_frames_keep_their_times():
    """An object of 8 px a frame, seen in every fourth: its track is predicted over the true time."""
    columns = np.array([[f, -1, 8.0 * f, 10, 24, 80, 0.9] for f in range(1, 60)])
    sequence = SequenceDetections.from_columns("s", columns)
    thin = sequence.thinned(np.array([*range(1, 20), *range(20, 60, 4)]))
    rows = track_sequence(thin, tracking.create("bytetrack"))
    assert set(rows.ids.tolist()) == {1}
    assert rows.frames.tolist() == thin.shown.tolist()


def test_equals_updates_by_hand():
    scenes = list(crowd(3, 20, 15))
    columns = np.array(
        [
            (frame, -1, x1, y1, x2 - x1, y2 - y1, score)
            for frame, (boxes, scores, _) in enumerate(scenes, 1)
            for (x1, y1, x2, y2), score in zip(boxes.tolist(), scores.tolist(), strict=True)
        ]
    )
    rows = track_sequence(SequenceDetections.from_columns("s", columns), tracking.create("kkn"))
    tracker, want = tracking.create("kkn"), []
    for boxes, scores, _ in scenes:
        want += tracker.update(boxes, scores, np.zeros(len(boxes), np.int32)).tolist()
    ids = np.full(len(columns), -1)
    ids[rows.rows] = rows.ids
    assert ids.tolist() == want


def test_sequences_are_found(tmp_path, monkeypatch):
    det = [MotRow(1, -1, 1, 2, 3, 4, 0.5)]
    for name in ("b", "a"):
        (tmp_path / "set" / name / "det").mkdir(parents=True)
        write_rows(tmp_path / "set" / name / "det" / "det.txt", det)
        (tmp_path / "plain").mkdir(exist_ok=True)
        write_rows(tmp_path / "plain" / f"{name}.txt", det)
    assert list(find_detections(tmp_path / "set")) == ["a", "b"]
    assert list(find_detections(tmp_path / "set" / "a")) == ["a"]
    assert list(find_detections(tmp_path / "set" / "a" / "det" / "det.txt")) == ["a"]
    assert list(find_detections(tmp_path / "plain")) == ["a", "b"]
    assert list(find_detections(tmp_path / "plain" / "b.txt")) == ["b"]
    with pytest.raises(FileNotFoundError, match=r"must be a file, or hold SEQUENCE/det/det\.txt"):
        find_detections(tmp_path / "set" / "a" / "nothing")
    monkeypatch.chdir(tmp_path / "set" / "a")
    assert list(find_detections("det/det.txt")) == ["a"]


def test_what_lies_beside_the_detections_is_read(tmp_path):
    folder = tmp_path / "seq"
    (folder / "det").mkdir(parents=True)
    write_rows(folder / "det" / "det.txt", [MotRow(3, -1, 1, 2, 3, 4, 0.5)])
    (folder / "seqinfo.ini").write_text("[Sequence]\nframeRate=14\nseqLength=9\n")
    (folder / "gmc.txt").write_text("2 1.5 0 3 0 1.5 -4\n\n3,1,0,0,0,1,0\n")
    sequence = read_sequence(folder / "det" / "det.txt", "seq")
    assert (sequence.name, sequence.num_frames, sequence.frame_rate, list(sequence.cameras)) == ("seq", 9, 14.0, [2, 3])
    np.testing.assert_array_equal(sequence.cameras[2], [[1.5, 0, 3], [0, 1.5, -4]])
    assert read_sequence(folder / "det" / "det.txt", with_cameras=False).cameras == {}
    bare = tmp_path / "bare" / "det"  # what lies beside the ground truth serves where these have nothing of their own
    bare.mkdir(parents=True)
    write_rows(bare / "det.txt", [MotRow(3, -1, 1, 2, 3, 4, 0.5)])
    other = read_sequence(bare / "det.txt", folder=folder)
    assert other.frame_rate == 14.0 and list(other.cameras) == [2, 3]


@pytest.mark.parametrize(
    "line", ["1 1 0 0 0 1", "1 1 0 0 0 1 x", "1.5 1 0 0 0 1 0", "nan 1 0 0 0 1 0", "-1 1 0 0 0 1 0", "inf 1 0 0 0 1 0"]
)
def test_refuses_other_lines(tmp_path, line):
    path = tmp_path / "gmc.txt"
    path.write_text("1 1 0 0 0 1 0\n" + line + "\n")
    with pytest.raises(ValueError, match=r"read_cameras: .*gmc\.txt:2 must"):
        read_cameras(path)
