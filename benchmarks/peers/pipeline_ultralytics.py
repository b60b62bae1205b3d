"""`track` of ultralytics, as its documentation has it: milliseconds of each frame, and the detections of the first ones, as JSON.

    python benchmarks/peers/setup.py ultralytics
    build/peers/ultralytics/bin/python benchmarks/peers/pipeline_ultralytics.py --model yolov8n.pt --source clip.mp4

Its tracker is ByteTrack, the quicker of its two. It takes the frame's aspect for a .pt file, a square for an .onnx file. What it
detects is asked of its `predict`, since `track` gives the tracked ones alone. Where torchvision cannot be loaded (its wheels for
CUDA beside a torch for CPUs), ultralytics' own suppression takes the place of torchvision's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import types

import cv2
import torch
from ultralytics import YOLO
from ultralytics.utils.nms import TorchNMS

SCORE, IOU = 0.1, 0.7


def stand_in_for_torchvision() -> None:
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        sys.modules["torchvision"] = types.ModuleType("torchvision")
        sys.modules["torchvision"].ops = types.SimpleNamespace(nms=TorchNMS.nms)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--shown", type=int, default=20, help="frames whose detections are printed")
    args = parser.parse_args()
    stand_in_for_torchvision()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    common = {
        "source": args.source,
        "stream": True,
        "conf": SCORE,
        "iou": IOU,
        "imgsz": 640,
        "device": "cpu",
        "verbose": False,
    }
    found = []
    for result in itertools.islice(YOLO(args.model, task="detect").predict(**common), args.shown):
        boxes = result.boxes
        found.append([boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.int().tolist()])
    marks = []
    for _ in itertools.islice(
        YOLO(args.model, task="detect").track(tracker="bytetrack.yaml", **common), args.frames + 1
    ):
        marks.append(time.perf_counter())
    print(json.dumps({"ms": [(b - a) * 1e3 for a, b in itertools.pairwise(marks)], "found": found}))


if __name__ == "__main__":
    main()
