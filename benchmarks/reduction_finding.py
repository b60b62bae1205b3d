"""The project's founding finding: a mean over the non-object cells starves their gradient, a sum does not.

Trains the same small YolovKKN from the same seed on the same drawn scenes with both reductions, measures both in the same
unit on scenes that neither has seen, prints the figures and draws them:

    python benchmarks/reduction_finding.py --out reduction_finding.png

A mean divides the gradient of each non-object cell by their number (thousands) and that of each object cell by theirs (a
few): a cell that wrongly says "object" is corrected so much more slowly. Adam takes the overall size of the gradients out of
the comparison, what is left is their proportion.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from yolokkn import ops
from yolokkn.data.batch import Targets
from yolokkn.evaluation.boxes import FoundBoxes, LabelledBoxes
from yolokkn.evaluation.voc import evaluate_voc, judge
from yolokkn.models import HeadOutputs, Network, build_model, decode_boxes, preset
from yolokkn.training.losses import build_loss

CLASSES = ("disc", "square", "triangle")
SIZE = 128  # pixels a side
SCORE = 0.3  # where precision and recall are read
REDUCTIONS = ("sum", "mean")


@dataclass
class Scenes:
    """Drawn pictures (N, 3, S, S) in 0 .. 1 and their objects."""

    images: torch.Tensor
    targets: Targets

    def take(self, chosen: np.ndarray) -> tuple[torch.Tensor, Targets]:
        rows = [(self.targets.image_index == int(i)).nonzero()[:, 0] for i in chosen]
        index = torch.cat([torch.full_like(r, k) for k, r in enumerate(rows)])
        joined = torch.cat(rows)
        t = self.targets
        return self.images[chosen], Targets(index, t.boxes[joined], t.class_ids[joined], t.ignored[joined])


def draw_scenes(count: int, seed: int) -> Scenes:
    """Shapes of three classes on noise, with lines and half shapes as clutter."""
    import cv2

    rng = np.random.default_rng(seed)
    images, owners, boxes, classes = [], [], [], []
    for i in range(count):
        coarse = rng.integers(40, 200, (10, 10, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        for _ in range(6):
            a, b = rng.integers(0, SIZE, (2, 2)).tolist()
            cv2.line(image, a, b, rng.integers(0, 255, 3).tolist(), int(rng.integers(1, 4)))
        for _ in range(int(rng.integers(1, 5))):
            r = int(rng.integers(7, 28))
            x, y = rng.integers(r, SIZE - r, 2).tolist()
            kind, colour = int(rng.integers(3)), rng.integers(0, 255, 3).tolist()
            if any(
                abs(x - (p[0] + p[2]) / 2) < r and abs(y - (p[1] + p[3]) / 2) < r
                for o, p in zip(owners, boxes, strict=True)
                if o == i
            ):
                continue
            if kind == 0:
                cv2.circle(image, (x, y), r, colour, -1, cv2.LINE_AA)
            elif kind == 1:
                cv2.rectangle(image, (x - r, y - r), (x + r, y + r), colour, -1)
            else:
                cv2.fillConvexPoly(image, np.array([(x, y - r), (x - r, y + r), (x + r, y + r)]), colour, cv2.LINE_AA)
            owners.append(i)
            boxes.append((x - r, y - r, x + r + 1, y + r + 1))
            classes.append(kind)
        images.append(image)
    planes = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    targets = Targets(
        torch.tensor(owners), torch.tensor(boxes).float(), torch.tensor(classes), torch.zeros(len(owners)).bool()
    )
    return Scenes(planes, targets)


def detections(outputs: HeadOutputs) -> FoundBoxes:
    """Boxes of the best class of every anchor, after NMS."""
    scores = outputs.classes.sigmoid()
    if outputs.objectness is not None:
        scores = scores * outputs.objectness.sigmoid()[..., None]
    best, class_ids = scores.max(-1)
    boxes = decode_boxes(outputs)
    columns: list[list[np.ndarray]] = [[], [], [], []]
    for i in range(len(boxes)):
        rows = (best[i] > 0.01).nonzero()[:, 0]
        box, score = boxes[i, rows].numpy(), best[i, rows].numpy()
        ids = class_ids[i, rows].numpy().astype(np.int32)
        kept = ops.nms(np.ascontiguousarray(box), score, ids, iou_threshold=0.6, max_detections=100)
        for column, values in zip(columns, (np.full(len(kept), i), box[kept], ids[kept], score[kept]), strict=True):
            column.append(values)
    return FoundBoxes(*(np.concatenate(column) for column in columns))


@torch.no_grad()
def measure(network: Network, loss, scenes: Scenes) -> dict[str, float]:
    """What both runs are compared by: plain means per cell, and what the detections are worth."""
    network.eval()
    outputs = network(scenes.images)
    network.train()
    background = loss.assign(outputs, scenes.targets).background
    logits = outputs.classes.amax(-1) if outputs.objectness is None else outputs.objectness
    found = detections(outputs)
    t = scenes.targets
    truth = LabelledBoxes(t.image_index.numpy(), t.boxes.numpy(), t.class_ids.numpy(), t.ignored.numpy())
    sure = FoundBoxes(
        *(v[found.scores > SCORE] for v in (found.image_index, found.boxes, found.class_ids, found.scores))
    )
    right = int((judge(truth, sure, iou_threshold=0.5) == 1).sum())
    return {
        "background loss per cell": F.softplus(logits[background]).mean().item(),
        "false cells per picture": (logits[background] > 0).sum().item() / len(scenes.images),
        "precision": right / max(len(sure.scores), 1),
        "recall": right / len(truth),
        "AP50": evaluate_voc(truth, found, CLASSES).map_area,
    }


def train(reduction: str, args: argparse.Namespace, scenes: Scenes, held_out: Scenes) -> list[dict[str, float]]:
    """Train once; only the reduction differs between calls."""
    torch.manual_seed(args.seed)
    network = build_model(preset(args.network, CLASSES, imgsz=(SIZE, SIZE), width=args.width))
    loss = build_loss(args.loss, network.head, reduction=reduction, gain=1.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=args.lr)
    order = np.random.default_rng(args.seed)
    rows = []
    for step in range(args.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / 20) * (0.5 + 0.5 * np.cos(np.pi * step / (args.steps + 1)))
        if step % args.every == 0 or step == args.steps:
            rows.append({"step": step, **measure(network, loss, held_out)})
            print(f"{reduction:5s}", "  ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
        images, targets = scenes.take(order.choice(len(scenes.images), args.batch, replace=False))
        value = loss(network(images), targets)
        optimizer.zero_grad()
        value.total.backward()
        optimizer.step()
    return rows


def plot(results: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    """One panel a figure, one line a reduction."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in results["sum"][0] if name != "step"]
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3.4), constrained_layout=True)
    for axis, name in zip(axes, names, strict=True):
        for reduction, rows in results.items():
            axis.plot([r["step"] for r in rows], [r[name] for r in rows], marker=".", label=reduction)
        axis.set(title=name, xlabel="step")
        if name.startswith(("background", "false")):
            axis.set_yscale("symlog" if name.startswith("false") else "log")
        else:
            axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    axes[0].legend(title="reduction")
    title = f"{args.network} of width {args.width}, {args.loss}, seed {args.seed}"
    figure.suptitle(f"{title}: the same but for the reduction (held-out scenes)")
    figure.savefig(args.out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("reduction_finding.png"))
    parser.add_argument("--network", default="yolovkkn-n")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--loss", default="kkn20230730")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    scenes, held_out = draw_scenes(256, args.seed), draw_scenes(64, args.seed + 1)
    start = time.perf_counter()
    results = {reduction: train(reduction, args, scenes, held_out) for reduction in REDUCTIONS}
    plot(results, args)
    print(f"{args.out} written after {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
