"""A run in this process: how signals, other lengths, other settings and mistakes end."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from tests.training.overfitting import ALONE, tiny_config
from yolokkn.configuration import read_yaml
from yolokkn.data.loader import Loader
from yolokkn.data.toy import ToyScene, ToySet, write_toy
from yolokkn.errors import ModelError
from yolokkn.training.checkpoint import load_checkpoint, save_checkpoint
from yolokkn.training.config import read_config
from yolokkn.training.display import Silence
from yolokkn.training.run import start


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "set"
    return write_toy(folder, ToySet(num_train=8, num_val=2, scene=ToyScene(hw=(64, 64), max_objects=2)))


def config_of(toy, project, **values):
    return tiny_config(
        data=str(toy), project=str(project), model="yolovkkn2-p", imgsz=64, warmup_epochs=0,
        **{"epochs": 2, "batch": 4, "val_split": "none", **values},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def a_signal_that_nobody_takes_fails_the_test():
    """Otherwise it would end the whole run of tests without a word."""

    def fail(number, frame):
        raise AssertionError(f"signal {number} came when no run took it")

    before = signal.signal(signal.SIGTERM, fail)
    yield
    signal.signal(signal.SIGTERM, before)


class Interrupter(Silence):
    """Sends a signal when something begins."""

    def __init__(self, title):
        self.title = title

    def begin(self, title, total, done=0):
        if self.title in title:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_while_measuring_interrupts_the_run(toy, tmp_path):
    config = config_of(toy, tmp_path, epochs=3, val_split="val")
    outcome = start(config, ALONE, Interrupter("measuring"))
    assert (outcome.reason, outcome.signal_number, outcome.epochs) == ("interrupted", signal.SIGTERM, 1)
    assert load_checkpoint(outcome.folder / "last.safetensors").manifest["epoch"] == 1
    again = read_config({"resume": str(outcome.folder)}, config)
    assert start(again, ALONE, Silence()).reason == "done"


def test_a_signal_in_the_last_measurement_leaves_a_finished_run(toy, tmp_path):
    outcome = start(config_of(toy, tmp_path, epochs=1, val_split="val"), ALONE, Interrupter("measuring"))
    assert outcome.reason == "done"


@pytest.fixture(scope="module")
def two_epochs(toy, tmp_path_factory):
    config = config_of(toy, tmp_path_factory.mktemp("runs"))
    return config, start(config, ALONE, Silence()).folder


@pytest.fixture
def finished(two_epochs, tmp_path):
    """A run of two epochs, to be changed at will."""
    config, folder = two_epochs
    return config, shutil.copytree(folder, tmp_path / "run")


def test_a_finished_run_goes_on_for_more_epochs(finished):
    config, folder = finished
    longer = read_config({"resume": str(folder), "epochs": 4}, config)
    assert start(longer, ALONE, Silence()).epochs == 4
    kept = read_yaml(folder / "config.yaml")
    assert kept["schedule"]["epochs"] == 4, "the file says how the run was set last"
    assert kept["runtime"]["resume"] == ""
    assert load_checkpoint(folder / "last.safetensors").manifest["step"] == 8


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 2}, "resume: batch must stay 4, got 2; it decides the pictures and their order"),
        ({"accumulate": 2}, "resume: accumulate must stay 1, got 2"),
        ({"optimizer": "sgd"}, "resume: optimizer must stay adamw, got sgd"),
        ({"imgsz": 96}, r"resume: imgsz must stay \[64, 64\], got \[96, 96\]"),
        ({"name": "other"}, "resume: name must stay run, got other"),
        ({"classes": "ball"}, "resume: classes must stay unset"),
    ],
)
def test_what_a_run_cannot_change_on_the_way_is_refused(finished, change, said):
    config, folder = finished
    before = (folder / "config.yaml").read_text()
    with pytest.raises(ValueError, match=said):
        start(read_config({"resume": str(folder), **change}, config), ALONE, Silence())
    assert (folder / "config.yaml").read_text() == before


def test_another_number_of_processes_is_refused(finished):
    config, folder = finished
    path = folder / "last.safetensors"
    checkpoint = load_checkpoint(path)
    manifest = dict(checkpoint.manifest)
    manifest["state"] = {**manifest["state"], "generators": manifest["state"]["generators"] * 2}
    save_checkpoint(path, checkpoint.tensors, manifest)
    with pytest.raises(ModelError, match="the run had 2 processes, and now there are 1"):
        start(read_config({"resume": str(folder), "epochs": 4}, config), ALONE, Silence())


def test_other_pictures_are_refused(finished, tmp_path):
    config, folder = finished
    path = folder / "last.safetensors"
    checkpoint = load_checkpoint(path)
    state = dict(checkpoint.manifest["state"])
    state["position"] = {**state["position"], "batch": 3}
    save_checkpoint(path, checkpoint.tensors, {**checkpoint.manifest, "state": state})
    with pytest.raises(ModelError, match="its epoch is at batch 3, and the data gives 2"):
        start(read_config({"resume": str(folder), "epochs": 4}, config), ALONE, Silence())


@pytest.mark.parametrize("workers", [0, 1])
def test_even_a_run_of_one_epoch_ends_without_mosaic(toy, tmp_path, monkeypatch, workers):
    begun = []
    whole = Loader.__iter__

    def note(loader):
        begun.append((loader.config.mosaic, loader.start_batch))
        return whole(loader)

    monkeypatch.setattr(Loader, "__iter__", note)
    config = config_of(toy, tmp_path, epochs=1, batch=2, plain_share=0.5, workers=workers, mosaic=1.0)
    outcome = start(config, ALONE, Silence())
    assert begun == [(1.0, 0), (0.0, 2)]
    assert load_checkpoint(outcome.folder / "last.safetensors").manifest["step"] == 4
    begun.clear()
    start(replace(config, schedule=replace(config.schedule, plain_share=0.0)), ALONE, Silence())
    assert begun == [(1.0, 0)]


@pytest.mark.parametrize(
    ("given", "said"), [({"model": "yolovkkn2-x"}, "did you mean"), ({"freeze": "nose"}, "freeze: must name parts")]
)
def test_a_mistake_leaves_no_run_behind(toy, tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        start(read_config(given, config_of(toy, tmp_path / "runs")), ALONE, Silence())
    assert not (tmp_path / "runs").exists()


def test_the_input_size_is_the_networks_own_unless_it_is_said(toy, tmp_path):
    from yolokkn.training.config import ModelConfig
    from yolokkn.training.setup import Given, make_spec

    assert make_spec(ModelConfig("yolovkkn2-p"), "detect", Given()).imgsz == (384, 384)
    assert make_spec(ModelConfig("yolovkkn2-p", imgsz=(64, 96)), "detect", Given()).imgsz == (64, 96)
    folder = start(config_of(toy, tmp_path, epochs=1), ALONE, Silence()).folder
    stage = ModelConfig(str(folder / "last.safetensors"))
    assert make_spec(stage, "detect", Given.read(stage)).imgsz == (64, 64)


BROKEN = {
    "step is text": ("position", {"step": "x"}),
    "step is negative": ("position", {"step": -1}),
    "epoch is a fraction": ("position", {"epoch": 1.5}),
    "sums are a list": ("position", {"sums": [1]}),
    "an unknown key": ("position", {"spet": 1}),
    "steps are text": ("progress", {"total_steps": "9"}),
    "no steps": ("progress", {"total_steps": 0}),
    "a share above 1": ("progress", {"anchor_share": 7.0}),
    "anchored beyond the end": ("progress", {"anchor_step": 10**9}),
    "updates are true": ("ema_updates", True),
    "scaler is text": ("scaler", "x"),
    "generators are none": ("generators", []),
    "generators are text": ("generators", ["x"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_state_is_refused(finished, name):
    config, folder = finished
    key, change = BROKEN[name]
    path = folder / "last.safetensors"
    checkpoint = load_checkpoint(path)
    state = dict(checkpoint.manifest["state"])
    state[key] = {**state[key], **change} if isinstance(change, dict) else change
    save_checkpoint(path, checkpoint.tensors, {**checkpoint.manifest, "state": state})
    refuse(config, folder)


def refuse(config, folder):
    with pytest.raises(ModelError, match=r"^last\.safetensors: ") as caught:
        start(read_config({"resume": str(folder), "epochs": 4}, config), ALONE, Silence())
    assert "\n" not in str(caught.value)


def test_broken_figures_and_tensors_are_refused(finished):
    config, folder = finished
    path = folder / "last.safetensors"
    whole = load_checkpoint(path)
    for figures in ("x", [1], {"AP": "x"}, {"AP": None}):
        save_checkpoint(path, whole.tensors, {**whole.manifest, "figures": figures})
        refuse(config, folder)
    names = [n for n in whole.tensors if n.startswith("optimizer/")]
    average = next(n for n in names if n.endswith("/exp_avg") and whole.tensors[n].ndim == 4)
    step = next(n for n in names if n.endswith("/step"))
    drawn = next(n for n in whole.tensors if n.startswith("generators/") and whole.tensors[n].numel() > 1000)
    for changed in (
        {average: whole.tensors[average][:1]},
        {average: whole.tensors[average].to(torch.int32)},
        {step: torch.ones(3)},
        {average.replace("exp_avg", "exp_avgg"): whole.tensors[average]},
        {drawn: whole.tensors[drawn][:7]},
    ):
        save_checkpoint(path, {**whole.tensors, **changed}, whole.manifest)
        refuse(config, folder)
