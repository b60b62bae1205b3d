"""Labelled pictures: datasets, augmentation, loading. What needs torch is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolokkn.data.anchors import kmeans_anchors
    from yolokkn.data.augment import AugmentConfig
    from yolokkn.data.batch import Batch, Targets
    from yolokkn.data.datasets import Dataset, concat, open_dataset, remap, split_by_hash
    from yolokkn.data.loader import Loader, build_loader
    from yolokkn.data.preview_grid import preview
    from yolokkn.data.sample import Sample

_HOMES = {
    "AugmentConfig": "yolokkn.data.augment",
    "Batch": "yolokkn.data.batch",
    "Dataset": "yolokkn.data.datasets",
    "Loader": "yolokkn.data.loader",
    "Sample": "yolokkn.data.sample",
    "Targets": "yolokkn.data.batch",
    "build_loader": "yolokkn.data.loader",
    "concat": "yolokkn.data.datasets",
    "kmeans_anchors": "yolokkn.data.anchors",
    "open_dataset": "yolokkn.data.datasets",
    "preview": "yolokkn.data.preview_grid",
    "remap": "yolokkn.data.datasets",
    "split_by_hash": "yolokkn.data.datasets",
}

__all__ = [
    "AugmentConfig",
    "Batch",
    "Dataset",
    "Loader",
    "Sample",
    "Targets",
    "build_loader",
    "concat",
    "kmeans_anchors",
    "open_dataset",
    "preview",
    "remap",
    "split_by_hash",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'yolokkn.data' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
