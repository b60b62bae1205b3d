"""Runs on data and with options as users have them: other keypoints, damaged pictures, no splits, patience, more time."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from tests.data.files import write_instances, write_picture
from tests.training.overfitting import ALONE, tiny_config
from yolokkn.cli.export import summary_of
from yolokkn.data.collate import collate_targets
from yolokkn.data.sample import Sample
from yolokkn.errors import DataError, ModelError, SourceWarning
from yolokkn.training.checkpoint import load_checkpoint
from yolokkn.training.config import read_config
from yolokkn.training.display import Silence
from yolokkn.training.run import start


def config_of(data, project, **values):
    defaults = {"model": "yolovkkn2-p", "imgsz": 64, "warmup_epochs": 0, "epochs": 1, "batch": 2}
    return tiny_config(data=str(data), project=str(project), **{**defaults, **values})


def pose_set(root, *, count=5, flip=True):
    """Two pictures to train on and two to measure on, an object with keypoints on each."""
    for split in ("train", "val"):
        for i in range(2):
            write_picture(root / "images" / split / f"p{i}.png", seed=i)
            label = root / "labels" / split / f"p{i}.txt"
            label.parent.mkdir(parents=True, exist_ok=True)
            points = " ".join(f"{0.3 + 0.05 * k} {0.4 + 0.03 * k} 2" for k in range(count))
            label.write_text(f"0 0.5 0.5 0.6 0.6 {points}\n")
    yaml = f"names: [thing]\ntrain: images/train\nval: images/val\nkpt_shape: [{count}, 3]\n"
    (root / "data.yaml").write_text(yaml + (f"flip_idx: {list(range(count))}\n" if flip else ""))
    return root


def test_five_keypoints_are_measured(tmp_path):
    outcome = start(config_of(pose_set(tmp_path / "set"), tmp_path, task="pose"), ALONE, Silence())
    assert outcome.reason == "done"
    assert "keypoints_AP50" in outcome.figures


def test_a_mirror_needs_to_know_which_keypoints_change_places(tmp_path):
    data = pose_set(tmp_path / "set", flip=False)
    config = config_of(data, tmp_path, task="pose", flip_lr=0.5)
    with pytest.raises(DataError, match="which of its keypoints change places in a mirror"):
        start(config, ALONE, Silence())
    assert start(read_config({"flip_lr": 0}, config), ALONE, Silence()).reason == "done"


def test_a_pose_checkpoint_starts_a_run_without_keypoints(tmp_path):
    data = pose_set(tmp_path / "set")
    first = start(config_of(data, tmp_path, task="pose", val_split="none", name="pose"), ALONE, Silence())
    model = str(first.folder / "last.safetensors")
    second = start(config_of(data, tmp_path, task="detect", model=model, name="boxes"), ALONE, Silence())
    assert load_checkpoint(second.folder / "last.safetensors").manifest["model"].get("task", "detect") == "detect"


@pytest.mark.parametrize(
    ("key", "value"), [("weights", "gone.safetensors"), ("weights", "gone.pt"), ("model", "gone.pt")]
)
def test_weights_that_are_none_are_refused(tmp_path, key, value):
    data = pose_set(tmp_path / "set")
    with pytest.raises((FileNotFoundError, ModelError)):
        start(config_of(data, tmp_path, **{key: str(tmp_path / value)}), ALONE, Silence())
    with pytest.raises(ModelError, match=r"a checkpoint must be a \.safetensors file"):
        start(config_of(data, tmp_path, **{key: str(tmp_path)}), ALONE, Silence())


def test_a_picture_that_cannot_be_decoded_is_left_out_of_the_measurement(tmp_path):
    data = pose_set(tmp_path / "set")
    content = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))[1].tobytes()
    middle = content.index(b"\xff\xc4") + 4
    broken = content[:middle] + b"\xff" * 12 + content[middle + 12 :]  # its Huffman tables
    (data / "images" / "val" / "p0.png").unlink()
    (data / "images" / "val" / "p0.jpg").write_bytes(broken)
    with pytest.warns(SourceWarning, match=r"left out of the measurement: .*p0\.jpg"):
        outcome = start(config_of(data, tmp_path, plots=True), ALONE, Silence())
    assert outcome.reason == "done"
    assert json.loads((outcome.folder / "metrics.json").read_text())["bbox"]["num_images"] == 1


def test_pictures_of_both_parts_are_refused(tmp_path):
    masks = [np.pad(np.ones((20, 20), np.uint8), 20)] * 2
    data = write_instances(tmp_path / "set", masks)
    with pytest.raises(DataError, match="2 of the 2 pictures of 'val' are those of 'train' too"):
        start(config_of(data, tmp_path), ALONE, Silence())
    assert start(config_of(data, tmp_path, val_split="none"), ALONE, Silence()).reason == "done"
    same = config_of(data, tmp_path, val_split="train", name="same")  # asked for by name: to see it overfit
    assert start(same, ALONE, Silence()).reason == "done"


def test_patience_counts_measured_epochs_and_leaves_all_pictures(tmp_path):
    config = config_of(
        pose_set(tmp_path / "set"), tmp_path, epochs=30, val_every=4, patience=3, lr0=0.0, plots=True, val_conf=0.99
    )
    outcome = start(config, ALONE, Silence())
    assert (outcome.reason, outcome.epochs) == ("patience", 8)
    names = ("history", "pr", "f1", "confusion", "classes", "samples")
    assert all((outcome.folder / f"{name}.png").is_file() for name in names)


def test_a_finished_run_of_minutes_goes_on_for_more(tmp_path):
    config = config_of(pose_set(tmp_path / "set"), tmp_path, time=0.02, val_split="none")
    first = start(config, ALONE, Silence())
    steps = load_checkpoint(first.folder / "last.safetensors").manifest["step"]
    again = start(read_config({"resume": str(first.folder), "time": 0.06}, config), ALONE, Silence())
    assert load_checkpoint(again.folder / "last.safetensors").manifest["step"] > steps


def test_an_export_tells_the_figures_of_its_training(tmp_path):
    outcome = start(config_of(pose_set(tmp_path / "set"), tmp_path), ALONE, Silence())
    told = summary_of(load_checkpoint(outcome.folder / "best.safetensors").manifest)
    assert told["figures"] == pytest.approx(outcome.figures)
    assert told["epoch"] == 1


def test_a_mask_too_small_for_the_bitmap_teaches_nothing():
    tiny = np.array([[10, 10], [11, 10], [11, 11], [10, 11]], np.float32)
    large = np.array([[8, 8], [40, 8], [40, 40]], np.float32)
    sample = Sample(
        np.zeros((64, 64, 3), np.uint8),
        np.array([[10, 10, 11, 11], [8, 8, 40, 40]], np.float32),
        np.zeros(2, np.int64),
        masks=((tiny,), (large,)),
    )
    targets = collate_targets([sample], (64, 64))
    assert targets.masks[1].any()
    assert targets.has_mask.tolist() == [bool(targets.masks[0].any()), True] == [False, True]
