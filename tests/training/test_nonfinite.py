"""A number that is none stops the training before it does harm, and says where it came from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.overfitting import ALONE, batch_of, draw_pictures, tiny_config, tiny_network
from yolokkn.training.guard import NonFiniteError
from yolokkn.training.losses import build_loss
from yolokkn.training.losses.base import LossValue
from yolokkn.training.stepper import Stepper


@pytest.fixture
def batch():
    return batch_of(draw_pictures())


def make_stepper(tmp_path, loss=None):
    torch.manual_seed(0)
    network = tiny_network("yolovkkn2-p")
    real = build_loss("task_aligned", network.head)
    return Stepper(network, loss(real) if loss else real, tiny_config(), ALONE, tmp_path, 10)


def weights(stepper):
    return {name: value.clone() for name, value in stepper.network.named_parameters()}


def test_a_bad_term_is_named_and_the_step_is_not_taken(tmp_path, batch):
    calls = []

    def failing(real):
        def loss(outputs, targets):
            value = real(outputs, targets)
            calls.append(1)
            if len(calls) < 3:
                return value
            terms = {**value.terms, "dfl": torch.tensor(float("nan"))}
            return LossValue(value.total * float("nan"), terms, value.num_targets)

        return loss

    stepper = make_stepper(tmp_path, failing)
    for step in range(2):
        stepper.step([batch], 1.0, number=step, epoch=0)
    before = weights(stepper)
    with pytest.raises(
        NonFiniteError, match=r"NaN or infinity in term dfl, total at step 2 \(epoch 1\), images picture0"
    ):
        stepper.step([batch], 1.0, number=2, epoch=0)
    assert all(torch.equal(value, before[name]) for name, value in weights(stepper).items())
    folder = tmp_path / "nonfinite_step0000002_rank0"
    report = json.loads((folder / "report.json").read_text())
    assert report["image_ids"] == ["picture0", "picture1", "picture2", "picture3"]
    assert report["non_finite_terms"] == ["dfl", "total"]
    assert report["terms"]["dfl"] == "nan"
    assert report["non_finite_parameters"] == []
    saved = np.load(folder / "batch.npz")
    assert np.array_equal(saved["images"], batch.images.numpy())
    assert np.array_equal(saved["boxes"], batch.targets.boxes.numpy())
    assert len(list(folder.glob("picture*.png"))) == 4


def test_a_bad_gradient_is_found_where_the_loss_is_fine(tmp_path, batch):
    stepper = make_stepper(tmp_path)
    parameter = next(p for p in stepper.network.parameters())
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(stepper)
    with pytest.raises(NonFiniteError, match="NaN or infinity in the gradient at step 0"):
        stepper.step([batch], 1.0, number=0, epoch=0)
    assert all(torch.equal(value, before[name]) for name, value in weights(stepper).items())
    report = json.loads((tmp_path / "nonfinite_step0000000_rank0" / "report.json").read_text())
    assert report["non_finite_gradients"]
    assert report["non_finite_terms"] == []


def test_bad_weights_are_named(tmp_path, batch):
    stepper = make_stepper(tmp_path)
    name, parameter = next(iter(stepper.network.named_parameters()))
    with torch.no_grad():
        parameter.fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        stepper.step([batch], 1.0, number=0, epoch=0)
    report = json.loads((tmp_path / "nonfinite_step0000000_rank0" / "report.json").read_text())
    assert report["non_finite_parameters"] == [name]


def test_accumulated_batches_give_the_mean_gradient(tmp_path, batch):
    stepper = make_stepper(tmp_path)
    gradients = []
    for group in ([batch], [batch, batch]):
        torch.manual_seed(0)
        other = make_stepper(tmp_path)
        for module in other.network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        other._clip = 0.0
        other.optimizer.step = lambda *a, **k: None
        other.step(group, 1.0, number=0, epoch=0)
        gradients.append([p.grad.clone() for p in other.network.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)
    assert stepper is not None


def test_pictures_without_objects_are_trained_on(tmp_path, batch):
    empty = batch_of(
        [replace(s, boxes=s.boxes[:0], class_ids=s.class_ids[:0], ignored=s.ignored[:0]) for s in draw_pictures()]
    )
    report = make_stepper(tmp_path).step([empty], 1.0, number=0, epoch=0)
    assert np.isfinite(list(report.terms.values())).all()
    assert report.num_targets == 0
