"""From a trained network to what runs: ONNX export, precisions, and checkpoints behind the runtime.

What needs torch is imported when it is first used: a graph is turned to float16 or int8 without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolokkn.deploy.accuracy import AccuracyDelta, SpeedRatio, compare_accuracy, compare_speed
    from yolokkn.deploy.calibration import calibration_feeds
    from yolokkn.deploy.checkpoint_model import load_checkpoint_model, load_network, set_threads
    from yolokkn.deploy.engine_export import EngineReport, calibrate_on, export_engine
    from yolokkn.deploy.onnx_export import ExportReport, build_onnx, export_onnx
    from yolokkn.deploy.parity import open_checkpoint_models
    from yolokkn.deploy.quantize import LayerPlan, plan_layers, quantize_int8
    from yolokkn.graph.half_graph import to_half
    from yolokkn.runtime.engine_build import EngineOptions
    from yolokkn.training.network_model import network_model

_HOMES = {
    "AccuracyDelta": "yolokkn.deploy.accuracy",
    "EngineOptions": "yolokkn.runtime.engine_build",
    "EngineReport": "yolokkn.deploy.engine_export",
    "ExportReport": "yolokkn.deploy.onnx_export",
    "LayerPlan": "yolokkn.deploy.quantize",
    "SpeedRatio": "yolokkn.deploy.accuracy",
    "build_onnx": "yolokkn.deploy.onnx_export",
    "calibrate_on": "yolokkn.deploy.engine_export",
    "calibration_feeds": "yolokkn.deploy.calibration",
    "compare_accuracy": "yolokkn.deploy.accuracy",
    "compare_speed": "yolokkn.deploy.accuracy",
    "export_engine": "yolokkn.deploy.engine_export",
    "export_onnx": "yolokkn.deploy.onnx_export",
    "load_checkpoint_model": "yolokkn.deploy.checkpoint_model",
    "load_network": "yolokkn.deploy.checkpoint_model",
    "network_model": "yolokkn.training.network_model",
    "open_checkpoint_models": "yolokkn.deploy.parity",
    "plan_layers": "yolokkn.deploy.quantize",
    "quantize_int8": "yolokkn.deploy.quantize",
    "set_threads": "yolokkn.deploy.checkpoint_model",
    "to_half": "yolokkn.graph.half_graph",
}

__all__ = [
    "AccuracyDelta",
    "EngineOptions",
    "EngineReport",
    "ExportReport",
    "LayerPlan",
    "SpeedRatio",
    "build_onnx",
    "calibrate_on",
    "calibration_feeds",
    "compare_accuracy",
    "compare_speed",
    "export_engine",
    "export_onnx",
    "load_checkpoint_model",
    "load_network",
    "network_model",
    "open_checkpoint_models",
    "plan_layers",
    "quantize_int8",
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
