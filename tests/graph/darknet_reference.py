"""An obvious NumPy forward pass of a darknet cfg + weights: the specification that the converted model is held against.

Written from darknet's rules with a parser of its own, batch normalization where darknet has it, and convolution as the
sum over kernel positions. Only for trusted files.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

Sections = list[tuple[str, dict[str, str]]]


def parse(text: str) -> Sections:
    sections: Sections = []
    for line in (line.split("#")[0].strip() for line in text.splitlines()):
        if line.startswith("["):
            sections.append((line[1:-1], {}))
        elif line and not line.startswith(";"):
            key, value = line.split("=")
            sections[-1][1][key.strip()] = value.strip()
    return sections


def floats_of(path: Path) -> np.ndarray:
    data = path.read_bytes()
    major, minor = struct.unpack("<2i", data[:8])
    return np.frombuffer(data[20 if major * 10 + minor >= 2 else 16 :], "<f4")


def activate(kind: str, x: np.ndarray) -> np.ndarray:
    sigmoid = 1 / (1 + np.exp(-x))
    return {
        "linear": x,
        "leaky": np.where(x > 0, x, 0.1 * x),
        "relu": np.maximum(x, 0),
        "relu6": np.clip(x, 0, 6),
        "logistic": sigmoid,
        "swish": x * sigmoid,
        "mish": x * np.tanh(np.log1p(np.exp(x))),
    }[kind]


def convolve(x: np.ndarray, weights: np.ndarray, stride: tuple[int, int], pad: int, dilation: int, groups: int):
    channels, height, width = x.shape
    filters, _, size, _ = weights.shape
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad))
    padded[:, pad : pad + height, pad : pad + width] = x
    reach = dilation * (size - 1) + 1
    rows, columns = (padded.shape[1] - reach) // stride[0] + 1, (padded.shape[2] - reach) // stride[1] + 1
    out = np.zeros((filters, rows, columns))
    for g in range(groups):
        mine = slice(g * filters // groups, (g + 1) * filters // groups)
        source = padded[g * channels // groups : (g + 1) * channels // groups]
        for i in range(size):
            for j in range(size):
                top, left = i * dilation, j * dilation
                window = source[:, top :: stride[0], left :: stride[1]][:, :rows, :columns]
                out[mine] += np.tensordot(weights[mine, :, i, j], window, axes=1)
    return out


def pool(x: np.ndarray, size: int, stride: tuple[int, int], padding: int) -> np.ndarray:
    channels, height, width = x.shape
    rows, columns = (height + padding - size) // stride[0] + 1, (width + padding - size) // stride[1] + 1
    out = np.full((channels, rows, columns), -np.inf)
    for r in range(rows):
        for c in range(columns):
            top, left = r * stride[0] - padding // 2, c * stride[1] - padding // 2
            window = x[:, max(top, 0) : top + size, max(left, 0) : left + size]
            out[:, r, c] = window.max((1, 2))
    return out


def forward(text: str, floats: np.ndarray, image: np.ndarray) -> list[np.ndarray]:
    """Return the raw input of each [yolo] layer for one (3, H, W) image."""
    outputs: list[np.ndarray] = []
    heads: list[np.ndarray] = []
    position = 0

    def take(*shape: int) -> np.ndarray:
        nonlocal position
        position += int(np.prod(shape))
        return floats[position - int(np.prod(shape)) : position].reshape(shape).astype(np.float64)

    x = image.astype(np.float64)
    for index, (kind, options) in enumerate(parse(text)[1:]):
        number = {k: int(v) for k, v in options.items() if v.lstrip("-").isdigit()}
        stride = (number.get("stride_y", number.get("stride", 1)), number.get("stride_x", number.get("stride", 1)))
        chosen = [int(v) for v in options.get("layers", options.get("from", "")).split(",") if v.strip()]
        others = [outputs[i if i >= 0 else index + i] for i in chosen]
        if kind == "convolutional":
            n, size, groups = number["filters"], number["size"], number.get("groups", 1)
            dilation = number.get("dilation", 1)
            biases = take(n)
            norm = take(3, n) if number.get("batch_normalize") else None
            weights = take(n, x.shape[0] // groups, size, size)
            pad = size // 2 if number.get("pad") else number.get("padding", 0)
            x = convolve(x, weights, stride, pad * dilation, dilation, groups)
            if norm is not None:
                scales, means, variances = norm[:, :, None, None]
                x = (x - means) / np.sqrt(variances + 1e-6) * scales
            x = activate(options["activation"], x + biases[:, None, None])
        elif kind == "maxpool":
            x = pool(x, number["size"], stride, number.get("padding", number["size"] - 1))
        elif kind == "avgpool":
            x = x.mean((1, 2), keepdims=True)
        elif kind == "upsample":
            x = x.repeat(number["stride"], 1).repeat(number["stride"], 2)
        elif kind == "route":
            groups, group = number.get("groups", 1), number.get("group_id", 0)
            x = np.concatenate([np.split(o, groups)[group] for o in others])
        elif kind == "shortcut":
            x = x.copy()
            for other in others:
                common = min(len(x), len(other))
                x[:common] += other[:common]
            x = activate(options.get("activation", "linear"), x)
        elif kind in ("sam", "scale_channels"):
            x = activate(options.get("activation", "linear"), x * others[0])
        elif kind == "yolo":
            heads.append(x)
        elif kind != "dropout":
            raise ValueError(kind)
        outputs.append(x)
    if position != len(floats):
        raise ValueError(f"{len(floats) - position} floats are left")
    return heads
