"""What a run that goes on may change, and what it may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yolokkn.configuration import to_mapping
from yolokkn.errors import ModelError
from yolokkn.training.checkpoint import Checkpoint
from yolokkn.training.config import TrainConfig, settings

FIXED = {
    "the network": ("model", "task", "imgsz", "weights", "anchors", "freeze"),
    "the pictures and their order": ("train_split", "classes", "batch", "accumulate", "seed"),
    "what the optimizer keeps": ("optimizer",),
    "where the run lies": ("project", "name"),
}
"""Keys that decide what a checkpoint holds, or where it stands in its epoch."""


def refuse_other_run(config: TrainConfig, checkpoint: Checkpoint, name: str) -> None:
    """Refuse to go on with a run under settings that it cannot change on the way.

    Raises:
        ModelError: The checkpoint does not say how its run was set.
        ValueError: A setting of `FIXED` differs.
    """
    before = checkpoint.manifest.get("config")
    if not isinstance(before, Mapping):
        raise ModelError(f"{name}: its manifest must hold the configuration of its run")
    known = settings()
    for what, keys in FIXED.items():
        for key in keys:
            stage = known[key][0]
            kept: Any = before.get(stage)
            if not isinstance(kept, Mapping):
                raise ModelError(f"{name}: its configuration must have the stage {stage}")
            now = to_mapping(getattr(getattr(config, stage), key))
            if key in kept and kept[key] != now:
                raise ValueError(
                    f"resume: {key} must stay {_shown(kept[key])}, got {_shown(now)}; it decides {what}: begin a new run "
                    "(weights=CHECKPOINT starts from this one)"
                )


def _shown(value: Any) -> str:
    return str(value)[:80] if value not in ("", [], None) else "unset"
