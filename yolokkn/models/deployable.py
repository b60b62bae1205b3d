"""The module that is exported: a network whose outputs are what the runtime's layouts read."""

from __future__ import annotations

import json
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolokkn._version import __version__
from yolokkn.layouts.metadata import EXPORT_LAYOUTS, ExportLayout
from yolokkn.models.finished import BestClassTable, EfficientNmsTables, EndToEndTable, Suppression
from yolokkn.models.fuse import fuse
from yolokkn.models.network import Network
from yolokkn.models.outputs import MAX_LOG_SIZE, AnchorGrid, HeadSpec

_SUFFIX = {"detect": "", "segment": "-seg", "pose": "-pose", "segment-pose": "-seg-pose"}
_RAW = {"v5": "v5-raw", "darknet": "darknet", "distance": "kkn-raw"}


class Deployable(nn.Module):
    """A network as it is exported to ONNX or handed to the runtime; batch normalization is folded.

    What it gives, by `layout`:

    - "raw": one map of logits a level, and the prototypes of masks; the runtime's kernels decode what passes the threshold.
    - "decoded": (B, 4 + classes + coefficients + 3 * keypoints, A): cx, cy, w, h in input pixels, class scores (times the
      objectness where there is one), mask coefficients, x, y in input pixels and visibility of each keypoint; with masks
      the prototypes as well. What readers of YOLOv8's files expect.
    - "end2end": (B, M, 6 + extras): finished boxes, suppressed inside the graph, and the prototypes.
    - "efficientnms": num_dets, det_boxes, det_scores, det_classes, suppressed inside the graph; boxes alone.
    - "deepstream": (B, A, 6): corners, score and class of every anchor, not suppressed; boxes alone.

    Args:
        network: What to deploy; it is copied, not changed.
        imgsz: Height and width, if the exported graph shall take this size alone: the anchors are constants then. None
            lays them out inside the graph, for any size.
        layout: One of EXPORT_LAYOUTS; None: "raw" for detection with anchors, "decoded" for everything else.
        suppression: What "end2end" and "efficientnms" keep.

    Attributes:
        output_names: Names of the outputs of `forward`, in order.
        finish: Turns the decoded head into tables of finished boxes; None where the layout is none.
        export_layout: One of EXPORT_LAYOUTS.
        layout: Name of the runtime's layout that reads them.

    Raises:
        ValueError: The size does not fit the network's strides, or the layout not its task.
    """

    def __init__(
        self,
        network: Network,
        imgsz: tuple[int, int] | None = None,
        layout: ExportLayout | None = None,
        suppression: Suppression | None = None,
    ) -> None:
        super().__init__()
        self.network = fuse(network)
        self.spec, self.head = network.spec, network.head
        self.imgsz = imgsz
        self.suppression = suppression or Suppression()
        anchored_detector = self.head.has_objectness and self.spec.task == "detect"
        self.export_layout: str = layout or ("raw" if anchored_detector else "decoded")
        self._check_layout()
        self.layout, self.finish = self._finish()
        self.output_names = self._names()
        if imgsz is not None:
            stride = max(self.head.strides)
            if imgsz[0] < 1 or imgsz[1] < 1 or imgsz[0] % stride or imgsz[1] % stride:
                raise ValueError(f"Deployable: imgsz must be multiples of {stride}, got {imgsz[0]}x{imgsz[1]}")
            for name, value in _fixed_layout(self.head, imgsz)._asdict().items():
                self.register_buffer(f"_{name}", value, persistent=False)
        self.eval()  # all of it: a tracer that finds a part in training mode leaves every part so

    def _check_layout(self) -> None:
        task, layout = self.spec.task, self.export_layout
        if layout not in EXPORT_LAYOUTS:
            raise ValueError(f"Deployable: layout must be one of {', '.join(EXPORT_LAYOUTS)}, got {layout!r}")
        if layout in ("efficientnms", "deepstream") and task != "detect":
            raise ValueError(
                f"Deployable: layout {layout} has room for boxes alone, and this is a network of task {task}; take end2end"
            )
        if layout == "raw" and task != "detect" and self.head.has_objectness:
            raise ValueError(
                f"Deployable: layout raw of a network with anchors must be of task detect, got {task}; take decoded"
            )

    def _finish(self) -> tuple[str, nn.Module | None]:
        """Return the runtime's name of the layout, and what follows the decoded head."""
        suffix, num_classes = _SUFFIX[self.spec.task], self.head.num_classes
        if self.export_layout == "raw":
            return _RAW[self.head.formula], None
        if self.export_layout == "deepstream":
            return "deepstream", BestClassTable(num_classes)
        if self.export_layout == "efficientnms":
            return "efficientnms", EfficientNmsTables(num_classes, self.suppression)
        if self.export_layout == "end2end":
            return f"end2end{suffix}", EndToEndTable(num_classes, self.head.num_extras, self.suppression)
        return f"v8{suffix}", None

    def _names(self) -> tuple[str, ...]:
        last = ("prototypes",) if self.spec.has_masks else ()
        if self.export_layout == "raw":
            return (*(f"head_{i}" for i in range(len(self.head.strides))), *last)
        if isinstance(self.finish, EfficientNmsTables):
            return self.finish.output_names
        return ("detections", *last)

    def without_finish(self) -> Deployable:
        """Return the same network up to its decoded head: what `finish` is given."""
        return self if self.finish is None else Deployable(self.network, self.imgsz, "decoded")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the network.

        Args:
            images: (B, 3, H, W) float32 RGB, 0 to 1.
        """
        levels, prototypes = self.network.levels(images)
        last = () if prototypes is None else (prototypes,)
        if self.export_layout == "raw":
            return (*levels, *last)
        if self.imgsz is None:
            where = _traced_layout(self.head, levels)
        else:
            where = _Layout(self._cells, self._strides, self._anchors_wh, self._scale_xy)
        decoded = _decode(_channels_first(levels, self.head), self.head, where)
        return ((decoded,) if self.finish is None else tuple(self.finish(decoded))) + last

    def metadata(self) -> dict[str, str]:
        """Return what the file says of itself, as `yolokkn.layouts.read_facts` reads it."""
        spec, head = self.spec, self.head
        facts: dict[str, object] = {
            "layout": self.layout,
            "task": spec.task,
            "names": list(spec.class_names),
            "imgsz": list(self.imgsz or spec.imgsz),
            "stride": max(head.strides),
            "letterbox": spec.letterbox,
            "producer": "yolokkn",
            "version": __version__,
            "family": f"{spec.family}-{spec.variant}".rstrip("-"),
        }
        if self.export_layout == "raw" and head.has_objectness:
            facts["anchors"] = head.anchors
            facts["scale_xy"] = head.scale_xy or [1.0] * len(head.strides)
        elif self.export_layout == "raw":
            facts["reg_max"] = head.reg_max
            facts["strides"] = head.strides
        if self.export_layout in ("end2end", "efficientnms"):
            rule = self.suppression
            facts["nms"] = True
            facts["conf"], facts["iou"], facts["max_det"] = (
                rule.score_threshold, rule.iou_threshold, rule.max_detections,
            )  # fmt: skip
        if spec.keypoint_shape is not None:
            facts["kpt_shape"] = list(spec.keypoint_shape)
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


class _Layout(NamedTuple):
    """Where the anchors lie: AnchorGrid with the anchors in the last place; sizes may be values of a traced graph."""

    cells: Tensor  # (2, A)
    strides: Tensor  # (A,)
    anchors_wh: Tensor | None  # (2, A)
    scale_xy: Tensor  # (A,)


def _fixed_layout(head: HeadSpec, input_hw: tuple[int, int]) -> _Layout:
    grid = AnchorGrid.build(head, tuple((input_hw[0] // s, input_hw[1] // s) for s in head.strides))
    sizes = None if grid.anchors_wh is None else grid.anchors_wh.T.contiguous()
    return _Layout(grid.cells.T.contiguous(), grid.strides, sizes, grid.scale_xy)


def _traced_layout(head: HeadSpec, levels: tuple[Tensor, ...]) -> _Layout:
    parts = []
    for i, level in enumerate(levels):
        rows, columns = level.shape[2], level.shape[3]
        x = torch.arange(columns, device=level.device).float().view(1, -1).expand(rows, columns).flatten()
        y = torch.arange(rows, device=level.device).float().view(-1, 1).expand(rows, columns).flatten()
        numbers = (float(head.strides[i]), head.scale_xy[i] if head.scale_xy else 1.0)
        for wh in head.anchors[i] if head.anchors else ((0.0, 0.0),):
            parts.append(torch.stack((x, y, *(torch.full_like(x, number) for number in (*numbers, *wh)))))
    joined = torch.cat(parts, 1)
    return _Layout(joined[:2], joined[2], joined[4:] if head.anchors else None, joined[3])


def _channels_first(levels: tuple[Tensor, ...], head: HeadSpec) -> Tensor:
    """Join levels into (B, channels of an anchor, A), in the order of AnchorGrid."""
    flat = []
    for i, level in enumerate(levels):
        count = len(head.anchors[i]) if head.anchors else 1
        if count > 1:
            level = level.reshape(level.shape[0], count, head.num_channels, -1).transpose(1, 2)
        flat.append(level.flatten(2))
    return torch.cat(flat, 2)


def _decode(raw: Tensor, head: HeadSpec, where: _Layout) -> Tensor:
    first = head.num_box_channels + int(head.has_objectness)
    extras = first + head.num_classes
    scores = raw[:, first:extras].sigmoid()
    if head.has_objectness:
        scores = scores * raw[:, first - 1 : first].sigmoid()
    parts = [_decode_boxes(raw[:, : head.num_box_channels], head, where), scores]
    if head.num_prototypes:
        parts.append(raw[:, extras : extras + head.num_prototypes])
    if head.num_keypoints:
        values = raw[:, extras + head.num_prototypes :]
        values = values.reshape(raw.shape[0], head.num_keypoints, 3, -1)
        xy = (where.cells + 0.5 + values[:, :, :2] * 2) * where.strides
        parts.append(torch.cat((xy, values[:, :, 2:].sigmoid()), 2).flatten(1, 2))
    return torch.cat(parts, 1)


def _decode_boxes(box: Tensor, head: HeadSpec, where: _Layout) -> Tensor:
    """Turn box logits (B, num_box_channels, A) into (B, 4, A) cx, cy, w, h; `decode_boxes` is the specification."""
    if head.formula == "distance":
        if head.reg_max == 1:
            distances = nn.functional.softplus(box)
        else:
            bins = torch.arange(head.reg_max, device=box.device).to(box.dtype)
            chances = box.reshape(box.shape[0], 4, head.reg_max, -1).softmax(2)
            distances = (chances * bins[:, None]).sum(2)
        low, high = distances.split(2, 1)
        return torch.cat((where.cells + 0.5 + (high - low) / 2, low + high), 1) * where.strides
    if where.anchors_wh is None:
        raise RuntimeError(f"Deployable: formula {head.formula} needs anchors, and the head has none")
    xy, wh = box.split(2, 1)
    if head.formula == "darknet":
        scale = where.scale_xy
        xy = xy.sigmoid() * scale - (scale - 1) / 2
        wh = wh.clamp(max=MAX_LOG_SIZE).exp()
    else:
        xy = xy.sigmoid() * 2 - 0.5
        wh = (wh.sigmoid() * 2) ** 2
    return torch.cat(((xy + where.cells) * where.strides, wh * where.anchors_wh), 1)
