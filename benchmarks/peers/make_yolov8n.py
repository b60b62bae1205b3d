"""Write a network of YOLOv8n's size and shape with random weights, as ultralytics makes it: NAME.pt and NAME.onnx.

    python benchmarks/peers/setup.py ultralytics
    build/peers/ultralytics/bin/python benchmarks/peers/make_yolov8n.py --source clip.mp4 --save build/benchmarks/yolov8n

The architecture is built by ultralytics itself, in its own environment, and only measured. Weights are random; the statistics of
its normalisations and the scale of one class's scores are set on frames of the source, so that a few hundredths of a per cent of
its cells pass a threshold, as those of a trained network do. What it finds means nothing; what it costs is what a YOLOv8n costs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from ultralytics import YOLO

PASSING = 40  # cells of a frame that pass a score of 0.25
CLASS = 0


def frames_of(source: str, count: int, side: int = 640) -> torch.Tensor:
    """Return (count, 3, side, side) float32 RGB frames, letterboxed, 0 to 1."""
    video, found = cv2.VideoCapture(source), []
    while len(found) < count:
        ok, frame = video.read()
        if not ok:
            raise SystemExit(f"{source}: has fewer than {count} frames")
        gain = side / max(frame.shape[:2])
        resized = cv2.resize(frame, None, fx=gain, fy=gain)
        place = np.full((side, side, 3), 114, np.uint8)
        top = (side - resized.shape[0]) // 2
        place[top : top + resized.shape[0], : resized.shape[1]] = resized
        found.append(place[..., ::-1].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found).astype(np.float32) / 255)


@torch.no_grad()
def settle(network: torch.nn.Module, frames: torch.Tensor) -> None:
    """Set the normalisations' statistics and the scale of the scores on some frames."""
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
        norm.reset_running_stats()
    network.train()
    for _ in range(2):  # the statistics of later layers follow those of earlier ones
        network(frames)
    network.eval()
    for norm in norms:
        norm.momentum = 0.03
    head = network.model[-1]
    last = [branch[-1] for branch in head.cv3]
    for layer in last:
        layer.weight[torch.arange(len(layer.weight)) != CLASS] = 0
        layer.bias.fill_(-12.0)
        layer.bias[CLASS] = 0.0
    logits = network(frames)[1]
    logits = logits["scores"] if isinstance(logits, dict) else torch.cat([x.flatten(2) for x in logits], 2)[:, 64:]
    values = logits[:, CLASS].flatten()
    spread = float(values.std())
    passing = float(values.sort(descending=True).values[PASSING * len(frames)])
    for layer in last:
        layer.weight[CLASS] *= 2 / spread
        layer.bias[CLASS] = -1.1 - 2 * passing / spread  # a score of 0.25 where the values reach `passing`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="a video")
    parser.add_argument("--save", required=True, metavar="NAME", help="NAME.pt and NAME.onnx are written")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = YOLO("yolov8n.yaml")
    settle(model.model, frames_of(args.source, 8))
    target = Path(args.save).with_suffix(".pt")
    target.parent.mkdir(parents=True, exist_ok=True)
    model.save(str(target))
    YOLO(str(target)).export(format="onnx", imgsz=640, simplify=False)
    print(f"{target}, {target.with_suffix('.onnx')}")


if __name__ == "__main__":
    main()
