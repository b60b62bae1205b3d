"""A checkpoint beside what its export gives: torch is the reference, the ONNX file made of it runs on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yolokkn.deploy.checkpoint_model import load_network
from yolokkn.deploy.onnx_export import build_onnx
from yolokkn.runtime.model import Model
from yolokkn.runtime.parity_models import OpenedModels, open_models
from yolokkn.training.network_model import network_model


def open_checkpoint_models(
    path: Path,
    *,
    backends: Sequence[str] | None = None,
    device: str | None = None,
    threads: int | None = None,
    imgsz: int | tuple[int, int] | None = None,
    **options: Any,
) -> tuple[OpenedModels, Model]:
    """Open a checkpoint in torch, and the ONNX file that `yolokkn export` would write on several backends.

    Args:
        path: A `.safetensors` file of `save_checkpoint`.
        backends: As `open_models` takes them.
        device: Likewise.
        threads: Likewise; torch keeps its own.
        imgsz: One side, or height and width, instead of the training's.
        **options: As `yolokkn.load` takes them.

    Returns:
        The opened models, and the one in torch.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The file is no checkpoint, its weights do not fit, or the export differs at once.
    """
    network, _ = load_network(Path(path))
    size = (imgsz, imgsz) if isinstance(imgsz, int) else imgsz
    content, _ = build_onnx(network, imgsz=size, verify=False)
    opened = open_models(content, backends=backends, device=device, threads=threads, **options)
    torch_model = network_model(network, name=Path(path).name, imgsz=size, **options)
    return replace(opened, name=Path(path).name), torch_model
