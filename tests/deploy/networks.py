"""Small networks of every task, briefly fitted to one picture, so that they detect something."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import nn

from yolokkn.models import Network, build_model, preset
from yolokkn.training.checkpoint import save_checkpoint

HW = (96, 128)
CASES = [
    ("yolovkkn-n", "detect"),
    ("yolovkkn2-p", "detect"),
    ("yolovkkn2-p", "segment"),
    ("yolovkkn-n", "segment"),
    ("yolovkkn2-p", "pose"),
    ("yolovkkn2-p", "segment-pose"),
]
PICTURE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)


@cache
def fitted(name: str, task: str) -> Network:
    """A network that gives some scores above 0.3 and others far below; its normalisation has seen a picture."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = build_model(preset(name, ["person", "car"], task, imgsz=HW))
    images = torch.from_numpy(np.random.default_rng(1).random((2, 3, *HW), np.float32))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    network.train()
    for _ in range(4):
        outputs = network(images)
        wanted = torch.full_like(outputs.classes, -4.0)
        wanted[:, ::7] = 1.5
        loss = nn.functional.mse_loss(outputs.classes, wanted)
        if outputs.objectness is not None:
            loss = loss + nn.functional.mse_loss(outputs.objectness, torch.ones_like(outputs.objectness) * 2)
        for extra in (outputs.mask_coeffs, outputs.keypoints, outputs.prototypes):
            if extra is not None:
                loss = loss + (extra - torch.randn(extra.shape)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimizer.step()
    return network.eval()


def save(network: Network, path) -> None:
    tensors = {f"model/{name}": value for name, value in network.state_dict().items()}
    save_checkpoint(path, tensors, {"model": network.spec.to_dict(), "metrics": {"AP": 0.25}, "epoch": 4})
