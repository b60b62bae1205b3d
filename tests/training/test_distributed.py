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

from tests.training.equal_worker import CASES, run_cases
from yolokkn.training.distributed import World, pick_device

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """What every case gives, of one process (this one) and of two."""
    target = tmp_path_factory.mktemp("cases")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(2):
        env = os.environ | {
            "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.training.equal_worker", str(target)]
        processes.append(subprocess.Popen(command, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    run_cases(World(0, 1, torch.device("cpu")), target)
    torch.set_num_threads(before)
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return lambda case: [load_file(target / f"{case}.{part}") for part in ("0of1", "0of2", "1of2")]


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_two_processes_equal_one(cases, case):
    alone, first, second = cases(case)
    moved = apart = 0.0
    for name in [n.removeprefix("before/") for n in alone if n.startswith("before/")]:
        one, two = alone[f"train/{name}"], first[f"train/{name}"]
        assert torch.equal(two, second[f"train/{name}"]), name  # the processes never drift apart
        moved += float((one - alone[f"before/{name}"]).square().sum())
        apart += float((one - two).square().sum())
    assert moved > 1e-6  # there was something to differ in
    assert apart < 1e-10 * moved
    for name in [n for n in alone if n.startswith("terms/")]:
        torch.testing.assert_close(first[name], alone[name], rtol=1e-5, atol=1e-6)
    if case.startswith("synced"):  # statistics are those of the whole batch
        for name in [n for n in alone if n.startswith("train/") and "running" in n]:
            torch.testing.assert_close(first[name], alone[name], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_batch_norm_over_processes_is_exact(cases):
    alone, *parts = cases("norm")
    for rank, part in enumerate(parts):
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
        with pytest.raises(ValueError, match="cpu where torch sees no GPU"):
            pick_device("cuda")
