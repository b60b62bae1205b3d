"""Measuring a network while it trains: through the runtime itself, so that the exported model gives the same numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from yolokkn.data.datasets import Dataset
from yolokkn.data.rings import any_overlap, fill_rings
from yolokkn.data.sample import Rings, Sample
from yolokkn.errors import DataError, SourceWarning
from yolokkn.evaluation.coco import (
    CocoAnnotation,
    CocoCategory,
    CocoDataset,
    CocoImage,
    CocoMetrics,
    IouType,
    evaluate_coco,
    sigmas_of,
)
from yolokkn.geometry import xywh_to_xyxy
from yolokkn.models import Network
from yolokkn.ops import decode_rle, encode_rle
from yolokkn.runtime.evaluate import coco_rows
from yolokkn.training.distributed import World
from yolokkn.training.network_model import network_model
from yolokkn.types import Detections, Masks

IOU_TYPES_OF_TASK = {
    "detect": ("bbox",),
    "segment": ("bbox", "segm"),
    "pose": ("bbox", "keypoints"),
    "segment-pose": ("bbox", "segm", "keypoints"),
}
"""What is measured of each task."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What a measurement found.

    Attributes:
        metrics: COCO's figures by kind of comparison: "bbox", "segm", "keypoints".
        dataset: The ground truth that they were compared with.
        results: The detections as COCO results; those of the first kind have a bbox always.
        seconds: How long it took.
    """

    metrics: dict[str, CocoMetrics]
    dataset: CocoDataset
    results: list[dict[str, Any]] = field(repr=False)
    seconds: float = 0.0

    @property
    def fitness(self) -> float:
        """The mean AP over the kinds; a kind without ground truth does not count. The best checkpoint has the largest."""
        values = [m["AP"] for m in self.metrics.values() if m["AP"] >= 0]
        return float(np.mean(values)) if values else 0.0

    def figures(self) -> dict[str, float]:
        """Return "AP", "AP50" ... of the boxes, "segm_AP" ... of the rest; those that could be measured."""
        found: dict[str, float] = {}
        for kind, metrics in self.metrics.items():
            prefix = "" if kind == "bbox" else f"{kind}_"
            found |= {prefix + name: value for name, value in metrics.figures.items() if value >= 0}
        return found


class Validator:
    """Measures networks on a dataset, again and again; the pictures are shared among the processes.

    Args:
        dataset: Labelled pictures.
        task: Decides what is compared.
        world: The processes.
        class_names: The network's classes, in order.
        num_images: At most so many pictures, spread evenly; 0 for all.
        score_threshold: Detections below are left out.
        iou_threshold: For suppression.
        num_threads: Pictures that are read ahead at once.
    """

    def __init__(
        self,
        dataset: Dataset,
        task: str,
        world: World,
        *,
        class_names: Sequence[str],
        num_images: int = 0,
        score_threshold: float = 0.001,
        iou_threshold: float = 0.7,
        num_threads: int = 2,
    ) -> None:
        self._dataset, self._world, self._task = dataset, world, task
        self._class_names = tuple(class_names)
        self._options: dict[str, Any] = {
            "score_threshold": score_threshold,
            "iou_threshold": iou_threshold,
            "multi_label": True,
        }
        self._num_threads = num_threads
        total = len(dataset)
        count = min(num_images, total) if num_images else total
        self.indices = sorted({int(i) for i in np.linspace(0, total - 1, count).round()}) if count else []
        self._truth: CocoDataset | None = None
        self._unreadable: set[int] = set()

    def measure(self, network: Network, advance: Callable[[], None] = lambda: None) -> Measured | None:
        """Run the network over the pictures and compare; the main process gets the figures, the others None.

        Args:
            network: In float32, in evaluation mode.
            advance: Called after each picture.
        """
        import time

        started = time.perf_counter()
        model = network_model(network, device=str(self._world.device), **self._options)
        mine = self.indices[self._world.rank :: self._world.size]
        truths: list[tuple[CocoImage, list[dict[str, Any]]]] = []
        rows: list[dict[str, Any]] = []
        for index, sample in self._read(mine):
            if sample is not None:
                if self._truth is None:
                    truths.append(truth_rows(sample, index + 1, self._dataset.areas(index)))
                rows += result_rows(model(sample.image), index + 1)
            advance()
        gathered = self._world.gather((truths, rows))
        if not self._world.is_main:
            self._truth = self._truth or CocoDataset((), (), ())
            return None
        if self._truth is None:
            self._truth = build_truth((t for part, _ in gathered for t in part), self._class_names)
        results = sorted((r for _, part in gathered for r in part), key=lambda r: r["image_id"])
        metrics = {
            kind: evaluate_coco(
                self._truth,
                results,
                iou_type=cast(IouType, kind),
                keypoint_sigmas=sigmas_of(self._dataset.num_keypoints),
            )
            for kind in IOU_TYPES_OF_TASK[self._task]
        }
        return Measured(metrics, self._truth, results, time.perf_counter() - started)

    def sample(self, index: int) -> Sample | None:
        """Return a picture that is measured, by its place among them; None where it cannot be decoded."""
        return self._load(self.indices[index])

    def _load(self, index: int) -> Sample | None:
        """Load a picture; one that cannot be decoded is left out, and said once."""
        try:
            return self._dataset.load(index)
        except DataError as error:
            if index not in self._unreadable:
                self._unreadable.add(index)
                warnings.warn(f"left out of the measurement: {error}", SourceWarning, stacklevel=2)
            return None

    def _read(self, indices: Sequence[int]) -> Iterator[tuple[int, Sample | None]]:
        """Read pictures a few ahead, in order."""
        if self._num_threads < 1:
            yield from ((i, self._load(i)) for i in indices)
            return
        with ThreadPoolExecutor(self._num_threads) as pool:
            ahead = 2 * self._num_threads
            waiting = [(i, pool.submit(self._load, i)) for i in indices[:ahead]]
            for position in range(len(indices)):
                index, future = waiting.pop(0)
                if position + ahead < len(indices):
                    following = indices[position + ahead]
                    waiting.append((following, pool.submit(self._load, following)))
                yield index, future.result()


def result_rows(detections: Detections, image_id: int) -> list[dict[str, Any]]:
    """Turn detections into COCO results whose category ids are class ids + 1; masks and keypoints where there are some."""
    classes = {int(c): int(c) + 1 for c in detections.class_ids}
    rows = coco_rows(detections, image_id, classes, "bbox" if detections.masks is None else "segm")
    if detections.keypoints is not None:
        for row, points in zip(rows, detections.keypoints, strict=True):
            row["keypoints"] = points.astype(np.float64).ravel().tolist()
    return rows


def detections_of(
    measured: Measured, image_id: int, class_names: Sequence[str], *, score_threshold: float = 0.25
) -> Detections:
    """Return the detections of a picture of a measurement, for drawing."""
    rows = [r for r in measured.results if r["image_id"] == image_id and r["score"] >= score_threshold]
    rows.sort(key=lambda row: -row["score"])
    masks = decode_rle([row["segmentation"] for row in rows]) if rows and "segmentation" in rows[0] else None
    keypoints = None
    if rows and "keypoints" in rows[0]:
        keypoints = np.array([row["keypoints"] for row in rows], np.float32).reshape(len(rows), -1, 3)
    return Detections(
        boxes=xywh_to_xyxy(np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)),
        scores=np.array([row["score"] for row in rows], np.float32),
        class_ids=np.array([row["category_id"] - 1 for row in rows], np.int32),
        masks=masks,
        keypoints=keypoints,
        class_names=tuple(class_names),
    )


def truth_rows(
    sample: Sample, image_id: int, areas: np.ndarray | None = None
) -> tuple[CocoImage, list[dict[str, Any]]]:
    """Turn the objects of a sample into the values of COCO annotations, all but their ids.

    Args:
        sample: As `Dataset.load` gives it.
        image_id: Its number.
        areas: (M,) the objects' areas as `Dataset.areas` gives them; where they are not known, a mask's pixels count,
            else the box.
    """
    height, width = sample.image.shape[:2]
    rows = []
    for i, (x1, y1, x2, y2) in enumerate(sample.boxes.astype(np.float64).tolist()):
        area, segmentation = (x2 - x1) * (y2 - y1), [[x1, y1, x2, y1, x2, y2, x1, y2]]
        if sample.masks is not None and sample.masks[i]:
            area, segmentation = _mask(sample.masks[i], (height, width))
        if areas is not None and np.isfinite(areas[i]):
            area = float(areas[i])
        points: np.ndarray | None = sample.keypoints[i].astype(np.float64) if sample.keypoints is not None else None
        rows.append(
            {
                "image_id": image_id,
                "category_id": int(sample.class_ids[i]) + 1,
                "box_xywh": (x1, y1, x2 - x1, y2 - y1),
                "area": area,
                "is_crowd": bool(sample.ignored[i]),
                "segmentation": segmentation,
                "keypoints": None if points is None else tuple(points.ravel().tolist()),
                "num_keypoints": 0 if points is None else int((points[:, 2] > 0).sum()),
            }
        )
    return CocoImage(image_id, sample.image_id or str(image_id), height, width), rows


def build_truth(pictures: Iterable[tuple[CocoImage, list[dict[str, Any]]]], class_names: Sequence[str]) -> CocoDataset:
    """Join what `truth_rows` gave, numbering the annotations from 1."""
    ordered = sorted(pictures, key=lambda picture: picture[0].id)
    annotations = [row for _, rows in ordered for row in rows]
    return CocoDataset(
        images=tuple(image for image, _ in ordered),
        categories=tuple(CocoCategory(i + 1, name) for i, name in enumerate(class_names)),
        annotations=tuple(CocoAnnotation(id=i + 1, **row) for i, row in enumerate(annotations)),
        source="validation",
    )


def _mask(rings: Rings, hw: tuple[int, int]) -> tuple[float, Any]:
    """Return the area of a mask and what COCO calls its segmentation.

    Rings are even-odd, COCO's polygons are joined: those with holes become run lengths.
    """
    bitmap = fill_rings(rings, hw)
    area = float(np.count_nonzero(bitmap))
    if not any_overlap(rings):
        # A thousandth of a pixel gives the file's own digits back: COCO's filling rounds, and float32 is off by less.
        return area, [np.round(ring.astype(np.float64), 3).ravel().tolist() for ring in rings]
    return area, encode_rle(Masks(bitmap.ravel(), np.array([[0, 0, hw[1], hw[0]]], np.int32), hw))[0]
