"""From a trained network to what runs: the ONNX export, and checkpoints behind the runtime."""

from yolokkn.deploy.checkpoint_model import load_checkpoint_model, load_network, set_threads
from yolokkn.deploy.onnx_export import ExportReport, build_onnx, export_onnx
from yolokkn.deploy.parity import open_checkpoint_models
from yolokkn.training.network_model import network_model

__all__ = [
    "ExportReport",
    "build_onnx",
    "export_onnx",
    "load_checkpoint_model",
    "load_network",
    "network_model",
    "open_checkpoint_models",
    "set_threads",
]
