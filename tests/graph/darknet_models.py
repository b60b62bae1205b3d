"""Small darknet models made up for the tests: every kind of layer that detection models use."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from yolokkn.graph.darknet_cfg import read_cfg
from yolokkn.graph.darknet_layers import plan_network

EVERY_LAYER = """
[net]
# a comment
width=64 ; the other kind
height=32
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=8
size=3
stride=1
pad=1
groups=4
batch_normalize=1
activation=mish
[shortcut]
from=-2
activation=leaky
[maxpool]
size=2
stride=2
[dropout]
probability=.2
[convolutional]
filters=12
size=3
dilation=2
pad=1
stride=1
activation=swish
[route]
layers=-1
groups=3
group_id=1
[maxpool]
size=2
stride=1
[route]
layers = -1, -3
[convolutional]
filters=16
size=1
pad=1
activation=relu6
[shortcut]
from=-2
activation=linear
[shortcut]
from=3,-1
activation=relu
[avgpool]
[convolutional]
filters=16
size=1
activation=logistic
[scale_channels]
from=-3
[convolutional]
filters=16
size=1
activation=logistic
[sam]
from=-2
activation=linear
[convolutional]
filters=14
size=3
stride_x=2
stride_y=2
padding=1
activation=linear
[yolo]
mask=2,3
anchors=1,2, 3,4, 5.5,6, 7,8
classes=2
num=4
scale_x_y=1.05
[route]
layers=-2
[upsample]
stride=2
[route]
layers=-1,3
[maxpool]
size=5
stride=1
[convolutional]
filters=14
size=1
activation=linear
[yolo]
mask=0,1
anchors=1,2, 3,4, 5.5,6, 7,8
classes=2
num=4
"""

TINY = """[net]
width=32
height=32
channels=3
[convolutional]
filters=6
size=3
stride=2
pad=1
activation=leaky
batch_normalize=1
[convolutional]
filters=6
size=1
activation=linear
[yolo]
mask=0
anchors=4,5
classes=1
num=1
"""
TINY_FLOATS = 6 * 4 + 6 * 3 * 9 + 6 + 36


def write_weights(path: Path, floats: np.ndarray, version: tuple[int, int] = (0, 2)) -> Path:
    seen = struct.pack("<q", 7) if version[0] * 10 + version[1] >= 2 else struct.pack("<i", 7)
    path.write_bytes(struct.pack("<3i", *version, 5) + seen + floats.astype("<f4").tobytes())
    return path


def random_floats(rng: np.random.Generator, cfg: Path) -> np.ndarray:
    """Plausible numbers for every convolution of a cfg: outputs stay near 1, variances are positive."""
    parts = []
    for layer in plan_network(read_cfg(cfg)).layers:
        if layer.kind == "convolutional":
            conv = layer.settings
            parts.append(rng.normal(0, 0.3, conv.filters))
            if conv.batch_normalize:
                parts += [rng.uniform(0.5, 1.5, conv.filters), rng.normal(0, 0.3, conv.filters)]
                parts.append(rng.uniform(0.5, 2, conv.filters))
            fan_in = np.prod(conv.weight_shape[1:])
            parts.append(rng.normal(0, 1.4 / np.sqrt(fan_in), np.prod(conv.weight_shape)))
    return np.concatenate(parts).astype(np.float32)


def write_model(folder: Path, cfg: str, floats: np.ndarray | None = None, version: tuple[int, int] = (0, 2)) -> Path:
    path = folder / "model.cfg"
    path.write_text(cfg)
    floats = random_floats(np.random.default_rng(0), path) if floats is None else floats
    write_weights(folder / "model.weights", floats, version)
    return path
