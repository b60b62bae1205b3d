"""What the kernels of benchmarks/bench_gpu.py are held against: the same work as a torch user writes it, and its times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from yolokkn.geometry import Letterbox


def letterbox(torch: Any, image: Any, dtype: Any) -> Any:
    """(1080, 1920, 3) uint8 BGR into (1, 3, 640, 640) by interpolate and pad."""
    planes = image.permute(2, 0, 1)[None].flip(1).to(dtype) / 255
    resized = torch.nn.functional.interpolate(planes, (360, 640), mode="bilinear", align_corners=False)
    return torch.nn.functional.pad(resized, (0, 0, 140, 140), value=114 / 255)


def masks(torch: Any, planes: Any, coeffs: Any, edges: Any) -> Any:
    """Coefficients times prototypes, cropped and thresholded at the prototypes' size."""
    height, width = planes.shape[1:]
    x = torch.arange(width, device=planes.device)[None, None]
    y = torch.arange(height, device=planes.device)[None, :, None]
    whole = (coeffs @ planes.flatten(1)).view(-1, height, width)
    x1, y1, x2, y2 = edges[:, :, None, None].unbind(1)
    return (whole > 0) & (x >= x1) & (x < x2) & (y >= y1) & (y < y2)


def find_nms(torch: Any) -> tuple[Callable[..., Any], str]:
    """Return batched_nms(boxes, scores, classes, iou_threshold) -> kept rows by descending score, and what it is called."""
    try:
        from torchvision.ops import batched_nms
    except ImportError:
        return lambda *arguments: batched_nms_by_hand(torch, *arguments), "by hand, no torchvision here"
    return batched_nms, "torchvision"


def batched_nms_by_hand(torch: Any, boxes: Any, scores: Any, classes: Any, iou_threshold: float) -> Any:
    """Greedy suppression by a matrix: what suppresses is settled from the best down, all rows at once, until none changes."""
    order = torch.sort(scores, descending=True, stable=True).indices
    box, of_class = boxes[order], classes[order]
    corner = torch.minimum(box[:, None, 2:], box[None, :, 2:]) - torch.maximum(box[:, None, :2], box[None, :, :2])
    inner = corner.clamp(min=0).prod(2)
    area = (box[:, 2:] - box[:, :2]).prod(1)
    over = inner / (area[:, None] + area[None] - inner) > iou_threshold
    over = (over & (of_class[:, None] == of_class[None])).triu(1)
    kept = torch.ones(len(box), dtype=torch.bool, device=box.device)
    while True:
        following = ~(over & kept[:, None]).any(0)
        if torch.equal(following, kept):
            return order[kept]
        kept = following


def postprocess(torch: Any, nms: Callable[..., Any], output: Any, place: Letterbox, score_threshold: float) -> Any:
    """(4 + classes, A) into boxes of the frame, scores and classes on the host."""
    best, classes = output[4:].max(0)
    keep = best > score_threshold
    cx, cy, w, h = output[:4, keep]
    boxes = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)
    scores, classes = best[keep], classes[keep]
    kept = nms(boxes, scores, classes, 0.7)[:300]
    boxes = boxes[kept]
    height, width = place.image_hw
    boxes[:, ::2] = ((boxes[:, ::2] - place.pad_left) / place.gain_xy[0]).clamp(0, width)
    boxes[:, 1::2] = ((boxes[:, 1::2] - place.pad_top) / place.gain_xy[1]).clamp(0, height)
    return boxes.cpu(), scores[kept].cpu(), classes[kept].cpu()


def eager(torch: Any, run: Callable[[], Any]) -> float:
    """Median microseconds from the call to the result."""
    times = []
    for index in range(60):
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if index >= 10:
            times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


def in_graph(torch: Any, run: Callable[[], Any], repeats: int, rounds: int) -> float:
    """Median microseconds of one run among many in a CUDA graph, less what a graph of one small copy costs."""
    one, other = torch.zeros(4, device="cuda"), torch.zeros(4, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph, empty = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            run()
    with torch.cuda.graph(empty):
        one.copy_(other)
    times = []
    for _ in range(rounds):
        spent = []
        for played in (graph, empty):
            torch.cuda.synchronize()
            started = time.perf_counter()
            played.replay()
            torch.cuda.synchronize()
            spent.append(time.perf_counter() - started)
        times.append((spent[0] - spent[1]) / repeats * 1e6)
    return float(np.median(times))


def measure(torch: Any, run: Callable[[], Any], repeats: int, rounds: int) -> tuple[float, str]:
    """`in_graph` where it can be captured, else `eager`; and which it was."""
    try:
        return in_graph(torch, run, repeats, rounds), "in a graph"
    except RuntimeError as error:
        torch.cuda.synchronize()
        return eager(torch, run), f"eager, not captured ({str(error).splitlines()[0][:60]})"


def half_model(torch: Any, name: str, device: str, **options: Any) -> Any:
    """One of the project's networks, weights random and float16; it gives logits, which the runtime's kernels decode."""
    import yolokkn
    from yolokkn.coco_names import COCO80
    from yolokkn.models import Deployable, build_model, preset
    from yolokkn.runtime.backends.torch import TorchBackend

    class Half(torch.nn.Module):
        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module.half()

        def forward(self, x: Any) -> Any:
            return self.module(x.half())

    torch.manual_seed(0)
    whole = Deployable(build_model(preset(name, list(COCO80))), imgsz=(640, 640), layout="raw")
    backend = TorchBackend(
        Half(whole), input_hw=(640, 640), device=device, output_names=whole.output_names, metadata=whole.metadata()
    )
    return yolokkn.load(backend, **options)
