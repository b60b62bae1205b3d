"""Networks in PyTorch: blocks, one file per family, heads, presets."""

from yolokkn.models.build import build_model, preset, presets
from yolokkn.models.darknet import from_darknet, load_darknet_weights, to_darknet
from yolokkn.models.deployable import Deployable
from yolokkn.models.fuse import fuse
from yolokkn.models.network import Network
from yolokkn.models.outputs import (
    AnchorGrid,
    HeadOutputs,
    HeadSpec,
    decode_boxes,
    decode_distances,
    decode_keypoints,
)
from yolokkn.models.spec import ModelSpec

__all__ = [
    "AnchorGrid",
    "Deployable",
    "HeadOutputs",
    "HeadSpec",
    "ModelSpec",
    "Network",
    "build_model",
    "decode_boxes",
    "decode_distances",
    "decode_keypoints",
    "from_darknet",
    "fuse",
    "load_darknet_weights",
    "preset",
    "presets",
    "to_darknet",
]
