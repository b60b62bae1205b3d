"""Small networks of every task, briefly fitted to one picture, so that they detect something."""

from __future__ import annotations

import json
from functools import cache

import cv2
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


def label_pictures(folder, model):
    """Write two pictures as COCO's val2017 into a folder, labelled with what a model itself finds in them."""
    images, annotations = [], []
    for name in ("val2017", "annotations"):
        (folder / name).mkdir(parents=True)
    for i in range(2):
        picture = np.ascontiguousarray(np.roll(PICTURE, 11 * i, 0))
        cv2.imwrite(str(folder / "val2017" / f"{i}.png"), picture)
        images.append({"id": i + 1, "file_name": f"{i}.png", "height": 90, "width": 120})
        found = model(picture)
        for box, class_id in zip(found.boxes.tolist(), found.class_ids.tolist(), strict=True):
            x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": i + 1, "category_id": class_id + 1, "iscrowd": 0,
                    "bbox": [x, y, width, height], "area": width * height,
                }
            )  # fmt: skip
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
