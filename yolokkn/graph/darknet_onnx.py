"""darknet .cfg + .weights turned into an ONNX model whose metadata say how to decode it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from yolokkn._version import __version__
from yolokkn.errors import ModelError
from yolokkn.graph.darknet_cfg import read_cfg, read_text
from yolokkn.graph.darknet_layers import plan_network
from yolokkn.graph.darknet_network import Layer, Network
from yolokkn.graph.darknet_weights import read_weights
from yolokkn.graph.onnx_build import GraphBuilder

_MAX_NAMES_BYTES = 1 << 20


def darknet_to_onnx(
    cfg_path: str | os.PathLike[str],
    weights_path: str | os.PathLike[str] | None = None,
    names: Sequence[str] | None = None,
) -> bytes:
    """Convert a darknet detection model (YOLOv3, v4, their tiny variants, Yolo-Fastest, ...) to ONNX.

    The model has the input "images" (batch, channels, H, W) float32 RGB in [0, 1] and one output "yolo_0", "yolo_1",
    ... for each [yolo] layer in the file's order: (batch, anchors * (5 + classes), gy, gx) raw logits. Batch
    normalization is folded into the convolutions.

    Args:
        cfg_path: The .cfg file.
        weights_path: The .weights file; by default the one of the same name beside the cfg.
        names: Names of the classes; by default those of `find_names`, else their numbers.

    Returns:
        The ONNX file's bytes. Its metadata: layout, task, names, imgsz, stride, anchors, scale_xy, nms_kind, letterbox.

    Raises:
        ModelError: A file is missing, damaged, hostile, does not fit the other one, or needs what yolokkn lacks.
        ValueError: The names are not as many as the classes.

    Example:
        >>> darknet_to_onnx("yolov4-tiny.cfg")
        Traceback (most recent call last):
        yolokkn.errors.ModelError: darknet_to_onnx: cfg_path must name a darknet .cfg file, got no such file: ...
    """
    network = plan_network(read_cfg(cfg_path))
    num_classes = network.layers[network.heads[0]].settings.num_classes
    class_names = _class_names(cfg_path, names, num_classes)
    weights = read_weights(Path(cfg_path).with_suffix(".weights") if weights_path is None else weights_path, network)
    builder = GraphBuilder(Path(cfg_path).stem)
    _emit(builder, network, weights)
    builder.metadata(_metadata(network, class_names))
    return builder.to_bytes()


def find_names(cfg_path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """Find the class names that conventionally belong to a cfg file: beside it, under the same name.

    `x.cfg` has its names in `x.names`, or in the file that `x.data` gives as `names = file`. That file must lie in the
    same folder; a path that leads elsewhere is not followed.

    Args:
        cfg_path: The .cfg file.

    Returns:
        One name a line of the file, or None where there is no such file.

    Raises:
        ModelError: The file is too large or no text.
    """
    cfg = Path(cfg_path)
    candidates = [cfg.with_suffix(".names").name]
    data = cfg.with_suffix(".data")
    if _lies_beside(cfg, data.name):
        for line in read_text(data, _MAX_NAMES_BYTES, "data", "a darknet .data file").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "names":
                candidates.append(value.strip().removeprefix("./"))
    for name in candidates:
        if _lies_beside(cfg, name):
            return _read_names(cfg.parent / name)
    return None


def _lies_beside(cfg: Path, name: str) -> bool:
    if not name or name != Path(name).name or "\\" in name or "\0" in name or len(name) > 255:
        return False
    file = cfg.parent / name
    return file.is_file() and file.resolve().parent == cfg.parent.resolve()


def _read_names(path: Path) -> tuple[str, ...]:
    lines = read_text(path, _MAX_NAMES_BYTES, "names", "a file of class names").split("\n")
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _class_names(cfg_path: str | os.PathLike[str], names: Sequence[str] | None, count: int) -> list[str]:
    if names is not None:
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError("darknet_to_onnx: names must be a sequence of str, got something else")
        if len(names) != count:
            raise ValueError(f"darknet_to_onnx: names must be as many as the classes ({count}), got {len(names)}")
        return list(names)
    found = find_names(cfg_path)
    if found is None:
        return [str(i) for i in range(count)]
    if len(found) != count:
        raise ModelError(
            f"darknet_to_onnx: the names beside {cfg_path} must be as many as its classes ({count}), got {len(found)}; "
            "pass names"
        )
    return list(found)


def _metadata(network: Network, names: list[str]) -> dict[str, str]:
    _, height, width = network.input_shape
    heads = [network.layers[i].settings for i in network.heads]
    strides = [height // network.layers[i].shape[1] for i in network.heads]
    return {
        "layout": "darknet",
        "task": "detect",
        "names": json.dumps(names),
        "imgsz": json.dumps([height, width]),
        "stride": json.dumps(max(strides)),
        "anchors": json.dumps([[list(anchor) for anchor in head.anchors] for head in heads]),
        "scale_xy": json.dumps([head.scale_xy for head in heads]),
        "letterbox": "stretch",
        "nms_kind": heads[0].nms_kind,
        "beta_nms": json.dumps(heads[0].beta_nms),
        "producer": "yolokkn",
        "version": __version__,
    }


def _emit(builder: GraphBuilder, network: Network, weights: dict[int, tuple[np.ndarray, np.ndarray]]) -> None:
    builder.input("images", "float32", ("batch", *network.input_shape))
    head_of = {network.layers[i].sources[0]: f"yolo_{number}" for number, i in enumerate(network.heads)}
    emitted: dict[int, str] = {-1: "images"}
    number = 0
    for i, layer in enumerate(network.layers):
        inputs = [emitted[source] for source in layer.sources]
        if layer.kind == "yolo":
            name = f"yolo_{number}"
            number += 1
            if inputs[0] != name:  # the layer feeds two heads, or is no node of its own
                builder.node("Identity", inputs, output=name)
            builder.output(name, "float32", ("batch", *layer.shape))
            emitted[i] = name
        elif layer.kind == "convolutional":
            emitted[i] = _emit_convolution(builder, layer, weights[i], inputs[0], head_of.get(i, f"layer_{i}"))
        else:
            shapes = [network.input_shape if s < 0 else network.layers[s].shape for s in layer.sources]
            emitted[i] = _EMITTERS[layer.kind](builder, layer, inputs, shapes, f"layer_{i}")


def _emit_convolution(
    builder: GraphBuilder, layer: Layer, tensors: tuple[np.ndarray, np.ndarray], source: str, output: str
) -> str:
    conv = layer.settings
    names = [builder.initializer(f"{output}_{what}", a) for what, a in zip(("weight", "bias"), tensors, strict=True)]
    plain = output if conv.activation == "linear" else f"{output}_conv"
    builder.node(
        "Conv",
        [source, *names],
        output=plain,
        kernel_shape=[conv.size] * 2,
        strides=list(conv.strides_yx),
        pads=[conv.padding * conv.dilation] * 4,
        dilations=[conv.dilation] * 2,
        group=conv.groups,
    )
    return _emit_activation(builder, conv.activation, plain, output)


def _emit_activation(builder: GraphBuilder, kind: str, x: str, output: str) -> str:
    if kind == "leaky":
        return builder.node("LeakyRelu", [x], output=output, alpha=0.1)
    if kind == "relu":
        return builder.node("Relu", [x], output=output)
    if kind == "relu6":
        low, high = (builder.initializer(f"{output}_{v}", np.array(v, np.float32)) for v in (0, 6))
        return builder.node("Clip", [x, low, high], output=output)
    if kind == "logistic":
        return builder.node("Sigmoid", [x], output=output)
    if kind == "swish":
        return builder.node("Mul", [x, builder.node("Sigmoid", [x], output=f"{output}_gate")], output=output)
    if kind == "mish":
        softplus = builder.node("Softplus", [x], output=f"{output}_softplus")
        return builder.node("Mul", [x, builder.node("Tanh", [softplus], output=f"{output}_gate")], output=output)
    return x


def _emit_maxpool(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    pool = layer.settings
    before = pool.padding // 2
    pads = [before, before, pool.padding - before, pool.padding - before]
    size, strides = [pool.size] * 2, list(pool.strides_yx)
    return b.node("MaxPool", inputs, output=output, kernel_shape=size, strides=strides, pads=pads)


def _emit_avgpool(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    return b.node("GlobalAveragePool", inputs, output=output)


def _emit_upsample(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    scales = b.initializer(f"{output}_scales", np.array([1, 1, layer.settings, layer.settings], np.float32))
    rules = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return b.node("Resize", [inputs[0], "", scales], output=output, **rules)


def _emit_route(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    groups, group_id = layer.settings
    parts = []
    for k, (name, (channels, *_)) in enumerate(zip(inputs, shapes, strict=True)):
        part = channels // groups
        first, last = group_id * part, (group_id + 1) * part
        parts.append(name if groups == 1 else _emit_channels(b, name, first, last, f"{output}_part{k}"))
    return parts[0] if len(parts) == 1 else b.node("Concat", parts, output=output, axis=1)


def _emit_channels(b: GraphBuilder, name: str, first: int, last: int, output: str) -> str:
    bounds = [b.initializer(f"{output}_{k}", np.array([v])) for k, v in (("from", first), ("to", last), ("axis", 1))]
    return b.node("Slice", [name, *bounds], output=output)


def _emit_shortcut(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    total, channels = inputs[0], layer.shape[0]
    for k, (name, (other, *_)) in enumerate(zip(inputs[1:], shapes[1:], strict=True)):
        if other > channels:  # darknet adds the channels that both have
            name = _emit_channels(b, name, 0, channels, f"{output}_cut{k}")
        elif other < channels:
            pads = b.initializer(f"{output}_pads{k}", np.array([0, 0, 0, 0, 0, channels - other, 0, 0]))
            name = b.node("Pad", [name, pads], output=f"{output}_padded{k}")
        last = k == len(inputs) - 2 and layer.settings == "linear"
        total = b.node("Add", [total, name], output=output if last else f"{output}_sum{k}")
    return _emit_activation(b, layer.settings, total, output)


def _emit_product(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    product = b.node("Mul", inputs, output=output if layer.settings == "linear" else f"{output}_product")
    return _emit_activation(b, layer.settings, product, output)


def _emit_dropout(b: GraphBuilder, layer: Layer, inputs: list[str], shapes: list[tuple[int, ...]], output: str) -> str:
    return inputs[0]


_EMITTERS: dict[str, Callable[[GraphBuilder, Layer, list[str], list[tuple[int, ...]], str], str]] = {
    "maxpool": _emit_maxpool,
    "avgpool": _emit_avgpool,
    "upsample": _emit_upsample,
    "route": _emit_route,
    "shortcut": _emit_shortcut,
    "product": _emit_product,
    "dropout": _emit_dropout,
}
