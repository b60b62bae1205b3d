"""A spec is JSON there and back; whatever it does not know or mean is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.models.conftest import CASES, tiny_spec
from yolokkn.models import ModelSpec, preset, presets

GOOD = preset("yolovkkn-n", ["cat", "dög"], "segment-pose")


@pytest.mark.parametrize(("name", "task"), CASES)
def test_json_there_and_back(name, task):
    spec = tiny_spec(name, task)
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_every_preset_goes_through_json():
    for factory in presets().values():
        spec = factory(["a"])
        assert ModelSpec.from_json(spec.to_json()) == spec


def test_names_survive_and_lists_become_tuples():
    again = ModelSpec.from_json(GOOD.to_json())
    assert again.class_names == ("cat", "dög") and again.keypoint_shape == (17, 3) and hash(again) == hash(GOOD)
    assert preset("yolovkkn-n", ["a"], imgsz=[320, 320]).imgsz == (320, 320)


WRONG = [
    ({"chanels": [1]}, ValueError, "'chanels' must be a known key; did you mean channels"),
    ({"family": "yolovkk"}, ValueError, "family must be one of .*; did you mean yolovkkn"),
    ({"task": "classify"}, ValueError, "task must be one of"),
    ({"class_names": []}, ValueError, "class_names must have 1 to"),
    ({"class_names": "cat"}, TypeError, "class_names must be a sequence, got str"),
    ({"class_names": [1]}, TypeError, "class_names must be str"),
    ({"imgsz": [640]}, ValueError, "imgsz must have 2 to 2 entries"),
    ({"imgsz": 640}, TypeError, "imgsz must be a sequence, got int"),
    ({"imgsz": [640, 100]}, ValueError, "imgsz must be multiples of 32, got 640x100"),
    ({"imgsz": [640.0, 640]}, TypeError, "imgsz must be whole numbers"),
    ({"keypoint_shape": None}, ValueError, "keypoint_shape must be given"),
    ({"keypoint_shape": [17, 2]}, ValueError, "keypoint_shape must be within 3 and 3"),
    ({"task": "detect"}, ValueError, "keypoint_shape must be given for tasks with keypoints alone"),
    ({"channels": [1, 2]}, ValueError, "channels must be 5 numbers, got 2"),
    ({"channels": [8, 8, 8, 8, 0]}, ValueError, "channels must be within 1"),
    ({"width": "2"}, TypeError, "width must be numbers, got str"),
    ({"width": float("nan")}, ValueError, "width must be within"),
    ({"depth": True}, TypeError, "depth must be numbers"),
    ({"anchors": None}, ValueError, "anchors must be given for family yolovkkn"),
    ({"anchors": [[[1, 2, 3]]]}, ValueError, "anchors must have 2 to 2 entries"),
    ({"anchors": [[[1, -2]]]}, ValueError, "anchors must be within"),
    ({"scale_xy": [1.05]}, ValueError, r"scale_xy must be one entry a level \(3\), got 1"),
    ({"formula": "distance"}, ValueError, "formula must be v5 or darknet"),
    ({"activation": "rellu"}, ValueError, "activation must be one of .*; did you mean relu"),
    ({"reg_max": 8}, ValueError, "reg_max must be left out, got a value that family yolovkkn does not read"),
    ({"letterbox": "crop"}, ValueError, "letterbox must be one of"),
    ({"cfg": "[net]"}, ValueError, "cfg must be left out"),
]


@pytest.mark.parametrize(("change", "kind", "message"), WRONG)
def test_wrong_values_are_refused(change, kind, message):
    with pytest.raises(kind, match=f"^ModelSpec: .*{message}"):
        ModelSpec.from_dict({**GOOD.to_dict(), **change})


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[1]", TypeError), ("{", ValueError), ("", ValueError), ("[" * 99999, ValueError), ("{}", ValueError)],
)
def test_text_that_is_no_spec_is_refused(text, kind):
    with pytest.raises(kind, match=r"^ModelSpec: "):
        ModelSpec.from_json(text)


def test_replace_checks_again():
    with pytest.raises(ValueError, match="imgsz must be multiples"):
        replace(GOOD, imgsz=(33, 32))


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match=r"preset: name must be one of .*; did you mean yolovkkn-s"):
        preset("yolovkkn_s", ["a"])
    with pytest.raises(TypeError, match="class_names must be a sequence of str, got str"):
        preset("yolovkkn-s", "person")
