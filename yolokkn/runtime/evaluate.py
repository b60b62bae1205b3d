"""A model over the images of a labelled dataset: the results that `yolokkn.evaluation` measures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn import ops
from yolokkn.errors import DataError, SourceWarning
from yolokkn.evaluation.boxes import FoundBoxes
from yolokkn.evaluation.coco import CocoCategory, CocoDataset, map_classes
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
        near = [path.stem.removeprefix(f"{kind}_") for path in file.parent.glob(f"{kind}_*.json")]
        near.sort(key=lambda name: (not name.startswith("val"), name))
        hint = f"; there is --split {near[0]}" if near and data is not None else ""
        raise DataError(f"evaluate coco: no annotations at {file}{hint}")
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
    category_ids = map_model_classes(model, dataset, partial=iou_type == "keypoints")
    paths = [images / image.file_name for image in dataset.images]
    sizes = [(image.height, image.width) for image in dataset.images]
    results: list[dict[str, Any]] = []
    for place, detections in detect_all(model, paths, sizes, advance, "evaluate coco"):
        results += coco_rows(detections, dataset.images[place].id, category_ids, iou_type)
    return results


def collect_found_boxes(
    model: Model,
    paths: Sequence[Path],
    sizes_hw: Sequence[tuple[int, int]],
    class_names: Sequence[str],
    advance: Callable[[], None] = lambda: None,
) -> FoundBoxes:
    """Run a model over pictures and collect the boxes of the classes that the dataset has.

    Args:
        model: A loaded model; evaluation wants `score_threshold=0.001, multi_label=True`.
        paths: The pictures.
        sizes_hw: Their heights and widths, to which the labels belong.
        class_names: The dataset's classes.
        advance: Called after each picture.

    Raises:
        DataError: A picture is missing, unreadable or of another size, or no class of the model is the dataset's.
    """
    class_ids = map_class_names(model, class_names)
    columns: list[tuple[np.ndarray, ...]] = []
    for place, found in detect_all(model, paths, sizes_hw, advance, "evaluate voc"):
        found = found[np.array([int(c) in class_ids for c in found.class_ids], bool)]
        own_ids = np.array([class_ids[int(c)] for c in found.class_ids], np.int64)
        columns.append((np.full(len(found), place), found.boxes, own_ids, found.scores))
    joined = [np.concatenate(column) for column in zip(*columns, strict=True)] if columns else [np.zeros(0, int)] * 4
    return FoundBoxes(*joined)


def map_class_names(model: Model, class_names: Sequence[str]) -> dict[int, int]:
    """Find the dataset's class id of each class that a model keeps, by its name; those that the dataset lacks have none.

    Raises:
        DataError: No class of the model is the dataset's.
    """
    categories = tuple(CocoCategory(i, name) for i, name in enumerate(class_names))
    return map_model_classes(model, CocoDataset((), categories, ()), partial=True, verb="evaluate voc")


def detect_all(
    model: Model,
    paths: Sequence[Path],
    sizes_hw: Sequence[tuple[int, int]],
    advance: Callable[[], None],
    verb: str,
) -> Iterator[tuple[int, Detections]]:
    """Yield the place and the detections of every picture, in order; DataError for the first that cannot be used."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{verb}: {len(missing)} of {len(paths)} images are missing, the first is {missing[0]}")
    places = {str(path): i for i, path in enumerate(paths)}
    num_done = 0
    config = PipelineConfig.for_source(False, model.backend.threads)
    source = open_source(list(paths))
    with warnings.catch_warnings(), run_pipeline(source, model, config=config) as pipeline:
        warnings.simplefilter("ignore", SourceWarning)  # an unreadable image is an error here, below
        for frame, detections in pipeline:
            place = places[frame.source]
            height, width = sizes_hw[place]
            if frame.hw != (height, width):
                raise DataError(
                    f"{frame.source}: must be {height} x {width} (height x width) as the annotations "
                    f"say, got {frame.hw[0]} x {frame.hw[1]}"
                )
            yield place, detections
            num_done += 1
            advance()
    if num_done != len(paths):
        raise DataError(f"{verb}: {len(paths) - num_done} of {len(paths)} images cannot be read: {source.warnings[0]}")


def map_model_classes(
    model: Model, dataset: CocoDataset, *, partial: bool = False, verb: str = "evaluate coco"
) -> dict[int, int]:
    """Find the category id of each class that a model keeps; numbers that COCO leaves unused have none.

    Args:
        model: Its names, and the classes that its options keep.
        dataset: Its categories.
        partial: Leave classes out that the dataset has not, instead of refusing the model; one must be there.
        verb: What error messages begin with.

    Raises:
        DataError: The model's classes are not the dataset's.
    """
    kept = model.options.classes
    used = {
        i: n for i, n in enumerate(model.class_names) if not n.startswith("unused ") and (kept is None or i in kept)
    }
    if partial and used:
        used = {i: name for i, name in used.items() if _is_category(name, dataset)} or used
    names: list[str] | int = list(used.values())
    if not used:
        names = 80 if model.layout.num_classes == UNNAMED_CLASSES else model.layout.num_classes
    try:
        category_ids = map_classes(names, dataset)
    except ValueError as error:
        raise DataError(f"{verb}: {str(error).removeprefix('map_classes: ')}") from None
    return dict(zip(used or range(len(category_ids)), category_ids, strict=True))


def _is_category(name: str, dataset: CocoDataset) -> bool:
    try:
        return bool(map_classes([name], dataset))
    except ValueError:
        return False


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
