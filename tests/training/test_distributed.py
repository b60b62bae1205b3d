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
    ("norm", "loss", "reduction", "accumulate"),
    [("synced", "task_aligned", "targets", 1), ("frozen", "kkn20230730", "sum", 2), ("frozen", "yolofive", "mean", 1)],
)
def test_two_processes_equal_one(tmp_path, norm, loss, reduction, accumulate):
    args = (norm, loss, reduction, str(accumulate))
    (alone,) = train(tmp_path / "one", 1, *args)
    first, second = train(tmp_path / "two", 2, *args)
    moved = apart = 0.0
    for name in [n.removeprefix("before/") for n in alone if n.startswith("before/")]:
        one, two = alone[f"train/{name}"], first[f"train/{name}"]
        assert torch.equal(two, second[f"train/{name}"]), name  # the processes never drift apart
        moved += float((one - alone[f"before/{name}"]).double().square().sum())
        apart += float((one - two).double().square().sum())
    assert moved > 1e-6  # there was something to differ in
    assert apart < 1e-6 * moved  # a thousandth of the way that the weights went, in three steps
    for name in [n for n in alone if n.startswith("terms/")]:
        torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=1e-5)
    if norm == "synced":  # statistics are those of the whole batch
        for name in [n for n in alone if n.startswith("train/") and "running" in n]:
            torch.testing.assert_close(first[name], alone[name], rtol=1e-3, atol=1e-5)


def test_devices_are_checked():
    assert pick_device("cpu") == torch.device("cpu")
    for wrong in ("tpu", "cuda:x", "cpuu"):
        with pytest.raises(ValueError, match="device: must be"):
            pick_device(wrong)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="one of the 0 GPUs"):
            pick_device("cuda")
