"""From a trained network to what runs: ONNX export, precisions, and checkpoints behind the runtime.

What needs torch is imported when it is first used: a graph is turned to float16 without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolokkn.deploy.checkpoint_model import load_checkpoint_model, load_network, set_threads
    from yolokkn.deploy.half_graph import to_half
    from yolokkn.deploy.onnx_export import ExportReport, build_onnx, export_onnx
    from yolokkn.training.network_model import network_model

_HOMES = {
    "ExportReport": "yolokkn.deploy.onnx_export",
    "build_onnx": "yolokkn.deploy.onnx_export",
    "export_onnx": "yolokkn.deploy.onnx_export",
    "load_checkpoint_model": "yolokkn.deploy.checkpoint_model",
    "load_network": "yolokkn.deploy.checkpoint_model",
    "network_model": "yolokkn.training.network_model",
    "set_threads": "yolokkn.deploy.checkpoint_model",
    "to_half": "yolokkn.deploy.half_graph",
}

__all__ = [
    "ExportReport",
    "build_onnx",
    "export_onnx",
    "load_checkpoint_model",
    "load_network",
    "network_model",
    "set_threads",
    "to_half",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'yolokkn.deploy' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
