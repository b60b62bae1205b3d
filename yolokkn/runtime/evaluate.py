"""A model over a COCO dataset's images: the results that `yolokkn.evaluation` measures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.errors import DataError, SourceWarning
from yolokkn.evaluation.coco import CocoDataset, map_classes
from yolokkn.geometry import xyxy_to_xywh
from yolokkn.layouts import UNNAMED_CLASSES
from yolokkn.runtime.model import Model
from yolokkn.runtime.pipeline import PipelineConfig, run_pipeline
from yolokkn.runtime.sources import open_source
from yolokkn.types import Detections


def find_coco_files(
    data: str | Path | None,
    split: str,
    annotations: str | Path | None,
    images: str | Path | None,
    iou_type: str = "bbox",
) -> tuple[Path, Path]:
    """Find the annotations and the images' folder of a COCO dataset.

    Args:
        data: Folder with `annotations/instances_SPLIT.json` (`person_keypoints_SPLIT.json` for keypoints) and `SPLIT/`.
        split: Which part.
        annotations: The file itself, instead.
        images: The folder itself, instead.
        iou_type: One of IOU_TYPES.

    Raises:
        ValueError: Neither the folder nor both paths are given.
        DataError: A file or folder is missing.
    """
    if data is None and (annotations is None or images is None):
        raise ValueError("evaluate coco: give --data DIR, or --annotations FILE and --images DIR")
    kind = "person_keypoints" if iou_type == "keypoints" else "instances"
    file = Path(annotations) if annotations else Path(data or "") / "annotations" / f"{kind}_{split}.json"
    folder = Path(images) if images else Path(data or "") / split
    if not file.is_file():
        raise DataError(f"evaluate coco: no annotations at {file}")
    if not folder.is_dir():
        raise DataError(f"evaluate coco: no folder of images at {folder}")
    return file, folder


def collect_coco_results(
    model: Model,
    dataset: CocoDataset,
    images: Path,
    iou_type: str = "bbox",
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Run a model over every image of a dataset.

    Args:
        model: A loaded model; evaluation wants `score_threshold=0.001, multi_label=True`.
        dataset: Whose images and categories.
        images: Folder of the images.
        iou_type: "bbox", "segm" (adds RLE masks) or "keypoints".
        advance: Called after each image.

    Returns:
        Results in COCO's format.

    Raises:
        DataError: An image is missing or unreadable, or the model's classes are not the dataset's.
    """
    category_ids = map_model_classes(model, dataset)
    paths = [images / image.file_name for image in dataset.images]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"evaluate coco: {len(missing)} of {len(paths)} images are missing, the first is {missing[0]}")
    by_path = {str(path): image for path, image in zip(paths, dataset.images, strict=True)}
    results: list[dict[str, Any]] = []
    num_done = 0
    config = PipelineConfig.for_source(False, model.backend.threads)
    source = open_source(paths)
    with warnings.catch_warnings(), run_pipeline(source, model, config=config) as pipeline:
        warnings.simplefilter("ignore", SourceWarning)  # an unreadable image is an error here, below
        for frame, detections in pipeline:
            image = by_path[frame.source]
            if frame.hw != (image.height, image.width):
                raise DataError(
                    f"{frame.source}: must be {image.height} x {image.width} (height x width) as the annotations "
                    f"say, got {frame.hw[0]} x {frame.hw[1]}"
                )
            results += coco_rows(detections, image.id, category_ids, iou_type)
            num_done += 1
            advance()
    if num_done != len(paths):
        raise DataError(
            f"evaluate coco: {len(paths) - num_done} of {len(paths)} images cannot be read: {source.warnings[0]}"
        )
    return results


def map_model_classes(model: Model, dataset: CocoDataset) -> dict[int, int]:
    """Find the category id of each class of a model; numbers that COCO leaves unused have none.

    Raises:
        DataError: The model's classes are not the dataset's.
    """
    used = {i: name for i, name in enumerate(model.class_names) if not name.startswith("unused ")}
    names: list[str] | int = list(used.values())
    if not used:
        names = 80 if model.layout.num_classes == UNNAMED_CLASSES else model.layout.num_classes
    try:
        category_ids = map_classes(names, dataset)
    except ValueError as error:
        raise DataError(f"evaluate coco: {error}") from None
    return dict(zip(used or range(len(category_ids)), category_ids, strict=True))


def coco_rows(
    detections: Detections, image_id: int, category_ids: dict[int, int], iou_type: str = "bbox"
) -> list[dict[str, Any]]:
    """Turn the detections of an image into rows of COCO results; classes without a category are left out."""
    detections = detections[np.array([int(c) in category_ids for c in detections.class_ids], bool)]
    rows: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": category_ids[class_id], "bbox": box, "score": score}
        for box, score, class_id in zip(
            xyxy_to_xywh(detections.boxes.astype(np.float64)).tolist(),
            detections.scores.astype(np.float64).tolist(),
            detections.class_ids.tolist(),
            strict=True,
        )
    ]
    if iou_type == "segm":
        if detections.masks is None:
            raise DataError("evaluate coco: iou type segm needs a model that gives masks")
        for row, rle in zip(rows, ops.encode_rle(detections.masks), strict=True):
            row["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    if iou_type == "keypoints":
        if detections.keypoints is None:
            raise DataError("evaluate coco: iou type keypoints needs a model that gives keypoints")
        for row, points in zip(rows, detections.keypoints, strict=True):
            row["keypoints"] = points.astype(np.float64).ravel().tolist()
    return rows
