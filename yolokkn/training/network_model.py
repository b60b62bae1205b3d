"""A network behind the runtime: what measures it while it trains is what runs it afterwards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from yolokkn.models import Deployable, Network
from yolokkn.runtime.backends.torch import TorchBackend
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model


def network_model(
    network: Network,
    *,
    name: str = "network",
    device: str = "cpu",
    imgsz: tuple[int, int] | None = None,
    **options: Any,
) -> Model:
    """Put a network behind the runtime, as the file exported from it would be.

    Args:
        network: It is copied, not changed.
        name: For messages.
        device: Where it runs: "cpu", "cuda" ...
        imgsz: Height and width of the input; the network's own by default.
        **options: As `yolokkn.load` takes them: score_threshold, multi_label ...
    """
    size = imgsz or network.spec.imgsz
    deployable = Deployable(network, size)
    backend = TorchBackend(
        deployable, input_hw=size, device=device, output_names=deployable.output_names, metadata=deployable.metadata()
    )
    return replace(load(backend, **options), name=name)
