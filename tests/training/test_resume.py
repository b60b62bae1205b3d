"""A run that is cut off and goes on equals one that was never cut off, bit for bit; a kill leaves the last checkpoint whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from yolokkn.data.toy import ToyScene, ToySet, write_toy
from yolokkn.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "model=yolovkkn2-p", "imgsz=64", "epochs=3", "batch=4", "threads=1", "device=cpu", "val_images=2", "plots=false",
    "accumulate=2", "plain_share=0.5", "multi_scale=0.4",
)  # fmt: skip
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "set"
    return write_toy(folder, ToySet(num_train=22, num_val=2, scene=ToyScene(hw=(96, 96), max_objects=3)))


def command(toy: Path, project: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "yolokkn", "train", f"data={toy}", f"project={project}", *SETTINGS, *more]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(arguments, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def straight(toy, tmp_path_factory):
    project = tmp_path_factory.mktemp("straight")
    run(command(toy, project, "workers=0"))
    return load_file(project / "run" / "last.safetensors")


def steps_logged(folder: Path) -> int:
    log = folder / "metrics.jsonl"
    return sum('"kind": "step"' in line for line in log.read_text().splitlines()) if log.exists() else 0


def start_and_stop(arguments: list[str], folder: Path, after_steps: int, number: int, group: bool = False) -> int:
    process = subprocess.Popen(
        arguments, env=environment(), cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while steps_logged(folder) < after_steps and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, number)
    return process.wait(timeout=120)


def assert_equal(straight: dict[str, torch.Tensor], path: Path) -> None:
    resumed = load_file(path)
    assert resumed.keys() == straight.keys()
    assert not [name for name in straight if not torch.equal(straight[name], resumed[name])]


@pytest.mark.parametrize(
    ("number", "code", "after", "workers", "group"),
    [(signal.SIGTERM, 143, 1, 0, False), (signal.SIGINT, 130, 4, 1, True)],
    ids=["SIGTERM in the first epoch", "Ctrl-C to the whole group, with workers"],
)
def test_an_interrupted_run_goes_on(toy, straight, tmp_path, number, code, after, workers, group):
    folder = tmp_path / "run"
    assert start_and_stop(command(toy, tmp_path, f"workers={workers}"), folder, after, number, group) == code
    cut = load_checkpoint(folder / "last.safetensors").manifest
    assert after <= cut["step"] < 9
    done = run([sys.executable, "-m", "yolokkn", "train", f"resume={folder}", "workers=1"])
    assert "going on after step" in done.stderr
    assert_equal(straight, folder / "last.safetensors")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 10))  # each step once
    assert [row["epoch"] for row in rows if row["kind"] == "epoch"] == [1, 2, 3]


def torchrun(*arguments: str) -> list[str]:
    """Return the command of two processes; the port is any that is free."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *arguments]


def test_two_processes_go_on_where_they_were_stopped(toy, tmp_path):
    arguments = command(toy, tmp_path, "workers=0")[2:]
    run(torchrun(*arguments, "name=straight"))
    folder = tmp_path / "cut"
    start_and_stop(torchrun(*arguments, "name=cut"), folder, 2, signal.SIGTERM, group=True)
    assert 2 <= load_checkpoint(folder / "last.safetensors").manifest["step"] < 9
    run(torchrun("yolokkn", "train", f"resume={folder}"))
    straight, resumed = (load_file(tmp_path / n / "last.safetensors") for n in ("straight", "cut"))
    means = [
        name for name in straight if "running" in name
    ]  # kept as their mean over the processes: equal but for rounding
    for name in means:
        torch.testing.assert_close(resumed.pop(name), straight.pop(name), rtol=1e-5, atol=1e-6)
    assert means and resumed.keys() == straight.keys()
    assert not [name for name in straight if not torch.equal(straight[name], resumed[name])]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "step"] == list(range(1, 10))


def test_a_run_goes_on_without_the_checkpoints_that_it_began_with(toy, straight, tmp_path):
    run([a for a in command(toy, tmp_path, "epochs=1", "workers=0", "name=first") if a != "epochs=3"])
    first, folder = tmp_path / "first" / "best.safetensors", tmp_path / "run"
    begun = [a for a in command(toy, tmp_path, "workers=0", f"weights={first}") if not a.startswith("model=")]
    begun = [*begun, f"model={first}"]
    assert start_and_stop(begun, folder, 4, signal.SIGINT) == 130
    first.unlink()
    done = run([sys.executable, "-m", "yolokkn", "train", f"resume={folder}"])
    assert "going on after step" in done.stderr and "tensors taken" not in done.stderr
    assert load_checkpoint(folder / "last.safetensors").manifest["step"] == 9


def test_a_killed_run_goes_on_from_its_last_checkpoint(toy, straight, tmp_path):
    folder = tmp_path / "run"
    arguments = command(toy, tmp_path, "workers=0", "save_minutes=0.0001")  # at every step
    assert start_and_stop(arguments, folder, 5, signal.SIGKILL) == -signal.SIGKILL
    run([sys.executable, "-m", "yolokkn", "train", f"resume={folder}"])
    assert_equal(straight, folder / "last.safetensors")


def test_finished_weights_are_no_run_to_go_on_with(toy, tmp_path, straight):
    run([a for a in command(toy, tmp_path, "epochs=1", "workers=0") if a != "epochs=3"])
    best = tmp_path / "run" / "best.safetensors"
    done = subprocess.run(
        [sys.executable, "-m", "yolokkn", "train", f"resume={best}"], env=environment(), cwd=ROOT, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "holds only the finished weights" in done.stderr
