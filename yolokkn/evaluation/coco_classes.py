"""COCO's 80 classes, their numbers among the 91 category ids, and how a model's classes map to a data set's."""

from __future__ import annotations

from collections.abc import Sequence

from yolokkn.coco_names import COCO80, COCO_CATEGORY_IDS
from yolokkn.evaluation.coco_dataset import CocoDataset

DARKNET_ALIASES = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
"""Names in darknet's coco.names that differ from COCO's."""


def map_classes(class_names: Sequence[str] | int, dataset: CocoDataset) -> list[int]:
    """Find the data set's category id of each class of a model.

    Names are compared without regard to case, after the aliases of darknet's coco.names. A model that names no
    classes is taken to have COCO's 80 in their order, when it has 80 and the data set knows them by their ids.

    Args:
        class_names: The model's names in the order of its class ids; or, where it has none, how many classes it has.
        dataset: The ground truth.

    Returns:
        One category id for each class.

    Raises:
        ValueError: A class has no category of its name, two classes share one, or a nameless model has not 80 classes.

    Example:
        >>> from yolokkn.evaluation.coco_dataset import CocoCategory
        >>> dataset = CocoDataset((), (CocoCategory(3, "car"), CocoCategory(4, "motorcycle")), ())
        >>> map_classes(["Motorbike", "car"], dataset)
        [4, 3]
    """
    if isinstance(class_names, str):
        raise TypeError(f"map_classes: class_names must be a sequence of names or a number, got {class_names!r}")
    if isinstance(class_names, int) or len(class_names) == 0:
        return _map_by_order(80 if not isinstance(class_names, int) else class_names, dataset)
    by_name: dict[str, list[int]] = {}
    for category in dataset.categories:
        by_name.setdefault(_canonical(category.name), []).append(category.id)
    missing = [name for name in class_names if _canonical(name) not in by_name]
    if missing:
        known = ", ".join(category.name for category in dataset.categories)
        raise ValueError(
            f"map_classes: class_names must be categories of the data set, got {_some(missing)} ({len(missing)} of "
            f"{len(class_names)} unknown); the data set has: {known}"
        )
    ids = [by_name[_canonical(name)] for name in class_names]
    shared = [name for name, found in zip(class_names, ids, strict=True) if len(found) > 1 or ids.count(found) > 1]
    if shared:
        raise ValueError(f"map_classes: class_names must each have a category of its own, got {_some(shared)}")
    return [found[0] for found in ids]


def _map_by_order(num_classes: int, dataset: CocoDataset) -> list[int]:
    if num_classes != len(COCO80):
        raise ValueError(
            f"map_classes: class_names must be given unless the model has COCO's 80 classes, got {num_classes} "
            "classes; pass the names in the order of the model's class ids"
        )
    names = {category.id: _canonical(category.name) for category in dataset.categories}
    ids = list(COCO_CATEGORY_IDS)
    wrong = [f"{i} ({name})" for i, name in zip(ids, COCO80, strict=True) if names.get(i) != name]
    if wrong:
        raise ValueError(
            "map_classes: class_names must be given unless the data set has COCO's 80 categories, got a data set "
            f"without {_some(wrong)}"
        )
    return ids


def _canonical(name: str) -> str:
    folded = name.strip().casefold()
    return DARKNET_ALIASES.get(folded, folded)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
