"""Crafted and mutated files: always a ModelError with one line, never a crash, a hang or a giant allocation."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.graph.darknet_models import EVERY_LAYER, TINY, random_floats, write_model, write_weights
from tests.strategies import scaled
from yolokkn.errors import ModelError
from yolokkn.graph import darknet_to_onnx, model_cost, parse_model
from yolokkn.graph.darknet_cfg import read_cfg
from yolokkn.graph.darknet_layers import plan_network

HEAD = TINY[TINY.index("[yolo]") :]


pytestmark = pytest.mark.usefixtures("little_memory")

CRAFTED = [
    (TINY.replace("filters=6", "filters=1000000000", 1), r":6: |\[convolutional\] filters must be an integer from 1"),
    (TINY.replace("width=32", "width=999999"), r"model.cfg:2: \[net\] width must be an integer from 1 to 8192"),
    (TINY.replace("width=32", "width=-32"), r"model.cfg:2: \[net\] width must be .* got '-32'"),
    (TINY.replace("width=32\n", ""), "width and height must be given"),
    (TINY.replace("width=32", "width=33"), "must be multiples of the stride"),
    (
        TINY.replace("size=3", "size=3\ngroups=4"),
        r"model.cfg:8: \[convolutional\] groups must divide the 3 channels and 6",
    ),
    (TINY.replace("size=3", "size=0"), "size must be an integer from 1"),
    (TINY.replace("size=3", "size=1e3"), "size must be an integer"),
    (TINY.replace("size=3", "size=" + "9" * 5000), "size must be an integer"),
    (TINY.replace("stride=2", "stride=0"), "stride must be an integer from 1"),
    (TINY.replace("pad=1", "padding=-1"), "padding must be an integer from 0"),
    (TINY.replace("leaky", "sinus"), "activation must be one of linear, leaky, .* got 'sinus'"),
    (TINY.replace("[yolo]", "[route]\nlayers=5\n[yolo]"), "layers must name layers before this one .* got 5"),
    (TINY.replace("[yolo]", "[route]\nlayers=-3\n[yolo]"), "layers must name layers before this one .* got -3"),
    (TINY.replace("[yolo]", "[route]\nlayers=0,1\n[yolo]"), "the layer before must have .* got 12"),
    (TINY.replace("[yolo]", "[route]\n[yolo]"), "layers must be given, got none"),
    (TINY.replace("[yolo]", "[route]\nlayers=,\n[yolo]"), "layers must be an integer"),
    (TINY.replace("[yolo]", "[route]\nlayers=-1\ngroups=4\n[yolo]"), "groups must divide"),
    (
        TINY.replace("[yolo]", "[route]\nlayers=-1\ngroups=2\ngroup_id=2\n[yolo]"),
        "group_id must be an integer from 0 to 1",
    ),
    (TINY.replace("[yolo]", "[upsample]\nstride=64\n" * 9 + "[yolo]"), "must give an output of at most"),
    (TINY.replace("[yolo]", "[upsample]\nstride=-2\n[yolo]"), "stride must be an integer from 1"),
    (TINY.replace("[yolo]", "[maxpool]\nsize=2\npadding=9\n[yolo]"), "padding must be less than"),
    (TINY.replace("[yolo]", "[maxpool]\nsize=99\npadding=0\n[yolo]"), "none of it empty"),
    (TINY.replace("[yolo]", "[region]"), "region.* decodes YOLOv2 boxes"),
    (TINY.replace("[yolo]", "[warp]\n[yolo]"), "must be one of .*; got an unknown section"),
    (TINY.replace("[yolo]", "[reorg]\nstride=2\n[yolo]"), "reorg"),
    (TINY.replace("[yolo]", "[yolo]\nnew_coords=1"), "new_coords must be 0"),
    (TINY.replace("mask=0", "mask=1"), "mask must be an integer from 0 to 0"),
    (TINY.replace("anchors=4,5", "anchors=4"), "anchors must be 1 pairs, got 1 numbers"),
    (TINY.replace("anchors=4,5", "anchors=4,nan"), "anchors must be a number"),
    (TINY.replace("anchors=4,5", "anchors=4,-5"), "anchors must be a number"),
    (TINY.replace("classes=1", "classes=1000000000"), "classes must be an integer"),
    (TINY.replace("num=1", "num=1000000000"), "num must be an integer"),
    (TINY.replace(HEAD, ""), r"at least one \[yolo\] layer"),
    (TINY + HEAD, r"must not follow a \[yolo\] layer directly"),
    (TINY + "[route]\nlayers=-1\n" + HEAD, r"must not name a \[yolo\] layer"),
    (TINY + "[route]\nlayers=-2\n" + HEAD.replace("classes=1", "classes=2"), "the layer before must have"),
    (TINY + "[net]\nwidth=1\n", "must not follow|may stand only at the beginning"),
    (TINY.replace("filters=6", "filters=6\nfilters=7", 1), "filters must be given once"),
    (TINY.replace("filters=6", "filters", 1), r"model.cfg:6: a line must be \[section\] or key=value, got 'filters'"),
    (TINY[1:], r"model.cfg:1: the first line must be \[net\]"),
    ("", r"the first section must be \[net\], got none"),
    (TINY.replace("[net]", "[convolutional]"), r"the first section must be \[net\], got \[convolutional\]"),
    (TINY + "#" * (1 << 20), "must have at most 1048576 bytes"),
    (TINY + "[dropout]\n" * 3000, "must have at most 2000 sections"),
    (TINY.replace("leaky", "leaky\0"), "got NUL bytes"),
    (
        TINY.replace("size=3", "size=3\ndilation=3\npadding=2").replace("pad=1\n", ""),
        "dilation must come with pad=1",
    ),
    (TINY.replace("[yolo]", "[shortcut]\nfrom=-2\nweights_type=per_channel\n[yolo]"), "weights_type must be 0"),
    (TINY.replace("[yolo]", "[convolutional]\nfilters=6\nsize=1\nbinary=1\n[yolo]"), "binary must be 0"),
    (TINY.replace("[yolo]", "[sam]\nfrom=0,1,x\n[yolo]"), "from must be an integer"),
    (TINY.replace("[yolo]", "[scale_channels]\nfrom=0\n[yolo]"), "the layer before must have the shape"),
]


@pytest.mark.parametrize("number", range(len(CRAFTED)))
def test_a_crafted_cfg_is_refused_with_its_place(tmp_path, number):
    text, said = CRAFTED[number]
    (tmp_path / "model.cfg").write_text(text)
    (tmp_path / "model.weights").write_bytes(bytes(20))
    with pytest.raises(ModelError, match=said) as caught:
        darknet_to_onnx(tmp_path / "model.cfg")
    message = str(caught.value)
    assert message.startswith("darknet_to_onnx: ") and "\n" not in message and len(message) < 600


def test_weights_that_do_not_fit_are_refused_before_allocating(tmp_path):
    cfg = write_model(tmp_path, TINY)
    weights = tmp_path / "model.weights"
    whole = weights.read_bytes()
    for data, said in (
        (whole[:-1], "must hold the 228 floats that the cfg describes, got 227 and 3 bytes"),
        (whole + bytes(4), "must hold the 228 floats that the cfg describes, got 229"),
        (whole + b"x", "got 228 and 1 bytes"),
        (whole[:20], "got 0"),
        (whole[:7], "must begin with a header of 16 or 20 bytes, got 7 bytes"),
        (b"", "got 0 bytes"),
        (b"\xff" * len(whole), "must be darknet weights, got version -1.-1"),
        (b"PK\x03\x04" + whole[4:], "must be darknet weights, got version"),
        (whole[:20] + b"\xff" * (len(whole) - 20), "must hold finite numbers"),
    ):
        weights.write_bytes(data)
        with pytest.raises(ModelError, match=said):
            darknet_to_onnx(cfg)
    floats = np.frombuffer(whole[20:], "<f4").copy()
    floats[18:24] = -1
    write_weights(weights, floats)
    with pytest.raises(ModelError, match="variances of 0 or more"):
        darknet_to_onnx(cfg)
    floats[18:24], floats[6:12] = 0, 1e38
    write_weights(weights, floats)
    with pytest.raises(ModelError, match="range of float32"):
        darknet_to_onnx(cfg)
    weights.unlink()
    with pytest.raises(ModelError, match="weights_path must name a file, got no such file"):
        darknet_to_onnx(cfg)


def test_a_large_network_without_its_weights_costs_nothing(tmp_path):
    layer = "[convolutional]\nfilters=65536\nsize=64\npad=0\nstride=1\npadding=32\nactivation=linear\n[avgpool]\n"
    (tmp_path / "model.cfg").write_text(TINY.replace("=32", "=64").replace("[yolo]", layer * 900 + "[yolo]"))
    (tmp_path / "model.weights").write_bytes(bytes(1000))
    begin = time.perf_counter()
    with pytest.raises(ModelError):
        darknet_to_onnx(tmp_path / "model.cfg")
    assert time.perf_counter() - begin < 2


NASTY = [
    "0",
    "-1",
    "1",
    "2",
    "7",
    "64",
    "8192",
    "65536",
    "999999999999",
    "1e9",
    "nan",
    "inf",
    "",
    "a",
    "-",
    "1,2",
    ",",
    "\0",
    "é",
    "=",
]


def mutate_text(rng: np.random.Generator, text: str) -> str:
    lines = text.splitlines()
    for _ in range(rng.integers(1, 4)):
        i = int(rng.integers(len(lines)))
        choice = rng.integers(5)
        if choice <= 2 and "=" in lines[i]:
            lines[i] = lines[i].split("=")[0] + "=" + NASTY[rng.integers(len(NASTY))]
        elif choice == 3:
            lines.insert(int(rng.integers(len(lines))), lines[i])
        else:
            del lines[i]
    return "\n".join(lines)


def test_mutated_cfgs(tmp_path):
    rng = np.random.default_rng(0)
    cfg = write_model(tmp_path, EVERY_LAYER)
    refused = accepted = 0
    for k in range(scaled(2000)):
        cfg.write_text(mutate_text(rng, EVERY_LAYER))
        try:
            network = plan_network(read_cfg(cfg))
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        if sum(layer.settings.num_floats for layer in network.layers if layer.kind == "convolutional") > 100_000:
            continue
        accepted += 1
        if k % 5 == 0:
            write_weights(tmp_path / "model.weights", random_floats(rng, cfg))
            assert parse_model(darknet_to_onnx(cfg)).outputs
    assert refused > 600 and accepted > 200


def test_random_bytes_as_cfg_and_weights(tmp_path):
    rng = np.random.default_rng(1)
    cfg = write_model(tmp_path, TINY)
    text, weights = cfg.read_bytes(), (tmp_path / "model.weights").read_bytes()
    for _ in range(scaled(1000)):
        cfg.write_bytes(mutate_bytes(rng, text))
        (tmp_path / "model.weights").write_bytes(mutate_bytes(rng, weights))
        try:
            darknet_to_onnx(cfg)
        except ModelError as error:
            assert "\n" not in str(error)


def mutate_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    out = bytearray(data)
    for _ in range(rng.integers(0, 4)):
        i = int(rng.integers(len(out)))
        choice = rng.integers(4)
        if choice == 0:
            out[i] = int(rng.integers(256))
        elif choice == 1:
            del out[i : i + int(rng.integers(1, 9))]
        elif choice == 2:
            out[i:i] = rng.bytes(int(rng.integers(1, 9)))
        else:
            out[i] ^= 1 << int(rng.integers(8))
        if not out:
            break
    return bytes(out)


def test_mutated_onnx_files(tmp_path):
    whole = darknet_to_onnx(write_model(tmp_path, EVERY_LAYER))
    small = darknet_to_onnx(write_model(tmp_path, TINY))
    rng = np.random.default_rng(2)
    refused = accepted = 0
    for k in range(scaled(4000)):
        data = mutate_bytes(rng, whole if k % 4 == 0 else small)
        try:
            model = parse_model(data)
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        accepted += 1
        model_cost(model, (64, 64) if k % 2 else None)
    assert refused > 500 and accepted > 500


def test_every_truncation_of_an_onnx_file_is_refused(tmp_path):
    data = darknet_to_onnx(write_model(tmp_path, TINY))
    graph_end = data.rindex(b"yolo_0")  # what follows the graph is metadata, whose loss protobuf cannot notice
    for end in range(graph_end):
        with pytest.raises(ModelError):
            parse_model(data[:end])
