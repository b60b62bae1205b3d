"""The layers that a darknet .cfg describes, with their shapes: everything is checked here, before weights are read."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from yolokkn.graph.darknet_cfg import Section
from yolokkn.graph.darknet_network import Convolution, Layer, MaxPool, Network, Shape, YoloHead

MAX_SIDE = 8192  # pixels of the input
MAX_CHANNELS = 65536
MAX_ELEMENTS = 1 << 28  # of one layer's output
ACTIVATIONS = ("linear", "leaky", "relu", "relu6", "swish", "mish", "logistic")


class _Plan:
    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = input_shape
        self.layers: list[Layer] = []

    def shape_of(self, index: int) -> Shape:
        return self.input_shape if index < 0 else self.layers[index].shape

    @property
    def previous(self) -> int:
        return len(self.layers) - 1

    def resolve(self, section: Section, key: str, indices: list[int]) -> tuple[int, ...]:
        here = len(self.layers)
        found = []
        for index in indices:
            target = index if index >= 0 else here + index
            if not 0 <= target < here:
                section.fail(f"{key} must name layers before this one (number {here}), got {index}", key)
            if self.layers[target].kind == "yolo":
                section.fail(f"{key} must not name a [yolo] layer, got {index}; darknet would read decoded boxes", key)
            found.append(target)
        return tuple(found)


def plan_network(sections: list[Section]) -> Network:
    """Work out every layer of a cfg: sources, shapes, settings.

    Args:
        sections: From `read_cfg`.

    Returns:
        The network; every number in it is within the limits of this module.

    Raises:
        ModelError: A section, activation or option is unknown to yolokkn, does not fit its neighbours or is too large.
    """
    net = sections[0]
    side = {"low": 1, "high": MAX_SIDE}
    shape = (net.integer("channels", 3, 1, 16), net.integer("height", 0, **side), net.integer("width", 0, **side))
    if not all(shape):
        net.fail("width and height must be given, got none")
    plan = _Plan(shape)
    for section in sections[1:]:
        if section.kind in _REFUSED:
            section.fail(f"must be a layer that ONNX detection models need, got a layer that {_REFUSED[section.kind]}")
        if section.kind not in _PLANNERS:
            section.fail(f"must be one of {', '.join(sorted(_PLANNERS))}; got an unknown section")
        if plan.layers and plan.layers[-1].kind == "yolo" and section.kind != "route":
            section.fail("must not follow a [yolo] layer directly; a [route] must stand between")
        layer = _PLANNERS[section.kind](plan, section)
        if min(layer.shape) < 1 or layer.shape[0] > MAX_CHANNELS or prod(layer.shape) > MAX_ELEMENTS:
            section.fail(f"must give an output of at most {MAX_ELEMENTS} numbers, none of it empty, got {layer.shape}")
        plan.layers.append(layer)
    network = Network(shape, tuple(plan.layers))
    _check_heads(network, net)
    return network


def _check_heads(network: Network, net: Section) -> None:
    if not network.heads:
        net.fail("must be followed by at least one [yolo] layer, got none; other networks have no boxes to decode")
    _, height, width = network.input_shape
    classes = {network.layers[i].settings.num_classes for i in network.heads}
    if len(classes) > 1:
        net.fail(f"must have [yolo] layers with the same classes, got {sorted(classes)}")
    for i in network.heads:
        _, rows, columns = network.layers[i].shape
        if height % rows or width % columns or height // rows != width // columns:
            net.fail(
                f"width and height must be multiples of the stride, got {width}x{height} for {columns}x{rows} cells"
            )


def _refuse_options(section: Section, reasons: dict[str, str]) -> None:
    for key, reason in reasons.items():
        if section.text(key, "0") not in ("0", "none", "-1000000000"):
            section.fail(f"{key} must be 0, got {section.text(key, '')[:40]!r}: {reason}", key)


def _activation(section: Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ACTIVATIONS:
        section.fail(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name[:40]!r}", "activation")
    return name


def _strides(section: Section) -> tuple[int, int]:
    stride = section.integer("stride", 1, 1, 64)
    return section.integer("stride_y", stride, 1, 64), section.integer("stride_x", stride, 1, 64)


def _plan_convolution(plan: _Plan, section: Section) -> Layer:
    _refuse_options(section, _REFUSED_CONVOLUTION)
    channels, height, width = plan.shape_of(plan.previous)
    filters = section.integer("filters", 1, 1, MAX_CHANNELS)
    size = section.integer("size", 1, 1, 64)
    strides = _strides(section)
    padding = size // 2 if section.integer("pad", 0, 0, 64) else section.integer("padding", 0, 0, 64)
    dilation = section.integer("dilation", 1, 1, 64) if size > 1 else 1
    groups = section.integer("groups", 1, 1, MAX_CHANNELS)
    if channels % groups or filters % groups:
        section.fail(f"groups must divide the {channels} channels and {filters} filters, got {groups}", "groups")
    if dilation > 1 and 2 * padding != size - 1:
        section.fail(f"dilation must come with pad=1 and an odd size, got size={size}, padding {padding}", "dilation")
    rows = (height + 2 * padding - size) // strides[0] + 1
    columns = (width + 2 * padding - size) // strides[1] + 1
    batch_normalize = section.integer("batch_normalize", 0, 0, 2) > 0
    settings = Convolution(
        channels, filters, size, strides, padding, dilation, groups, batch_normalize, _activation(section, "logistic")
    )
    return Layer("convolutional", section, (plan.previous,), (filters, rows, columns), settings)


def _plan_maxpool(plan: _Plan, section: Section) -> Layer:
    _refuse_options(section, {"maxpool_depth": "pooling over channels", "antialiasing": "a blur after the pooling"})
    channels, height, width = plan.shape_of(plan.previous)
    strides = _strides(section)
    size = section.integer("size", max(strides), 1, 256)
    padding = section.integer("padding", size - 1, 0, 512)
    if (padding + 1) // 2 >= size and padding:
        section.fail(f"padding must be less than twice the size {size} minus one, got {padding}", "padding")
    rows, columns = (height + padding - size) // strides[0] + 1, (width + padding - size) // strides[1] + 1
    return Layer("maxpool", section, (plan.previous,), (channels, rows, columns), MaxPool(size, strides, padding))


def _plan_avgpool(plan: _Plan, section: Section) -> Layer:
    return Layer("avgpool", section, (plan.previous,), (plan.shape_of(plan.previous)[0], 1, 1))


def _plan_upsample(plan: _Plan, section: Section) -> Layer:
    channels, height, width = plan.shape_of(plan.previous)
    stride = section.integer("stride", 2, 1, 64)  # a negative one would sum pixels
    if section.real("scale", 1.0, -1e6, 1e6) != 1.0:
        section.fail(f"scale must be 1, got {section.text('scale', '')[:40]!r}", "scale")
    return Layer("upsample", section, (plan.previous,), (channels, height * stride, width * stride), stride)


def _plan_route(plan: _Plan, section: Section) -> Layer:
    sources = plan.resolve(section, "layers", section.integers("layers", None, -100000, 100000))
    groups = section.integer("groups", 1, 1, MAX_CHANNELS)
    group_id = section.integer("group_id", 0, 0, groups - 1)
    shapes = [plan.shape_of(i) for i in sources]
    if len({shape[1:] for shape in shapes}) > 1:
        section.fail(f"layers must have the same height and width, got {[list(s[1:]) for s in shapes][:8]}", "layers")
    if any(shape[0] % groups for shape in shapes):
        section.fail(f"groups must divide the channels of each layer, got {groups}", "groups")
    channels = sum(shape[0] // groups for shape in shapes)
    return Layer("route", section, sources, (channels, *shapes[0][1:]), (groups, group_id))


def _plan_shortcut(plan: _Plan, section: Section) -> Layer:
    _refuse_options(section, {"weights_type": "learned weights of a shortcut"})
    others = plan.resolve(section, "from", section.integers("from", None, -100000, 100000))
    shape = plan.shape_of(plan.previous)
    for other in others:
        if plan.shape_of(other)[1:] != shape[1:]:
            section.fail(f"from must name a layer of {shape[1:]} pixels, got {plan.shape_of(other)[1:]}", "from")
    return Layer("shortcut", section, (plan.previous, *others), shape, _activation(section, "linear"))


def _plan_product(plan: _Plan, section: Section) -> Layer:
    (other,) = plan.resolve(section, "from", section.integers("from", None, -100000, 100000)[:1])
    shape, own = plan.shape_of(other), plan.shape_of(plan.previous)
    wanted = shape if section.kind == "sam" else (shape[0], 1, 1)
    if section.kind == "scale_channels" and section.integer("scale_wh", 0, 0, 1):
        wanted = (1, *shape[1:])
    if own != wanted:
        section.fail(f"the layer before must have the shape {wanted}, got {own}", "from")
    return Layer("product", section, (plan.previous, other), shape, _activation(section, "linear"))


def _plan_dropout(plan: _Plan, section: Section) -> Layer:
    return Layer("dropout", section, (plan.previous,), plan.shape_of(plan.previous))


def _plan_yolo(plan: _Plan, section: Section) -> Layer:
    _refuse_options(
        section, {"new_coords": "another decoding of the boxes", "embedding_layer": "features for tracking"}
    )
    num = section.integer("num", 1, 1, 1024)
    mask = section.integers("mask", range(num), 0, num - 1)
    numbers = section.reals("anchors", 1e-6, 1e6)
    if len(numbers) < 2 * num:
        section.fail(f"anchors must be {num} pairs, got {len(numbers)} numbers", "anchors")
    num_classes = section.integer("classes", 20, 1, MAX_CHANNELS)
    shape = plan.shape_of(plan.previous)
    if shape[0] != len(mask) * (5 + num_classes):
        section.fail(
            f"the layer before must have {len(mask)} anchors x (5 + {num_classes} classes) = "
            f"{len(mask) * (5 + num_classes)} filters, got {shape[0]}"
        )
    settings = YoloHead(
        tuple((numbers[2 * i], numbers[2 * i + 1]) for i in mask),
        num_classes,
        section.real("scale_x_y", 1.0, 0.5, 4.0),
        section.text("nms_kind", "default")[:40],
        section.real("beta_nms", 0.6, 0.0, 10.0),
    )
    return Layer("yolo", section, (plan.previous,), shape, settings)


_PLANNERS: dict[str, Callable[[_Plan, Section], Layer]] = {
    "convolutional": _plan_convolution,
    "conv": _plan_convolution,
    "maxpool": _plan_maxpool,
    "max": _plan_maxpool,
    "avgpool": _plan_avgpool,
    "avg": _plan_avgpool,
    "upsample": _plan_upsample,
    "route": _plan_route,
    "shortcut": _plan_shortcut,
    "sam": _plan_product,
    "scale_channels": _plan_product,
    "dropout": _plan_dropout,
    "yolo": _plan_yolo,
}

_REFUSED = {
    "region": "decodes YOLOv2 boxes, which yolokkn has no layout for",
    "reorg": "only YOLOv2 has, and its order of channels is not the one its name says",
    "reorg3d": "only YOLOv2 has, and yolokkn has no layout for its boxes",
    "gaussian_yolo": "predicts a variance for each coordinate, which yolokkn has no layout for",
    "detection": "decodes YOLOv1 boxes, which yolokkn has no layout for",
    "connected": "yolokkn has not implemented",
    "local": "yolokkn has not implemented",
    "softmax": "classifies; yolokkn detects",
    "cost": "only training needs",
    "crop": "only training needs",
    "net": "may stand only at the beginning",
    **dict.fromkeys(("rnn", "gru", "lstm", "crnn", "conv_lstm", "history"), "keeps state between frames"),
}

_REFUSED_CONVOLUTION = {
    "antialiasing": "a blur after the convolution",
    "binary": "weights of one bit",
    "xnor": "weights and inputs of one bit",
    "share_index": "weights shared with another layer",
    "assisted_excitation": "an input that only training has",
    **dict.fromkeys(("sway", "rotate", "stretch", "stretch_sway"), "kernels that are deformed when loaded"),
    **dict.fromkeys(("dontload", "dontloadscales"), "weights that are not in the file"),
}
