"""What keeps up with a source is measured, chosen in the order of what it loses, and said."""

import numpy as np
import pytest

import yolokkn
from yolokkn.errors import ModelError
from yolokkn.runtime.cadence import EveryNth, WithinBudget
from yolokkn.runtime.pipeline import PipelineConfig
from yolokkn.runtime.realtime import expected_interval, fewest_frames, frame_ms, keep_up

CONFIG = PipelineConfig(num_requests=2, num_workers=2)


class Ways:
    """Opens a packaged model, and remembers in which ways it was asked to."""

    def __init__(self, refused=()):
        self.asked, self.refused = [], refused

    def __call__(self, is_quickest, is_rect):
        self.asked.append((is_quickest, is_rect))
        if (is_quickest, is_rect) in self.refused:
            raise ModelError("this way does not exist")
        model = yolokkn.load("person-vehicle", backend="openvino" if is_quickest else None, threads=2)
        if not is_rect:
            return yolokkn.load(
                "person-vehicle", backend="openvino" if is_quickest else None, threads=2, letterbox="topleft"
            )
        return model


def test_what_keeps_up_is_left_alone():
    ways = Ways()
    pace = keep_up(ways, CONFIG, budget_ms=1e4, frame_hw=(360, 640))
    assert ways.asked == [(False, False)] and pace.detect_every == pace.cadence.every == 1
    assert pace.cadence.budget_ms == 1e4 and pace.reason.endswith("the network sees every frame")
    assert pace.reason.startswith("a frame may take 10000.0 ms; onnxruntime at 384 x 384 as it is: ")


def test_every_way_is_tried_before_frames_are_carried():
    pytest.importorskip("openvino", reason="OpenVINO (extra openvino) is not installed")
    ways = Ways()
    pace = keep_up(ways, CONFIG, budget_ms=1e-3, frame_hw=(360, 640))
    assert ways.asked == [(False, False), (True, False), (True, True)]
    assert pace.detect_every == 8 and "this machine cannot keep up: the network sees one frame in 8" in pace.reason
    assert "at 224 x 384 with an input of the frame's aspect" in pace.reason
    assert pace.model.letterbox_for((360, 640)).input_hw == (224, 384)  # a third less to compute


def test_a_frame_that_fills_the_input_has_nothing_to_cut_off():
    ways = Ways()
    keep_up(ways, CONFIG, budget_ms=1e-3, frame_hw=(384, 384))
    assert (True, True) not in ways.asked


def test_ways_that_do_not_exist_are_left_out_and_the_first_must():
    ways = Ways(refused=[(True, False), (True, True)])
    pace = keep_up(ways, CONFIG, budget_ms=1e-3, frame_hw=(360, 640))
    assert pace.model.backend.name == "onnxruntime" and pace.reason.count("nothing better") == 2
    with pytest.raises(ModelError):
        keep_up(Ways(refused=[(False, False)]), CONFIG, budget_ms=1e-3)


def test_the_rate_of_the_source_is_the_budget():
    pace = keep_up(Ways(), CONFIG, frame_rate=4.0, frame_hw=(90, 160))
    assert pace.cadence.budget_ms == 250.0
    with pytest.raises(ValueError, match="budget_ms must be above 0"):
        keep_up(Ways(), CONFIG, budget_ms=0.0)


def test_expected_intervals():
    model = yolokkn.load("person-vehicle", threads=2)
    assert expected_interval(None, model, CONFIG) == 1
    assert expected_interval(EveryNth(4), model, CONFIG) == 4
    assert expected_interval(WithinBudget(1e4), model, CONFIG, (90, 160)) == 1
    assert expected_interval(WithinBudget(1e-3), model, CONFIG, (90, 160)) == 8
    assert [fewest_frames(taken, 100.0) for taken in (85.0, 86.0, 170.0, 1e9)] == [1, 2, 2, 8]
    assert frame_ms(model, np.zeros((90, 160, 3), np.uint8), 2) > 0
