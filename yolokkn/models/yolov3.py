"""YOLOv3 and YOLOv3-tiny (Redmon and Farhadi, YOLOv3: An Incremental Improvement, 2018) as darknet sections."""

from __future__ import annotations

from typing import Any

from yolokkn.models.darknet_sections import Sections
from yolokkn.models.spec import ModelSpec
from yolokkn.models.yolovkkn import COCO_ANCHORS

VARIANTS: dict[str, dict[str, Any]] = {
    "": {"imgsz": (416, 416), "anchors": COCO_ANCHORS},
    "tiny": {
        "imgsz": (416, 416),
        "anchors": (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319))),
    },
}


def cfg_text(spec: ModelSpec) -> str:
    """Write the network of a spec of family "yolov3" as the text of a .cfg file."""
    return _tiny(spec) if spec.variant == "tiny" else _full(spec)


def _full(spec: ModelSpec) -> str:
    s, scaled = Sections(spec, 3), spec.scaled
    s.conv(scaled(32), 3)
    stages = []
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):  # Darknet-53
        last = s.conv(scaled(filters), 3, 2)
        for _ in range(spec.repeated(blocks)):
            s.conv(scaled(filters // 2))
            s.conv(scaled(filters), 3)
            last = s.shortcut(last)
        stages.append(last)
    branch = _level(s, 2, 512, spec)
    for level, filters, stage in ((1, 256, stages[3]), (0, 128, stages[2])):
        s.route(branch)
        s.conv(scaled(filters))
        up = s.upsample()
        s.route(up, stage)
        branch = _level(s, level, filters, spec)
    return s.text


def _level(s: Sections, level: int, filters: int, spec: ModelSpec) -> int:
    """Write five convolutions, of which the next level takes the last, then the level's own."""
    for _ in range(2):
        s.conv(spec.scaled(filters))
        s.conv(spec.scaled(2 * filters), 3)
    branch = s.conv(spec.scaled(filters))
    s.conv(spec.scaled(2 * filters), 3)
    s.yolo(level)
    return branch


def _tiny(spec: ModelSpec) -> str:
    s, scaled = Sections(spec, 2), spec.scaled
    for filters in (16, 32, 64, 128):
        s.conv(scaled(filters), 3)
        s.maxpool(2, 2)
    fine = s.conv(scaled(256), 3)
    s.maxpool(2, 2)
    s.conv(scaled(512), 3)
    s.maxpool(2, 1)
    s.conv(scaled(1024), 3)
    branch = s.conv(scaled(256))
    s.conv(scaled(512), 3)
    s.yolo(1)
    s.route(branch)
    s.conv(scaled(128))
    up = s.upsample()
    s.route(up, fine)
    s.conv(scaled(256), 3)
    s.yolo(0)
    return s.text
