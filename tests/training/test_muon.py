"""Muon against its formula by singular values, and AdamW against torch's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.overfitting import overfit
from yolokkn.training.config import read_config
from yolokkn.training.muon import Muon, orthogonalise
from yolokkn.training.optimizer import build_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate


def by_singular_values(matrix: np.ndarray) -> np.ndarray:
    """What the quintic does to a matrix: it maps each singular value, after all are divided by the matrix's norm."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.sqrt(np.square(s).sum())
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ vt


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8), (1, 9)])
def test_singular_values_become_one_and_their_vectors_stay(shape):
    matrices = torch.randn((3, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = orthogonalise(matrices)
    for matrix, one in zip(matrices.numpy(), found.numpy(), strict=True):
        np.testing.assert_allclose(one, by_singular_values(matrix), atol=1e-5)
        values = np.linalg.svd(one, compute_uv=False)
        assert 0.6 < values.min() and values.max() < 1.3
    assert not orthogonalise(torch.zeros(1, 4, 4)).any()


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, bias=False, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 5, 1),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def train(network, optimizer, steps, first=0):
    for step in range(first, first + steps):
        images = torch.randn((2, 3, 12, 12), generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()


def muon_of(network, lr=0.02):
    return build_optimizer(network, read_config({"optimizer": "muon", "lr0": lr, "weight_decay": 0.1}).optimizer)


def test_filters_that_are_normalised_afterwards_are_made_orthogonal():
    groups = muon_of(small_network()).param_groups
    assert [g["names"] for g in groups if g["orthogonal"]] == [["0.weight"]]
    assert sorted(n for g in groups if not g["orthogonal"] for n in g["names"]) == sorted(
        ["1.weight", "1.bias", "3.weight", "4.weight", "4.bias", "5.weight", "5.bias"]
    )


def test_two_steps_of_a_filter_follow_the_formula():
    network = small_network()
    optimizer, filter_ = muon_of(network), network[0].weight
    mean, wanted = np.zeros((8, 27)), filter_.detach().double().numpy().reshape(8, 27)
    for step in range(2):
        train(network, optimizer, 1, first=step)
        gradient = filter_.grad.double().numpy().reshape(8, 27)
        mean = 0.95 * mean + 0.05 * gradient
        ahead = 0.05 * gradient + 0.95 * mean
        wanted = wanted * (1 - 0.02 * 0.1) - 0.02 * np.sqrt(27) * by_singular_values(ahead)
        np.testing.assert_allclose(filter_.detach().numpy().reshape(8, 27), wanted, atol=1e-4)


def test_an_update_has_the_size_of_the_learning_rate():
    network = small_network()
    before = network[0].weight.detach().clone()
    optimizer = build_optimizer(network, read_config({"optimizer": "muon", "lr0": 0.02, "weight_decay": 0}).optimizer)
    train(network, optimizer, 1)
    moved = (network[0].weight.detach() - before).square().mean().sqrt()
    assert 0.014 < float(moved) < 0.026


def test_the_rest_is_adamw():
    ours, theirs = small_network(), small_network()
    groups = [{"params": list(ours.parameters())[1:], "weight_decay": 0.1, "orthogonal": False}]
    train(ours, Muon(groups, lr=0.01), 4)
    train(theirs, torch.optim.AdamW(list(theirs.parameters())[1:], lr=0.01, weight_decay=0.1, foreach=True), 4)
    for mine, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=0)


def test_it_goes_on_as_if_it_had_not_stopped():
    straight = small_network()
    train(straight, muon_of(straight), 6)
    first = small_network()
    optimizer = muon_of(first)
    train(first, optimizer, 3)
    second = copy.deepcopy(first)
    resumed = muon_of(second)
    kept = optimizer_tensors(optimizer)
    assert {"0.weight/momentum_buffer", "5.weight/exp_avg", "5.weight/step"} <= set(kept)
    restore_optimizer(resumed, kept)
    train(second, resumed, 3, first=3)
    for mine, their in zip(second.parameters(), straight.parameters(), strict=True):
        torch.testing.assert_close(mine, their, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"must be momentum_buffer .* got 0\.weight/exp_avg"):
        restore_optimizer(resumed, {"0.weight/exp_avg": torch.zeros(8, 3, 3, 3)})


def test_the_learning_rate_is_that_of_both_kinds():
    optimizer = muon_of(small_network())
    set_learning_rate(optimizer, 0.25)
    assert {g["lr"] for g in optimizer.param_groups} == {0.25} and {g["orthogonal"] for g in optimizer.param_groups} == {
        True, False,
    }  # fmt: skip


def test_it_learns_pictures_by_heart(tmp_path):
    ap50, steps = overfit(tmp_path, "yolovkkn2-p", "task_aligned", max_steps=150, optimizer="muon", lr0=0.002)
    assert ap50 >= 0.95, steps
