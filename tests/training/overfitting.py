"""Four drawn pictures, and a network that must learn them by heart."""

from __future__ import annotations

import numpy as np
import torch

from yolokkn.data.batch import Batch
from yolokkn.data.collate import collate
from yolokkn.data.sample import Sample
from yolokkn.evaluation.coco import evaluate_coco
from yolokkn.geometry import Letterbox
from yolokkn.models import build_model, preset
from yolokkn.models.outputs import decode_boxes
from yolokkn.ops import pairwise_iou
from yolokkn.training.config import TrainConfig, read_config
from yolokkn.training.distributed import World
from yolokkn.training.losses import build_loss
from yolokkn.training.network_model import network_model
from yolokkn.training.schedule import plan_schedule
from yolokkn.training.stepper import Stepper
from yolokkn.training.validate import build_truth, result_rows, truth_rows

CLASS_NAMES = ("square", "disc")
SIDE = 96
ANCHORS = {
    2: (((14, 14), (18, 18), (22, 28)), ((28, 22), (34, 34), (44, 42))),
    3: (((14, 14), (16, 20), (20, 16)), ((22, 22), (24, 28), (28, 24)), ((32, 28), (36, 38), (44, 42))),
}
ALONE = World(0, 1, torch.device("cpu"))


def draw_pictures(count: int = 4, seed: int = 3, side: int = SIDE) -> list[Sample]:
    """Draw squares and discs of two colours on noise, some distance apart."""
    rng = np.random.default_rng(seed)
    samples = []
    for n in range(count):
        image = rng.integers(90, 120, (side, side, 3)).astype(np.uint8)
        boxes, classes = [], []
        for quarter in rng.permutation(4)[: 2 + n % 2]:
            half = side // 2
            w, h = rng.integers(16, half - 8, 2)
            x = int(quarter % 2) * half + int(rng.integers(1, half - w))
            y = int(quarter // 2) * half + int(rng.integers(1, half - h))
            kind = int(rng.integers(0, 2))
            yy, xx = np.mgrid[:side, :side] + 0.5
            disc = ((xx - x - w / 2) / (w / 2)) ** 2 + ((yy - y - h / 2) / (h / 2)) ** 2 <= 1
            square = (xx >= x) & (xx <= x + w) & (yy >= y) & (yy <= y + h)
            image[disc if kind else square] = (40, 40, 220) if kind else (220, 120, 30)
            boxes.append((x, y, x + w, y + h))
            classes.append(kind)
        labels = np.array(boxes, np.float32), np.array(classes, np.int64)
        samples.append(Sample(image, *labels, image_id=f"picture{n}"))
    return samples


def batch_of(samples: list[Sample]) -> Batch:
    hw = samples[0].image.shape[:2]
    return collate(samples, hw, [Letterbox.fit(hw, hw)] * len(samples))


def tiny_network(name: str, side: int = SIDE, **values):
    """Build a preset for the pictures; anchors are fitted to their objects."""
    levels = len(preset(name, CLASS_NAMES).anchors or ())
    if levels:
        values["anchors"] = ANCHORS[levels]
    return build_model(preset(name, CLASS_NAMES, imgsz=(side, side), **values))


def tiny_config(**values) -> TrainConfig:
    return read_config({"ema": False, "threads": 1, "device": "cpu", "plots": False, "workers": 0, **values})


def overfit(
    tmp_path, name: str, loss_name: str, *, max_steps: int, side: int = SIDE, values=(), options=(), **config
) -> tuple[float, int]:
    """Train on the four pictures; returns AP50 through the runtime, and the steps that were taken."""
    torch.manual_seed(0)
    samples = draw_pictures(side=side)
    batch = batch_of(samples)
    network = tiny_network(name, side, **dict(values))
    loss = build_loss(loss_name, network.head, **dict(options))
    stepper = Stepper(network, loss, tiny_config(**config), ALONE, tmp_path, max_steps)
    schedule = plan_schedule(max_steps, 1, warmup_share=0.05, final=0.05)
    stepper.train_mode()
    for step in range(max_steps):
        stepper.step([batch], schedule.factor(step), number=step, epoch=step)
        if step >= 30 and step % 10 == 9 and is_learnt(stepper.ema.network, batch):
            ap50 = measure(stepper.ema.network, samples)  # the runtime has the last word
            if ap50 >= 0.95:
                return ap50, step + 1
    return measure(stepper.ema.network, samples), max_steps


@torch.no_grad()
def is_learnt(network, batch: Batch) -> bool:
    """Guess cheaply whether it is worth measuring: each object has a box above all false ones, by decoding alone."""
    network.eval()
    outputs = network(batch.images.float() / 255)
    boxes, scores = decode_boxes(outputs), outputs.classes.sigmoid()
    if outputs.objectness is not None:
        scores = scores * outputs.objectness.sigmoid()[..., None]
    targets = batch.targets
    for picture in range(len(boxes)):
        own = targets.image_index == picture
        best, ids = scores[picture].max(-1)
        overlaps = pairwise_iou(boxes[picture].numpy(), targets.boxes[own].numpy())
        is_right = torch.from_numpy(overlaps >= 0.5) & (ids[:, None] == targets.class_ids[own])
        if float((best[:, None] * is_right).amax(0).min()) <= float((best * ~is_right.any(1)).max()):
            return False
    return True


def measure(network, samples: list[Sample]) -> float:
    """Return the AP50 of a network on pictures."""
    model = network_model(network, score_threshold=0.05, iou_threshold=0.6)
    truth = build_truth([truth_rows(s, i + 1) for i, s in enumerate(samples)], CLASS_NAMES)
    rows = [row for i, s in enumerate(samples) for row in result_rows(model(s.image), i + 1)]
    return evaluate_coco(truth, rows)["AP50"]
