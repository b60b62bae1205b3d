"""Small networks of every family, and one thread for all of torch."""

from __future__ import annotations

import pytest
import torch

from yolokkn.models import build_model, preset

TASKS = ("detect", "segment", "pose", "segment-pose")

# Structures of the families at sizes that a test can afford.
TINY = {
    "yolovkkn-n": {"width": 1 / 16, "depth": 1 / 9},
    "yolovkkn2-p": {"width": 0.5},
    "yolovkkn2-n": {"width": 0.5},
    "yolov3": {"width": 1 / 32, "depth": 0.1},
    "yolov3-tiny": {"width": 1 / 16},
    "yolo-fastest-1.0": {"width": 0.5},
    "yolo-fastest-1.1": {"width": 0.5},
}
TASKS_OF = {"yolovkkn-n": TASKS, "yolovkkn2-p": TASKS, "yolovkkn2-n": ("segment-pose",)}
CASES = [(name, task) for name in TINY for task in TASKS_OF.get(name, ("detect",))]


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def tiny_spec(name, task="detect", num_classes=3, **values):
    names = [f"class{i}" for i in range(num_classes)]
    return preset(name, names, task, **{"imgsz": (64, 96), **TINY.get(name, {}), **values})


def tiny(name, task="detect", **values):
    """Build a network whose normalizations have statistics and whose head says something."""
    network = build_model(tiny_spec(name, task, **values))
    network.train()
    for _ in range(3):
        network(torch.rand(2, 3, *network.spec.imgsz))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return network
