"""Model files as graphs: ONNX read and written without the onnx package, darknet turned into ONNX."""

from yolokkn.graph.cost import ModelCost, model_cost
from yolokkn.graph.darknet_onnx import darknet_to_onnx, find_names
from yolokkn.graph.free_sizes import free_sizes
from yolokkn.graph.limits import check_limits
from yolokkn.graph.onnx_build import GraphBuilder
from yolokkn.graph.onnx_file import Model, TensorInfo, parse_model, read_model

__all__ = [
    "GraphBuilder",
    "Model",
    "ModelCost",
    "TensorInfo",
    "check_limits",
    "darknet_to_onnx",
    "find_names",
    "free_sizes",
    "model_cost",
    "parse_model",
    "read_model",
]
