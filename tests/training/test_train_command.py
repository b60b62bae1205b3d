"""`yolokkn train` as a newcomer uses it: drawn data, a few steps, and everything is there afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from yolokkn.data.toy import ToyScene, ToySet, write_toy
from yolokkn.training.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
PICTURES = ("history.png", "pr.png", "f1.png", "confusion.png", "samples.png", "classes.png", "train_batch0.png")


def train(*arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", *launcher, "yolokkn", "train", *arguments]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=280)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    scene = ToyScene(hw=(96, 96), persons=True, max_objects=3)
    return write_toy(tmp_path_factory.mktemp("toy") / "set", ToySet(num_train=8, num_val=3, scene=scene))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["detect", "segment-pose"])
def test_a_run_leaves_everything_behind(toy, tmp_path, task):
    done = train(
        f"data={toy}", f"project={tmp_path}", "model=yolovkkn2-p", f"task={task}", "imgsz=64x96", "epochs=2", "batch=4",
        "workers=1", "name=street", *(("classes=person",) if "pose" in task else ()),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "street"
    assert f"everything is in {folder}" in done.stdout
    assert f"yolokkn export {folder / 'best.safetensors'}" in done.stdout
    for name in PICTURES:
        assert cv2.imread(str(folder / name)) is not None, name
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["step", "step", "epoch"] * 2
    assert 0 <= rows[-1]["wait_share"] <= 1
    assert "waiting for data" in done.stderr
    figures = json.loads((folder / "metrics.json").read_text())
    assert set(figures) - {"epoch"} == ({"bbox"} if task == "detect" else {"bbox", "segm", "keypoints"})
    last, best = (load_checkpoint(folder / f"{name}.safetensors") for name in ("last", "best"))
    assert last.manifest["model"] == best.manifest["model"]
    assert last.manifest["epoch"] == 2
    assert not best.select("optimizer")


@pytest.mark.slow
def test_the_exported_file_gives_the_numbers_that_training_gave(toy, tmp_path):
    done = train(
        f"data={toy}", f"project={tmp_path}", "model=yolovkkn2-p", "imgsz=64x96", "epochs=12", "batch=4", "workers=0",
        "val_split=train", "val_every=0", "plots=false", "mosaic=0", "lr0=0.003",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    from yolokkn.deploy import load_checkpoint_model
    from yolokkn.evaluation.coco import CocoDataset, evaluate_coco
    from yolokkn.runtime.evaluate import collect_coco_results

    model = load_checkpoint_model(tmp_path / "run" / "last.safetensors", score_threshold=0.001, multi_label=True)
    dataset = CocoDataset.load(toy / "annotations" / "instances_train.json")
    metrics = evaluate_coco(dataset, collect_coco_results(model, dataset, toy / "train"))
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())["bbox"]["figures"]
    assert figures["AP50"] > 0
    for name in ("AP", "AP50", "AP75", "AR100"):
        assert metrics[name] == pytest.approx(figures[name], abs=1e-6), name


@pytest.mark.slow
def test_two_processes_by_torchrun(toy, tmp_path):
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "-m")
    done = train(
        f"data={toy}", f"project={tmp_path}", "model=yolovkkn2-p", "imgsz=64", "epochs=1", "batch=4", "workers=0",
        "sync_bn=true", "device=cpu", "plots=false", launcher=launcher,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert not (tmp_path / "run2").exists()
    assert done.stdout.count("everything is in") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("modle=yolovkkn-s",), "unknown option 'modle'; did you mean --model?"),
        (("data=nowhere",), "nowhere"),
        ((), "data must be given"),
        (("data={toy}", "model=yolovkkn2-x"), "did you mean yolovkkn2-"),
        (("data={toy}", "classes=dragon"), "classes must be of the data"),
        (("data={toy}", "freeze=nose"), "freeze: must name parts of the network"),
        (("device=tpu",), "device: must be auto, cpu, cuda or cuda:N"),
        (("epochs=0",), "epochs must be 1 or more, got 0"),
        (("resume=nowhere",), "resume: no checkpoint at"),
    ],
)
def test_mistakes_get_one_clear_line(toy, tmp_path, capsys, monkeypatch, arguments, message):
    from yolokkn.cli import main

    monkeypatch.chdir(tmp_path)
    code = main(["train", *(a.format(toy=toy) for a in arguments), "imgsz=64"])
    assert code in (1, 2)
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1]
    assert "Traceback" not in "\n".join(errors)
