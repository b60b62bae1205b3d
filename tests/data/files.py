"""Small datasets of every format, written into a folder; and samples with every kind of label."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from yolokkn.data.sample import Sample

NAMES = ("cat", "dog")


def picture(hw=(60, 80), seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(small, hw[::-1], interpolation=cv2.INTER_LINEAR)


def write_picture(path: Path, hw=(60, 80), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return path
    cv2.imwrite(str(path), picture(hw, seed))
    return path


def write_coco(root: Path, annotations, *, count=3, categories=None, split="train", kind="instances"):
    images = []
    for i in range(count):
        write_picture(root / split / f"{i}.png", seed=i)
        images.append({"id": i, "file_name": f"{i}.png", "height": 60, "width": 80})
    categories = categories or [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    (root / "annotations").mkdir(exist_ok=True)
    content = {"images": images, "categories": categories, "annotations": annotations}
    (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))
    return root


def thing(number, image_id=0, category_id=3, bbox=(10, 10, 20, 20), **more):
    base = {"id": number, "image_id": image_id, "category_id": category_id, "bbox": list(bbox), "area": 1, "iscrowd": 0}
    return base | more


def write_voc(root: Path, objects, *, split="train", size=(80, 60)):
    """objects: per picture a list of (name, xmin, ymin, xmax, ymax, difficult)."""
    for folder in ("Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i, rows in enumerate(objects):
        write_picture(root / "JPEGImages" / f"p{i}.jpg", seed=i)
        inner = "".join(
            f"<object><name>{n}</name><difficult>{d}</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>"
            f"<xmax>{c}</xmax><ymax>{e}</ymax></bndbox></object>"
            for n, a, b, c, e, d in rows
        )
        text = f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{inner}</annotation>"
        (root / "Annotations" / f"p{i}.xml").write_text(text)
    (root / "ImageSets/Main" / f"{split}.txt").write_text("".join(f"p{i}\n" for i in range(len(objects))))
    return root


def write_yolo(root: Path, rows, *, split="train", yaml="names: [cat, dog]\n"):
    for i, text in enumerate(rows):
        write_picture(root / "images" / split / f"p{i}.png", seed=i)
        if text is not None:
            (root / "labels" / split).mkdir(parents=True, exist_ok=True)
            (root / "labels" / split / f"p{i}.txt").write_text(text)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml + f"{split}: images/{split}\n")
    return root


def write_mot(root: Path, rows, *, frames=3):
    for i in range(1, frames + 1):
        write_picture(root / "img1" / f"{i:06d}.png", seed=i)
    (root / "gt").mkdir(parents=True, exist_ok=True)
    (root / "gt" / "gt.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    (root / "seqinfo.ini").write_text(
        "[Sequence]\nname=a\nimDir=img1\nframeRate=30\nseqLength=3\nimWidth=80\nimHeight=60\n"
    )
    return root


def write_instances(root: Path, masks):
    (root / "masks").mkdir(parents=True, exist_ok=True)
    for i, mask in enumerate(masks):
        write_picture(root / "images" / f"p{i}.png", mask.shape, seed=i)
        cv2.imwrite(str(root / "masks" / f"p{i}.png"), mask)
    return root


def many_shapes(root: Path, count=12, split="train"):
    """A COCO set with polygons and keypoints of various sizes of objects."""
    rng = np.random.default_rng(5)
    rows = []
    for number in range(count * 3):
        x, y, w, h = (rng.uniform((0, 0, 8, 8), (40, 30, 40, 30))).tolist()
        points = [x, y + h / 2, x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h]
        keypoints = [x + 1, y + h / 2, 2, x + w - 2, y + h / 2, 1, 0, 0, 0]
        rows.append(
            thing(
                number, number % count, 3 + 4 * (number % 2), (x, y, w, h), segmentation=[points], keypoints=keypoints
            )
        )
    names = ["left_ear", "right_ear", "nose"]
    categories = [{"id": 3, "name": "cat", "keypoints": names}, {"id": 7, "name": "dog", "keypoints": names}]
    return write_coco(root, rows, count=count, categories=categories, split=split)


def sample_with_all(seed=0, hw=(60, 80), count=5):
    """A sample with boxes, ring masks inside them (a diamond that touches all sides) and keypoints."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, (hw[1] - 25, hw[0] - 25), (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(8, 24, (count, 2))], 1).astype(np.float32)
    x1, y1, x2, y2 = boxes.T
    diamonds = np.stack(
        [np.stack([x1, (y1 + y2) / 2], 1), np.stack([(x1 + x2) / 2, y1], 1),
         np.stack([x2, (y1 + y2) / 2], 1), np.stack([(x1 + x2) / 2, y2], 1)], 1
    )  # fmt: skip
    keypoints = np.zeros((count, 3, 3), np.float32)
    keypoints[:, 0] = np.stack([x1 + 1, y1 + 1, np.full(count, 2)], 1)
    keypoints[:, 1] = np.stack([x2 - 1, y1 + 1, np.full(count, 1)], 1)
    masks = tuple((ring.astype(np.float32),) for ring in diamonds)
    return Sample(picture(hw, seed), boxes, np.arange(count) % 2, masks, keypoints, np.arange(count) == 3, f"s{seed}")
