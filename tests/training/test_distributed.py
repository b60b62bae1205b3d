"""One process equals two with the same global batch; two real processes over gloo."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from yolokkn.training.distributed import pick_device

ROOT = Path(__file__).parents[2]


def train(target: Path, world_size: int, *args: str) -> list[dict[str, torch.Tensor]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(world_size):
        env = os.environ | {
            "RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.training.equal_worker", str(target), *args]
        processes.append(subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return [load_file(f"{target}.rank{rank}") for rank in range(world_size)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "loss", "reduction", "accumulate", "steps"),
    [
        ("synced", "yolofive", "sum", 1, 3),
        ("frozen", "kkn20230730", "mean", 2, 3),
        (
            "synced",
            "task_aligned",
            "targets",
            1,
            1,
        ),  # its assignment follows the predictions, and ties fall by rounding
    ],
)
def test_two_processes_equal_one(tmp_path, norm, loss, reduction, accumulate, steps):
    args = (norm, loss, reduction, str(accumulate), str(steps))
    (alone,) = train(tmp_path / "one", 1, *args)
    first, second = train(tmp_path / "two", 2, *args)
    moved = apart = 0.0
    for name in [n.removeprefix("before/") for n in alone if n.startswith("before/")]:
        one, two = alone[f"train/{name}"], first[f"train/{name}"]
        assert torch.equal(two, second[f"train/{name}"]), name  # the processes never drift apart
        moved += float((one - alone[f"before/{name}"]).double().square().sum())
        apart += float((one - two).double().square().sum())
    assert moved > 1e-6  # there was something to differ in
    assert apart < (1e-4 if norm == "synced" else 1e-6) * moved  # batch statistics of few values blow rounding up
    for name in [n for n in alone if n.startswith("terms/")]:
        torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=1e-5)
    if norm == "synced":  # statistics are those of the whole batch
        for name in [n for n in alone if n.startswith("train/") and "running" in n]:
            torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_batch_norm_over_processes_is_exact(tmp_path):
    (alone,) = train(tmp_path / "one", 1, "norm")
    for rank, part in enumerate(train(tmp_path / "two", 2, "norm")):
        for name in ("running_mean", "running_var", "weight_grad", "bias_grad"):
            torch.testing.assert_close(part[name], alone[name], rtol=1e-12, atol=1e-12)
        rows = slice(3 * rank, 3 * rank + 3)
        torch.testing.assert_close(part["output"], alone["output"][rows], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(part["input_grad"], alone["input_grad"][rows], rtol=1e-10, atol=1e-12)


def test_devices_are_checked():
    assert pick_device("cpu") == torch.device("cpu")
    for wrong in ("tpu", "cuda:x", "cpuu"):
        with pytest.raises(ValueError, match="device: must be"):
            pick_device(wrong)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="one of the 0 GPUs"):
            pick_device("cuda")
