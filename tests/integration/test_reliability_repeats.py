"""The same input gives the same output, byte for byte; and what the C++ trackers give equals their reference."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest

import yolokkn
from tests.strategies import SCALE, scaled
from yolokkn import tracking
from yolokkn.geometry import xywh_to_xyxy
from yolokkn.tracking import reference
from yolokkn.tracking.mot_files import read_detections, read_seqinfo

SEQUENCES = ["mot17/MOT17-02", "mot17/MOT17-05", "mot17/MOT17-09", "mot17/MOT17-13"] + [
    f"dancetrack/dancetrack{n}" for n in ("0005", "0030", "0077", "0081")
]
REFERENCE_FRAMES = 60  # the reference is slow; a nightly run takes SCALE times as many


def frames_of(folder):
    """The boxes of each frame: detections, or the ground truth where there is nothing else."""
    path = folder / "det" / "det.txt"
    rows = read_detections(path if path.is_file() else folder / "gt" / "gt.txt")
    table = np.array([(r.frame, r.left, r.top, r.width, r.height, r.confidence) for r in rows])
    order = np.argsort(table[:, 0], kind="stable")
    table = table[order]
    boxes, scores = xywh_to_xyxy(table[:, 1:5]).astype(np.float32), table[:, 5].astype(np.float32)
    bounds = np.searchsorted(table[:, 0], np.arange(1, int(table[-1, 0]) + 2))
    return [(boxes[a:b], scores[a:b], np.zeros(b - a, np.int32)) for a, b in pairwise(bounds)]


def digest(tracker, frames, frame_rate):
    state = hashlib.sha256()
    for i, frame in enumerate(frames):
        state.update(tracker.update(*frame, i / frame_rate).tobytes())
        if i % 10 == 0:
            live = tracker.tracks()
            state.update(live.boxes.tobytes() + live.states.tobytes() + live.ages.tobytes())
    return state.hexdigest()


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_ten_repeats_are_equal_and_the_reference_agrees(sequence, shared_data):
    folder = shared_data / sequence
    frames, rate = frames_of(folder), read_seqinfo(folder).frame_rate or 20.0
    assert len(frames) > 200
    for name in tracking.TRACKERS:
        tracker = tracking.create(name, frame_rate=rate)
        first = digest(tracker, frames, rate)
        for repeat in range(9):
            tracker.reset()
            other = tracker if repeat % 2 else tracking.create(name, frame_rate=rate)
            assert digest(other, frames, rate) == first
        tracker.reset()
        slow = reference.TRACKERS[name](tracker.settings, tracker.frame_rate, tracker.class_policy)
        highest = 0
        for i, frame in enumerate(frames[: int(REFERENCE_FRAMES * max(SCALE, 1))]):
            got = tracker.update(*frame, i / rate)
            np.testing.assert_array_equal(got, slow.update(*frame, i / rate))
            highest = max(highest, int(got.max(initial=0)))
        assert highest > 3


def test_detections_of_one_image_are_the_same_bytes(shared_data):
    content = shared_data / "weights" / "yolox" / "yolox_nano.onnx"
    from yolokkn.runtime.sources import open_source

    with open_source(shared_data / "videos" / "vtest.avi") as source:
        image = next(source).image
    seen = set()
    for _ in range(2):
        model = yolokkn.load(content, threads=1, score_threshold=0.05)
        for _ in range(scaled(5)):
            found = model(image)
            seen.add(found.boxes.tobytes() + found.scores.tobytes() + found.class_ids.tobytes())
    assert len(seen) == 1 and len(found) > 5
