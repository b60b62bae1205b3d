"""Small sequences with all that is hard about them: gaps, swapped identities, false and doubled boxes, distractors."""

from __future__ import annotations

import numpy as np

from yolokkn.evaluation.mot import MotTable


def table(rows, counted=None, class_ids=None) -> MotTable:
    """A table from (frame, id, x1, y1, x2, y2)."""
    values = np.array(rows, np.float64).reshape(-1, 6)
    order = np.argsort(values[:, 0], kind="stable")
    counted = np.ones(len(values), bool) if counted is None else np.array(counted, bool)
    class_ids = np.ones(len(values), np.int64) if class_ids is None else np.array(class_ids, np.int64)
    ids = values[:, :2].astype(np.int64)
    return MotTable(ids[order, 0], ids[order, 1], values[order, 2:], counted[order], class_ids[order])


def scene(seed: int, num_objects: int = 7, num_frames: int = 40) -> tuple[MotTable, MotTable]:
    """Ground truth with flags and classes, and what a careless tracker made of it."""
    rng = np.random.default_rng(seed)
    places, speeds = rng.uniform(0, 160, (num_objects, 2)), rng.normal(0, 3, (num_objects, 2))
    sizes = rng.uniform(20, 60, (num_objects, 2))
    kinds = rng.choice([1, 1, 1, 1, 2, 7, 8, 12, 3], num_objects)
    names = rng.permutation(num_objects) + 10
    truth, results, flags, classes = [], [], [], []
    for frame in range(1, num_frames + 1):
        places += speeds
        if rng.random() < 0.15 and num_objects > 1:
            i, j = rng.choice(num_objects, 2, replace=False)
            names[i], names[j] = names[j], names[i]
        if rng.random() < 0.05:
            names[rng.integers(num_objects)] = 100 + frame
        is_dark, is_deaf = rng.random() < 0.06, rng.random() < 0.06
        for k in range(num_objects):
            box = np.concatenate((places[k], places[k] + sizes[k])).round(1)
            if rng.random() < 0.9 and not is_dark:
                truth.append((frame, k + 1, *box))
                flags.append(rng.random() < 0.95)
                classes.append(kinds[k])
            if rng.random() < 0.8 and not is_deaf:
                results.append((frame, names[k], *(box + rng.normal(0, 5, 4) * (rng.random() < 0.9)).round(1)))
        if rng.random() < 0.3:
            corner = rng.uniform(0, 160, 2)
            results.append((frame, 500 + frame, *corner.round(1), *(corner + 30).round(1)))
    return table(truth, flags, classes), table(results)


def as_text(rows: MotTable, is_truth: bool) -> str:
    """The lines of a MOTChallenge file."""
    lines = []
    for frame, name, box, flag, kind in zip(
        rows.frames, rows.ids, rows.boxes, rows.counted, rows.class_ids, strict=True
    ):
        left, top, right, bottom = box.tolist()
        end = f"{int(flag)},{kind},1" if is_truth else "0.9,-1,-1,-1"
        lines.append(f"{frame},{name},{left:.1f},{top:.1f},{right - left:.1f},{bottom - top:.1f},{end}\n")
    return "".join(lines)
