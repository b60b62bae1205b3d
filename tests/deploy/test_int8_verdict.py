"""The verdict on int8: files that are calibrated well pass on real pictures, broken ones fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import yolokkn
from yolokkn.deploy import calibration_feeds, quantize_int8
from yolokkn.graph import read_model
from yolokkn.runtime.assets import resolve_model
from yolokkn.runtime.parity import compare_models
from yolokkn.runtime.parity_summary import summarize
from yolokkn.runtime.sources.images import read_image

pytest.importorskip("onnx", reason="onnx is not installed")


def scaled(feeds, factor):
    return [{name: value * np.float32(factor) for name, value in feed.items()} for feed in feeds]


@pytest.fixture(scope="module", params=["yolox_nano", "person-vehicle"])
def judged(request, tmp_path_factory):
    """The summaries of a sound file, and of ones that are broken on purpose, over some pictures of COCO's val2017."""
    data = request.getfixturevalue("shared_data")
    path = (
        data / "weights/yolox/yolox_nano.onnx" if request.param == "yolox_nano" else Path(resolve_model(request.param))
    )
    content = read_model(path).to_bytes()
    model = yolokkn.load(content, threads=1)
    feeds = list(calibration_feeds(model, str(data / "coco/train2017"), 16))
    top = max(value.max() for feed in feeds for value in feed.values())
    files = {"sound": quantize_int8(content, feeds, target="cpu")}
    files["scaled"] = quantize_int8(content, scaled(feeds[:6], 255 if top <= 1 else 1 / 255), target="cpu")
    if request.param == "yolox_nano":  # whose depthwise channels differ too much for one scale
        files["depthwise"] = quantize_int8(content, feeds[:6], target="cpu", depthwise=True)
    models = {name: yolokkn.load(file, threads=1) for name, file in files.items()}
    pictures = sorted((data / "coco/val2017").glob("*.jpg"))[::14]
    results = [
        compare_models(models, model, read_image(path), precision="int8", picture=path.name) for path in pictures
    ]
    return {summary.name: summary for summary in summarize(results)}


def test_a_sound_file_passes_on_every_picture(judged):
    sound = judged["sound"]
    assert sound.num_pictures == 15 and sound.agrees, (sound.first_stages, sound.shortfalls)
    assert sound.agreement.num_kept > 0.75 * sound.agreement.num_reference and sound.agreement.share > 0.8


def test_a_broken_one_fails_on_most(judged):
    for name, broken in judged.items():
        if name != "sound":
            assert 2 * broken.num_agree < broken.num_pictures and broken.shortfalls, name
            assert max(broken.first_stages, key=broken.first_stages.get) == "network"
