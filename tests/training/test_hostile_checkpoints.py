"""Malicious and damaged checkpoints: a ModelError of one line, nothing executed, nothing large allocated."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
import torch

import yolokkn
from tests.strategies import scaled
from tests.training import payloads
from yolokkn.deploy import load_checkpoint_model, load_network
from yolokkn.errors import ModelError
from yolokkn.training.checkpoint import load_checkpoint, save_checkpoint
from yolokkn.training.safetensors_file import MAX_HEADER_BYTES, read_safetensors


def test_the_payloads_would_run(tmp_path):
    """Loaded as pickles are, they create the canary: what the next test refuses is alive."""
    canary = tmp_path / "canary"
    for name, value in payloads.calls(str(canary)).items():
        result = pickle.loads(pickle.dumps(value))
        if name in ("popen", "partial"):
            result.wait() if name == "popen" else list(result)
        made = [p for p in tmp_path.iterdir() if p.name.startswith("canary")]
        assert made, name
        for path in made:
            path.rmdir() if path.is_dir() else path.unlink()
    for data in (payloads.protocol_0(str(canary)), payloads.stack_global(str(canary))):
        pickle.loads(data)
        assert canary.exists()
        canary.unlink()


def test_no_payload_runs_through_any_door(tmp_path):
    canary = tmp_path / "canary"
    files = payloads.payloads(canary)
    assert len(files) >= 30
    doors = {
        "load_checkpoint": load_checkpoint,
        "allow_pt": lambda path: load_checkpoint(path, allow_pt=True),
        "load_network": load_network,
        "load_checkpoint_model": load_checkpoint_model,
        "load": yolokkn.load,
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        for door, opens in doors.items():
            with pytest.raises(ModelError) as caught:
                opens(path)
            assert "\n" not in str(caught.value), (door, name)
            assert not [p for p in tmp_path.iterdir() if p.name.startswith("canary")], (door, name)


def test_an_archive_that_unpacks_to_more_than_it_is_is_refused(tmp_path, little_memory):
    path = tmp_path / "bomb.pt"
    path.write_bytes(payloads.archive(bytes(1 << 27), compression=8))
    with pytest.raises(ModelError, match="unpacks to more than it is"):
        load_checkpoint(path, allow_pt=True)


def header_file(content, data=b"", length=None):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


CRAFTED = {
    "empty": (b"", "it has 0 bytes"),
    "seven bytes": (bytes(7), "it has 7 bytes"),
    "huge header": (header_file({}, length=2**63), "its header would have 9223372036854775808 bytes"),
    "header beyond the file": (header_file({}, length=3), "its header would have 3 bytes"),
    "header above the limit": (header_file({}, length=MAX_HEADER_BYTES + 1), "its header would have"),
    "no utf-8": (header_file(b'{"\xff": 1}'), "must be JSON"),
    "no json": (header_file(b"{nonsense}"), "must be JSON"),
    "no object": (header_file(b"[]"), "must be a JSON object"),
    "deep": (header_file(b"[" * 200_000), "must be JSON"),
    "long number": (header_file(b'{"a": ' + b"9" * 10_000 + b"}"), "must be JSON|must have dtype"),
    "nan": (header_file(b'{"a": NaN}'), "NaN is no JSON"),
    "key twice": (header_file(b'{"a": {}, "a": {}}'), "a key stands twice"),
    "inner key twice": (header_file(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "a key stands twice"),
    "metadata no text": (header_file({"__metadata__": {"a": 1}}), "__metadata__ must be text by name"),
    "metadata a list": (header_file({"__metadata__": []}), "__metadata__ must be text by name"),
    "metadata twice": (header_file(b'{"__metadata__": {}, "__metadata__": {}}'), "a key stands twice"),
    "entry no object": (header_file({"a": 3}), "must have dtype, shape and data_offsets"),
    "entry with more": (header_file({"a": tensor(extra=1)}, bytes(8)), "and nothing else"),
    "unknown dtype": (header_file({"a": tensor("F7")}, bytes(8)), "must have one of the dtypes"),
    "dtype a list": (header_file({"a": {**tensor(), "dtype": ["F32"]}}, bytes(8)), "must have one of the dtypes"),
    "negative size": (header_file({"a": tensor(shape=(-2,))}, bytes(8)), "sizes of 0 or more"),
    "float size": (header_file({"a": tensor(shape=(2.0,))}, bytes(8)), "sizes of 0 or more"),
    "bool size": (header_file({"a": tensor(shape=(True, 2))}, bytes(8)), "sizes of 0 or more"),
    "rank": (header_file({"a": tensor(shape=[1] * 17 + [2])}, bytes(8)), "at most 16 sizes"),
    "overflow": (header_file({"a": tensor(shape=(2**40, 2**40))}, bytes(8)), "must take the bytes of"),
    "wrap to 8": (header_file({"a": tensor(shape=(2**47, 2**17, 2))}, bytes(8)), "must take the bytes of"),
    "terabytes": (header_file({"a": tensor(shape=(2**40,), offsets=(0, 2**42))}), "its tensors take 4398046511104"),
    "offsets backwards": (header_file({"a": tensor(offsets=(8, 0))}, bytes(8)), "must take the bytes of"),
    "offsets negative": (header_file({"a": tensor(offsets=(-8, 0))}, bytes(8)), "two numbers of 0 or more"),
    "offsets three": (header_file({"a": tensor(offsets=(0, 4, 8))}, bytes(8)), "two numbers of 0 or more"),
    "wrong length": (header_file({"a": tensor(offsets=(0, 4))}, bytes(4)), "must take the bytes of"),
    "overlap": (header_file({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12)), "overlaps the tensor before"),
    "same bytes": (header_file({"a": tensor(), "b": tensor()}, bytes(8)), "overlaps the tensor before"),
    "gap": (header_file({"a": tensor(offsets=(8, 16))}, bytes(16)), "leaves a gap before it"),
    "tail": (header_file({"a": tensor()}, bytes(9)), "the file is cut or has a tail"),
    "cut": (header_file({"a": tensor()}, bytes(7)), "the file is cut or has a tail"),
    "long name": (header_file({"x" * 2000: tensor()}, bytes(8)), "name of 1 to 1024"),
    "no name": (header_file({"": tensor()}, bytes(8)), "name of 1 to 1024"),
    "bool of 2": (header_file({"a": tensor("BOOL", (2,), (0, 2))}, b"\x01\x02"), "must hold 0 and 1 only"),
    "too many": (
        header_file({str(i): tensor("U8", (0,), (0, 0)) for i in range(100_001)}),
        "must have at most 100000 tensors",
    ),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_is_refused(tmp_path, little_memory, name):
    content, said = CRAFTED[name]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=said) as caught:
        read_safetensors(path)
    message = str(caught.value)
    assert message.startswith("a.safetensors: ") and "\n" not in message and len(message) < 500


def test_a_network_larger_than_its_file_is_refused_before_it_is_built(tmp_path, little_memory):
    path = tmp_path / "a.safetensors"
    for spec in (
        {"family": "yolovkkn", "class_names": ["a"], "channels": [65536] * 5},
        {"family": "yolovkkn2", "class_names": ["a"], "width": 1e9},
        {"family": "nothing", "class_names": ["a"]},
        {"class_names": ["a"]},
        [1],
        "text",
        3,
    ):
        save_checkpoint(path, {"model/a": torch.ones(1)}, {"model": spec})
        with pytest.raises(ModelError, match=r"^a\.safetensors: "):
            load_network(path)


def test_pipes_folders_and_devices_are_no_checkpoints(tmp_path):
    import os

    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    with pytest.raises(ModelError, match="is no regular file"):
        load_checkpoint(pipe)
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    with pytest.raises(ModelError, match="is no regular file"):
        load_checkpoint(folder)


NASTY = [b"0", b"-1", b"9" * 30, b"1e9", b"null", b"[", b"}", b'"', b"F64", b"BOOL", b"true", b"\\u0000", b",", b"\xff"]


def mutate(rng, data, header_end):
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        i = (
            int(rng.integers(8 if rng.random() < 0.8 else 0, header_end))
            if rng.random() < 0.9
            else int(rng.integers(len(out)))
        )
        i = min(i, len(out) - 1)
        choice = rng.integers(5)
        if choice == 0:
            out[i] = int(rng.integers(256))
        elif choice == 1:
            del out[i : i + int(rng.integers(1, 9))]
        elif choice == 2:
            word = NASTY[rng.integers(len(NASTY))]
            out[i : i + len(word)] = word
        elif choice == 3:
            out[i] ^= 1 << int(rng.integers(8))
        else:
            del out[i:]
        if not out:
            break
    return bytes(out)


def test_20000_mutations(tmp_path, little_memory):
    path = tmp_path / "a.safetensors"
    tensors = {f"model/{i}.weight": torch.arange(6.0).reshape(2, 3) for i in range(4)}
    tensors |= {"flags": torch.tensor([True, False]), "steps": torch.tensor(3)}
    save_checkpoint(path, tensors, {"epoch": 3})
    whole = path.read_bytes()
    header_end = 8 + int.from_bytes(whole[:8], "little")
    rng = np.random.default_rng(0)
    refused = accepted = 0
    for _ in range(scaled(20_000)):
        data = mutate(rng, whole, header_end)
        path.write_bytes(data)
        try:
            found = load_checkpoint(path)
        except ModelError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        accepted += 1
        assert sum(t.numel() * t.element_size() for t in found.tensors.values()) <= len(data)
    assert refused > accepted > scaled(200)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"a": torch.ones(5), "b": torch.ones(3, dtype=torch.uint8)}, {"epoch": 1})
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            load_checkpoint(path)


def test_mutated_pt_files_are_refused_or_read(tmp_path, little_memory):
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(6.0), "b": torch.ones(2, 2)}, buffer)
    whole, path = buffer.getvalue(), tmp_path / "a.pt"
    rng = np.random.default_rng(1)
    for _ in range(scaled(300)):
        path.write_bytes(mutate(rng, whole, len(whole)))
        try:
            load_checkpoint(path, allow_pt=True)
        except ModelError as error:
            assert "\n" not in str(error)
