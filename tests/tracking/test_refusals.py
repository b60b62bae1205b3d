"""What the trackers refuse, and what importing them does not load."""

import subprocess
import sys

import numpy as np
import pytest

from tests.tracking.scenes import detected
from yolokkn import tracking

BOX = [[10, 10, 50, 90]]


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        (
            {"name": "bytetrak"},
            ValueError,
            "must be one of sort, bytetrack, botsort, ocsort, cbiou, kkn, got 'bytetrak'; did you mean 'bytetrack'",
        ),
        ({"name": "sort", "maxage": 3}, ValueError, "got 'maxage'; did you mean 'max_age'"),
        ({"name": "bytetrack", "match_thresh": 1.5}, ValueError, "match_thresh must be within 0 and 1, got 1.5"),
        ({"name": "bytetrack", "match_thresh": np.nan}, ValueError, "match_thresh must be within"),
        ({"name": "bytetrack", "match_thresh": "1"}, TypeError, "match_thresh must be a number, got str"),
        ({"name": "bytetrack", "track_buffer": -1}, ValueError, "track_buffer must be within"),
        ({"name": "bytetrack", "track_low_thresh": 0.55}, ValueError, "must not exceed track_high_thresh"),
        ({"name": "bytetrack", "fuse_score": 1}, TypeError, "fuse_score must be a bool"),
        ({"name": "sort", "min_hits": 0}, ValueError, "min_hits must be within"),
        ({"name": "sort", "min_hits": 2.0}, TypeError, "min_hits must be an int"),
        ({"name": "sort", "frame_rate": 0}, ValueError, "frame_rate must be within"),
        ({"name": "sort", "class_policy": "strickt"}, ValueError, "got 'strickt'; did you mean 'strict'"),
    ],
)
def test_refuses_settings(kwargs, error, text):
    with pytest.raises(error, match=text):
        tracking.create(**kwargs)


@pytest.mark.parametrize("argument", [0, 1, 2])
@pytest.mark.parametrize("bad", [None, [1.0], np.zeros((2, 4)), np.zeros((1, 4), np.int64), np.zeros((5,), ">f4")])
def test_refuses_arrays(argument, bad):
    arrays = list(detected(BOX))
    arrays[argument] = bad
    with pytest.raises((TypeError, ValueError), match=r"update: (boxes|scores|class_ids) must"):
        tracking.create("sort").update(*arrays)


def test_refuses_other_lengths_and_strides():
    boxes, scores, class_ids = detected(BOX * 2)
    tracker = tracking.create("sort")
    with pytest.raises(ValueError, match=r"scores must have shape \(2,\), got \(1,\)"):
        tracker.update(boxes, scores[:1], class_ids)
    with pytest.raises(ValueError, match="boxes must be C-contiguous"):
        tracker.update(np.zeros((4, 4), np.float32)[::2], scores, class_ids)


def test_import_is_light():
    code = "import sys, yolokkn.tracking as t; print([m for m in ('scipy', 'torch', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
