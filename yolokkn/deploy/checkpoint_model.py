"""A checkpoint as a network, and as a model that the runtime runs like any other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolokkn.errors import ModelError
from yolokkn.models import ModelSpec, Network, build_model
from yolokkn.runtime.model import Model
from yolokkn.training.checkpoint import MODEL, Checkpoint, load_checkpoint
from yolokkn.training.network_model import network_model


def set_threads(threads: int) -> None:
    """Let torch use so many threads in this process."""
    torch.set_num_threads(threads)


def load_network(path: Path) -> tuple[Network, Checkpoint]:
    """Build the network of a checkpoint with its weights, in evaluation mode.

    Args:
        path: A `.safetensors` file of `save_checkpoint`.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The file is no checkpoint, or its weights do not fit the network that it describes; no network is
            allocated then.
    """
    path = Path(path)
    checkpoint = load_checkpoint(path)
    if MODEL not in checkpoint.manifest:
        raise ModelError(f"{path.name}: does not say which network it is of (no {MODEL!r} in its manifest)")
    try:
        written = checkpoint.manifest[MODEL]
        spec = ModelSpec.from_json(written) if isinstance(written, str) else ModelSpec.from_dict(written)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path.name}: {error}") from error
    weights = checkpoint.select(MODEL)
    with torch.device("meta"):
        empty = build_model(spec)
    check_weights(path.name, empty.state_dict(), weights)
    network = build_model(spec)
    network.load_state_dict(weights)
    return network.eval(), checkpoint


def check_weights(name: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    """Hold weights against those that a network needs.

    Raises:
        ModelError: A tensor is missing, too many, of another shape, or not finite.
    """
    missing, extra = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    if missing or extra:
        what = [
            f"{len(names)} {word} ({names[0]} ...)"
            for word, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        raise ModelError(f"{name}: its weights must be those of its network, got {' and '.join(what)}")
    for key, tensor in given.items():
        if tensor.shape != wanted[key].shape:
            raise ModelError(f"{name}: {key} must have the shape {tuple(wanted[key].shape)}, got {tuple(tensor.shape)}")
        if tensor.is_floating_point() != wanted[key].is_floating_point() or tensor.is_complex():
            raise ModelError(f"{name}: {key} must be of a kind with {wanted[key].dtype}, got {tensor.dtype}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{name}: {key} must be finite, got NaN or infinity: the training had failed")


def load_checkpoint_model(
    path: Path, *, device: str = "cpu", imgsz: int | tuple[int, int] | None = None, **options: Any
) -> Model:
    """Load a checkpoint as a model: call it with a picture, track with it, evaluate it.

    Args:
        path: A `.safetensors` file of `save_checkpoint`.
        device: Where it runs.
        imgsz: One side, or height and width, instead of the training's.
        **options: As `yolokkn.load` takes them.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The file is no checkpoint, or its weights do not fit.

    Example:
        >>> model = load_checkpoint_model(Path("runs/train/best.safetensors"))  # doctest: +SKIP
    """
    network, _ = load_network(path)
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    return network_model(network, name=Path(path).name, device=device, imgsz=size, **options)
