"""What people break when they write a model anew: each is named at the stage where it happens, in every precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.recorded import cell_heads, recorded_model
from tests.runtime.test_parity import Changed, changed, first
from yolokkn.data.toy_scene import ToyScene, draw_scene
from yolokkn.runtime.load import load
from yolokkn.runtime.model import Model, Workspace
from yolokkn.runtime.parity import compare_models
from yolokkn.runtime.parity_report import as_table

PRECISIONS = ("fp32", "fp16", "int8")
SCENE = draw_scene(3, 0, ToyScene((480, 640), persons=True, max_objects=8)).image
NOISE = np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def packaged():
    return load("person-vehicle", threads=1, score_threshold=0.05)


class _FedOtherwise(Changed):
    """A backend whose graph sees its input otherwise."""

    def run(self, feeds):
        return self._backend.run({name: self._change(value) for name, value in feeds.items()})


def noisy(model, size, seed=1):
    rng = np.random.default_rng(seed)
    return changed(model, lambda o: {k: (v * (1 + rng.normal(0, size, v.shape))).astype(v.dtype) for k, v in o.items()})


@pytest.mark.parametrize(("precision", "size"), [("fp32", 1e-5), ("fp16", 1e-3), ("int8", 3e-2)])
def test_noise_of_the_precision_passes(packaged, precision, size):
    result = compare_models({"a": noisy(packaged, size)}, packaged, SCENE, precision=precision)
    assert result.agrees and result.num_detections >= 3, as_table(result)


@pytest.mark.parametrize(("precision", "size"), [("fp32", 3e-3), ("fp16", 0.3)])
def test_noise_of_the_next_precision_does_not(packaged, precision, size):
    result = compare_models({"a": noisy(packaged, size)}, packaged, SCENE, precision=precision)
    assert first(result).stage == "network"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_colours_swapped_inside_the_graph_are_the_networks(packaged, precision):
    """Within int8's tolerances they may lie: networks hardly look at colours."""
    photo = np.ascontiguousarray(SCENE * np.array([1.0, 0.6, 0.3])).astype(np.uint8)  # what has one colour hides it
    swapped = replace(packaged, backend=_FedOtherwise(packaged.backend, lambda x: np.ascontiguousarray(x[:, ::-1])))
    result = compare_models({"a": swapped}, packaged, photo, precision=precision)
    assert first(result).stage == "network", as_table(result)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_scale_applied_twice_is_the_networks(packaged, precision):
    """0 to 1 divided by 255 once more: nothing is found."""
    dark = replace(packaged, backend=_FedOtherwise(packaged.backend, lambda x: x / np.float32(255)))
    result = compare_models({"a": dark}, packaged, SCENE, precision=precision)
    assert first(result).stage == "network", as_table(result)


class _HalfAPixelOff(Model):
    """A preprocessing whose samples lie at corners, not at centres."""

    def workspace(self):
        return _OffWorkspace(self)


class _OffWorkspace(Workspace):
    def _fill(self, image):
        letterbox = super()._fill(image)
        self._blob = np.ascontiguousarray((self._blob + np.roll(self._blob, 1, -1)) / np.float32(2))
        return letterbox


@pytest.mark.parametrize("precision", PRECISIONS)
def test_half_a_pixel_is_the_preprocessings(packaged, precision):
    off = _HalfAPixelOff(**{name: getattr(packaged, name) for name in packaged.__dataclass_fields__})
    result = compare_models({"a": off}, packaged, SCENE, precision=precision)
    assert first(result).stage == "preprocess" and "grey levels" in first(result).detail


def detector():
    """A v8 detector of 64 x 64 with three classes, nine objects and their neighbours."""
    table = cell_heads(7)
    for row in range(0, 64, 7):
        table[row, 2:4], table[row, 4 + row % 3] = (9, 9), 0.9
        table[row + 1, 2:4], table[row + 1, 4 + row % 3] = (9, 9), 0.4
    return table


def model_of(table):
    return load(recorded_model({"output0": table.T[None].astype(np.float32).copy()}, metadata={"task": "detect"}))


def logits(outputs):
    p = outputs["output0"].copy()
    p[:, 4:] = np.log(np.clip(p[:, 4:], 1e-6, 1 - 1e-6) / (1 - np.clip(p[:, 4:], 1e-6, 1 - 1e-6)))
    return {"output0": p}


def offset_classes(outputs):
    p = outputs["output0"].copy()
    p[:, 4:] = np.roll(p[:, 4:], 1, 1)
    return {"output0": p}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("change", [logits, offset_classes])
def test_a_head_that_is_wrong_is_the_networks(change, precision):
    model = model_of(detector())
    result = compare_models({"a": changed(model, change)}, model, NOISE, precision=precision)
    assert first(result).stage == "network", as_table(result)
    if change is offset_classes and precision == "int8":
        assert "cells share 0% of their scores" in first(result).detail


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_level_that_is_dropped_is_the_networks(precision):
    """Even where nothing of the picture lies on it."""
    model = model_of(detector())
    result = compare_models({"a": model_of(detector())}, model, NOISE, precision=precision)
    assert result.agrees
    dropped = changed(model, lambda o: {"output0": np.ascontiguousarray(o["output0"][..., :-4])})
    result = compare_models({"a": dropped}, model, NOISE, precision=precision)
    assert first(result).stage == "network"
    assert "(1 x 7 x 80) against output0 (1 x 7 x 84): cells or classes are missing" in first(result).detail


def test_names_of_outputs_are_the_exporters_matter():
    table = detector().T[None].astype(np.float32).copy()
    one, other = (load(recorded_model({name: table}), layout="v8") for name in ("output0", "boxes_and_scores"))
    result = compare_models({"a": other}, one, NOISE)
    assert result.agrees and first(result) is None
    assert result.columns[0].stages[1].agrees is True and "84" not in result.columns[0].stages[1].text


def test_a_model_of_a_fixed_batch_is_held_against_one_of_another():
    table = detector().T[None].astype(np.float32)
    one = load(recorded_model({"output0": table.copy()}), layout="v8")
    three = load(recorded_model({"output0": np.repeat(table, 3, 0)}, batch=3), layout="v8")
    result = compare_models({"three": three}, one, NOISE)
    assert result.agrees and result.columns[0].stages[1].agrees is True


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (300, 400)])
def test_where_nothing_is_seen_the_order_of_noise_is_not_judged(packaged, shape):
    flat: np.ndarray = np.full((*shape, 3), 90, np.uint8)
    order = np.random.default_rng(0).permutation

    def shuffled(outputs):
        return {name: np.concatenate([v[:, :4], order(v[:, 4:].T).T], 1) for name, v in outputs.items()}

    result = compare_models({"a": changed(packaged, shuffled)}, packaged, flat, precision="int8")
    assert result.agrees, as_table(result)


def test_outputs_that_the_layout_cannot_read_are_the_networks_not_the_end():
    """A level dropped of a grid that the layout counts: its decoder refuses what is left."""
    table: np.ndarray = np.zeros((1, 84, 7), np.float32)
    table[0, ::9, 4:] = 0.9
    whole = load(recorded_model({"output": table}), layout="yolox")
    dropped = changed(whole, lambda o: {"output": np.ascontiguousarray(o["output"][:, :-4])})
    result = compare_models({"a": dropped, "b": whole}, whole, NOISE)
    assert first(result).stage == "network" and "cells or classes are missing" in first(result).detail
    assert "decode      DIFFERS does not run" in as_table(result) and result.columns[1].agrees
