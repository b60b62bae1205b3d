"""What happens when a number stops being one: the step is not taken, and a report says what was seen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from yolokkn.data.batch import Batch
from yolokkn.errors import YolokknError
from yolokkn.files import write_atomically


class NonFiniteError(YolokknError):
    """The loss or its gradient became NaN or infinite; the message says at which step, in which term and where the report is."""


def non_finite_names(values: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity."""
    return [name for name, value in values.items() if not bool(torch.isfinite(value).all())]


def write_report(
    folder: Path, *, step: int, epoch: int, rank: int, batch: Batch, terms: Mapping[str, Tensor], network: nn.Module
) -> tuple[Path, str]:
    """Write what led to a number that is none: `report.json`, and the batch as `batch.npz` and pictures.

    Args:
        folder: The run's folder.
        step: Step of the run, from 0.
        epoch: Epoch, from 0.
        rank: The process that saw it.
        batch: What was trained on.
        terms: The loss's terms by name.
        network: Its parameters and gradients are looked through.

    Returns:
        The report's folder, and one line that sums it up.
    """
    target = folder / f"nonfinite_step{step:07d}_rank{rank}"
    target.mkdir(parents=True, exist_ok=True)
    bad_terms = non_finite_names(terms)
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    report = {
        "step": step,
        "epoch": epoch,
        "rank": rank,
        "image_ids": list(batch.image_ids),
        "terms": {name: _number(value) for name, value in terms.items()},
        "non_finite_terms": bad_terms,
        "non_finite_parameters": non_finite_names(parameters),
        "non_finite_gradients": non_finite_names(gradients),
        "num_targets": len(batch.targets),
        "targets_are_finite": bool(torch.isfinite(batch.targets.boxes).all()),
        "image_range": [int(batch.images.min()), int(batch.images.max())] if batch.images.numel() else [],
    }
    write_atomically(target / "report.json", json.dumps(report, indent=2) + "\n")
    _write_batch(target, batch)
    cause = f"term {', '.join(bad_terms)}" if bad_terms else "the gradient"
    return target, f"{cause} at step {step} (epoch {epoch + 1}), images {', '.join(batch.image_ids[:4])}"


def _number(value: Tensor) -> float | str:
    number = float(value.detach().float().sum())
    return number if np.isfinite(number) else str(number)


def _write_batch(target: Path, batch: Batch) -> None:
    import cv2

    arrays: dict[str, Any] = {"images": batch.images.cpu().numpy()}
    for one in fields(batch.targets):
        value = getattr(batch.targets, one.name)
        if value is not None:
            arrays[one.name] = value.cpu().numpy()
    with (target / "batch.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)
    for i, picture in enumerate(arrays["images"][:16]):
        cv2.imwrite(str(target / f"picture{i:02d}.png"), np.ascontiguousarray(picture.transpose(1, 2, 0)[..., ::-1]))
