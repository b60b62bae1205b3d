"""Checkpoints keep what they are given, and say in plain words what they do not take."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import safetensors.torch
import torch

from yolokkn.errors import ModelError
from yolokkn.training.checkpoint import load_checkpoint, pack_state, save_checkpoint, unpack_state
from yolokkn.training.safetensors_file import DTYPES, read_safetensors, write_safetensors


def every_kind():
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for word, dtype in DTYPES.items():
        values = torch.randint(0, 2, (3, 5), generator=rng)
        tensors[f"model/{word}"] = values.to(dtype)
    return {
        **tensors,
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 4),
        "strided": torch.arange(12.0).view(3, 4).T,
    }


def test_tensors_of_every_kind_come_back(tmp_path):
    path = tmp_path / "last.safetensors"
    tensors = every_kind()
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    save_checkpoint(path, tensors, {"epoch": 3, "metrics": {"AP": 0.5}, "names": ["ä", "b"]})
    found = load_checkpoint(path)
    assert found.manifest["epoch"] == 3 and found.manifest["names"] == ["ä", "b"]
    assert found.manifest["versions"]["torch"] == str(torch.__version__)
    assert found.tensors.keys() == before.keys()
    for name, tensor in found.tensors.items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name]) and torch.equal(tensors[name], before[name])
    assert found.select("model").keys() == set(DTYPES)


def test_the_format_is_everybodys(tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in every_kind().items()}
    write_safetensors(ours, tensors, {"k": "v"})
    safetensors.torch.save_file(tensors, theirs, {"k": "v"})
    read = safetensors.torch.load_file(ours)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    mine, metadata = read_safetensors(theirs)
    assert metadata == {"k": "v"}
    assert all(torch.equal(mine[name], tensors[name]) for name in tensors)


def test_loaded_tensors_may_be_changed(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"a": torch.ones(3), "b": torch.ones(3)}, {})
    tensors = load_checkpoint(path).tensors
    tensors["a"] += 1
    assert tensors["b"].tolist() == [1, 1, 1]


def test_an_optimizer_and_generators_go_on_as_if_nothing_had_been(tmp_path):
    torch.manual_seed(0)
    network = torch.nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, amsgrad=True)

    def step():
        optimizer.zero_grad()
        network(torch.rand(2, 4)).square().sum().backward()
        optimizer.step()

    step()
    numbers = np.random.default_rng(5)
    states = {
        "optimizer": optimizer.state_dict(),
        "generators": {
            "torch": torch.get_rng_state(),
            "numpy": numbers.bit_generator.state,
            "python": random.getstate(),
        },
    }
    tensors, manifest = {f"model/{k}": v.clone() for k, v in network.state_dict().items()}, {}
    for name, state in states.items():
        packed, manifest[name] = pack_state(name, state)
        tensors |= packed
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, tensors, manifest)
    step()
    wanted = (network.weight.clone(), numbers.random(), random.random())
    found = load_checkpoint(path)
    network.load_state_dict(found.select("model"))
    optimizer.load_state_dict(unpack_state(found.tensors, found.manifest["optimizer"]))
    generators = unpack_state(found.tensors, found.manifest["generators"])
    torch.set_rng_state(generators["torch"])
    numbers.bit_generator.state = generators["numpy"]
    random.setstate(generators["python"])
    step()
    assert torch.equal(network.weight, wanted[0])
    assert (numbers.random(), random.random()) == wanted[1:]


def test_odd_states_survive():
    state = {
        "a": (1, [2.5, None, True]),
        3: {"$x": math.inf},
        (1, 2): "text",
        "array": np.arange(3),
        "n": np.float32(0.5),
    }
    tensors, rest = pack_state("p", state)
    back = unpack_state(tensors, json.loads(json.dumps(rest)))
    assert back.pop("array").tolist() == state.pop("array").tolist()
    assert back == state
    assert math.isnan(unpack_state({}, pack_state("p", math.nan)[1]))
    with pytest.raises(TypeError, match="pack_state: state must be numbers"):
        pack_state("p", {"f": object()})
    for bad in (
        {"$tensor": "p/9"},
        {"$tuple": 3},
        {"$what": 1},
        {"$items": [1]},
        {"$float": "x"},
        {"$float": "inf", "b": 1},
    ):
        with pytest.raises(ModelError, match="packed state must be as pack_state writes it"):
            unpack_state({}, bad)


@pytest.mark.parametrize("manifest", [{"a": math.nan}, {"a": {1, 2}}, {1: "a"}, {"a": {2: 3}}, {"a": torch.ones(1)}])
def test_a_manifest_that_is_no_json_is_refused(tmp_path, manifest):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {}, {"old": 1})
    with pytest.raises(ValueError, match="save_checkpoint: manifest must"):
        save_checkpoint(path, {}, manifest)
    assert load_checkpoint(path).manifest["old"] == 1


@pytest.mark.parametrize(
    ("tensors", "error"),
    [
        ({"a": np.zeros(3)}, TypeError),
        ({"a": torch.zeros(3).to_sparse()}, TypeError),
        ({"a": torch.zeros(3, dtype=torch.complex64)}, TypeError),
        ({"": torch.zeros(3)}, ValueError),
        ({"__metadata__": torch.zeros(3)}, ValueError),
        ({"x" * 2000: torch.zeros(3)}, ValueError),
        ({"a": torch.zeros([1] * 17)}, ValueError),
    ],
)
def test_what_is_no_tensor_of_the_format_is_refused(tmp_path, tensors, error):
    with pytest.raises(error, match="write_safetensors: "):
        save_checkpoint(tmp_path / "a.safetensors", tensors, {})
    assert not list(tmp_path.iterdir())


def test_names_and_folders(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.safetensors, got a\.pt"):
        save_checkpoint(tmp_path / "a.pt", {}, {})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        save_checkpoint(tmp_path / "no" / "a.safetensors", {}, {})
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"must be a \.safetensors file"):
        load_checkpoint(tmp_path / "a.onnx")


def test_foreign_and_newer_files_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"a": torch.ones(1)}, {"format": "pt"})
    with pytest.raises(ModelError, match=r"a\.safetensors: no checkpoint of yolokkn"):
        load_checkpoint(path)
    for manifest, said in (
        ('{"format": 2}', "has format 2, and yolokkn .* reads 1"),
        ('{"a": 1}', "with its format's number"),
        ("[1]", "must be a JSON object"),
        ("{", "the manifest must be JSON"),
        ('{"format": 1, "format": 1}', "a key stands twice"),
        ('{"format": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "the manifest must be JSON"),
    ):
        write_safetensors(path, {}, {"yolokkn": manifest})
        with pytest.raises(ModelError, match=said):
            load_checkpoint(path)


def test_pt_only_on_demand_and_weights_only(tmp_path):
    path = tmp_path / "weights.pt"
    network = torch.nn.Linear(2, 3)
    for content in (network.state_dict(), {"model": network.state_dict(), "epoch": 4}):
        torch.save(content, path)
        with pytest.raises(ModelError, match=r"\.pt files are not read.*--allow-pt"):
            load_checkpoint(path)
        found = load_checkpoint(path, allow_pt=True)
        assert torch.equal(found.select("model")["weight"], network.weight)
    for content in ([1, 2], {}, {"a": 3}, {"model": {"a": "b"}}):
        torch.save(content, path)
        with pytest.raises(ModelError, match=r"weights\.pt: must hold tensors by name"):
            load_checkpoint(path, allow_pt=True)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "no.pt", allow_pt=True)
