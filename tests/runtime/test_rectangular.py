"""`rect=True`: the input follows the frame's aspect, in files of fixed size too."""

import numpy as np
import pytest

import yolokkn
from tests.recorded import recorded_model
from tests.runtime.test_model import growing_v8
from yolokkn.errors import ModelError
from yolokkn.geometry import Letterbox
from yolokkn.runtime.backend_choice import BackendChoice
from yolokkn.runtime.sources import open_source


def test_a_real_file_of_fixed_size(shared_data):
    """The padding is gone, the picture lies where it lay, and what is found is nearly the same."""
    path = shared_data / "weights" / "yolox" / "yolox_nano.onnx"
    fixed, model = yolokkn.load(path), yolokkn.load(path, rect=True)
    assert model.rectangular and not fixed.rectangular
    assert (model.name, model.layout.name, model.class_names) == (fixed.name, fixed.layout.name, fixed.class_names)
    before, after = fixed.letterbox_for((576, 768)), model.letterbox_for((576, 768))
    assert (before.input_hw, after.input_hw) == ((416, 416), (320, 416))
    assert before.resized_hw == after.resized_hw and (after.pad_top, after.pad_left) == (0, 0)
    assert model.letterbox_for((768, 576)).input_hw == (416, 320)
    with open_source(shared_data / "videos" / "vtest.avi") as source:
        image = next(iter(source)).image
    wanted, found = fixed(image), model(image)
    sure = wanted[wanted.scores > 0.5]
    iou = yolokkn.ops.pairwise_iou(sure.boxes, found.boxes)
    assert len(sure) >= 3 and (iou.max(1) > 0.85).all()
    np.testing.assert_array_equal(found.class_ids[iou.argmax(1)], sure.class_ids)
    tall = np.rot90(image).copy()
    assert model.workspace().process(tall) is not None  # the other way round, on the same network


def test_a_square_picture_gives_what_it_gave(shared_data):
    path = shared_data / "weights" / "yolox" / "yolox_nano.onnx"
    image = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    wanted, found = (yolokkn.load(path, score_threshold=0.01, rect=rect)(image) for rect in (False, True))
    assert len(wanted) == len(found)
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.01)


def test_free_sizes_follow_the_frame_anyhow():
    assert yolokkn.load(growing_v8(), rect=True).rectangular


def test_built_in_sizes_are_refused():
    noise = np.random.default_rng(0).random((1, 6, 84), np.float32)
    content = recorded_model({"output0": noise}, metadata={"task": "detect", "names": "{0: 'a', 1: 'b'}"})
    with pytest.raises(ModelError, match="rect: <bytes> has its sizes built in; export it with free ones"):
        yolokkn.load(content, rect=True)


def test_stretched_pictures_have_no_aspect():
    with pytest.raises(ValueError, match=r"rect: .* takes stretched pictures"):
        yolokkn.load(growing_v8(), letterbox="stretch", rect=True)
    with pytest.raises(ValueError, match="rule must be letterbox or topleft"):
        Letterbox.fit_rectangle((10, 20), (64, 64), 32, "stretch")


@pytest.mark.parametrize("rule", ["letterbox", "topleft"])
def test_the_smallest_input_that_holds_the_frame(rule):
    for image_hw in ((1080, 1920), (1920, 1080), (500, 500), (1, 3000), (333, 777)):
        tight = Letterbox.fit_rectangle(image_hw, (416, 416), 32, rule)
        loose = Letterbox.fit(image_hw, (416, 416), rule)
        assert abs(np.subtract(tight.resized_hw, loose.resized_hw)).max() <= 1
        assert all(
            have % 32 == 0 and have - need < 32 + 1 for have, need in zip(tight.input_hw, tight.resized_hw, strict=True)
        )
        assert tight.padding_share <= loose.padding_share + 1e-9


@pytest.mark.parametrize("chosen", ["onnxruntime", "openvino"])
def test_the_quickest_backend_is_chosen_once(chosen, monkeypatch, shared_data):
    """Not anew for the graph of free sizes, which another backend might run a little otherwise."""
    pytest.importorskip(chosen)
    asked = []

    def choose(open_model, key, **_):
        asked.append(key)
        return BackendChoice(chosen, "the test says so"), open_model(chosen)

    monkeypatch.setattr("yolokkn.runtime.backend_choice.choose_backend", choose)
    model = yolokkn.load(shared_data / "weights" / "yolox" / "yolox_nano.onnx", rect=True, backend="auto")
    assert model.rectangular and model.backend.name == chosen and len(asked) == 1
    assert model.backend.choice == f"{chosen}: the test says so"
