"""The safetensors format: a header of JSON, then plain numbers; nothing in it can be executed.

Source: https://github.com/huggingface/safetensors#format. Eight bytes give the header's length, the header names each
tensor's dtype, shape and place, and the tensors fill the rest of the file without a gap. Everything is checked before a
tensor is allocated.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from yolokkn.errors import ModelError
from yolokkn.files import write_atomically

MAX_HEADER_BYTES = 32 * 2**20
MAX_TENSORS = 100_000
MAX_RANK = 16
MAX_NAME = 1024

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_FOREIGN = {b"PK\x03\x04": "it begins as a zip archive, as torch.save writes", b"\x80": "it begins as a pickle"}
_WORDS = {dtype: word for word, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: its bytes are begin to end behind the header."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header: entries in the order of their bytes, and the metadata."""

    entries: tuple[Entry, ...]
    metadata: Mapping[str, str]
    data_begin: int


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and text into one file, atomically.

    Args:
        path: The file; its folder must exist. What was there is replaced once all is written.
        tensors: By name; from any device, any strides. They are not changed.
        metadata: Text by name.

    Raises:
        TypeError: A value is no tensor, or its dtype has no word in the format.
        ValueError: There are more tensors, longer names or a longer header than a reader takes.
        OSError: The disk is full or the folder read-only; the old file is then untouched.
    """
    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"write_safetensors: tensors must be at most {MAX_TENSORS}, got {len(tensors)}")
    for name, tensor in tensors.items():
        _check_writable(name, tensor)
    # the widest elements first, so that every tensor begins at a multiple of its element's size
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name in order:
        tensor = tensors[name]
        end = begin + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _WORDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise ValueError(f"write_safetensors: the header must have at most {MAX_HEADER_BYTES} bytes, got {len(text)}")

    def chunks() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(8, "little") + text
        for name in order:
            yield _bytes_of(tensors[name])

    write_atomically(path, chunks())


def _check_writable(name: str, tensor: Any) -> None:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or name == "__metadata__":
        raise ValueError(
            f"write_safetensors: a tensor's name must be text of 1 to {MAX_NAME} characters, got {name!r:.80}"
        )
    if not isinstance(tensor, Tensor):
        raise TypeError(f"write_safetensors: {name} must be a tensor, got {type(tensor).__name__}")
    if tensor.dtype not in _WORDS or tensor.layout != torch.strided:
        raise TypeError(
            f"write_safetensors: {name} must be dense and of dtype {', '.join(str(d) for d in _WORDS)}, "
            f"got {tensor.dtype}, {tensor.layout}"
        )
    if tensor.ndim > MAX_RANK:
        raise ValueError(f"write_safetensors: {name} must have rank {MAX_RANK} or less, got {tensor.ndim}")


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return memoryview(flat.view(torch.uint8).numpy())


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of tensors and its metadata.

    Args:
        path: The file.

    Returns:
        The tensors by name, each with memory of its own, and the metadata.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The file is not as the format says; nothing was allocated for it then.
    """
    with _open_regular(path) as file:
        header = read_header(file, path.name)
        tensors = {}
        for entry in header.entries:
            file.seek(header.data_begin + entry.begin)
            data = torch.empty(entry.end - entry.begin, dtype=torch.uint8)
            if file.readinto(memoryview(data.numpy())) != len(data):
                raise ModelError(f"{path.name}: grew shorter while it was read")
            if entry.dtype == torch.bool and len(data) and int(data.max()) > 1:
                raise ModelError(f"{path.name}: {_shown(entry.name)} must hold 0 and 1 only, as its dtype BOOL says")
            tensors[entry.name] = data.view(entry.dtype).reshape(entry.shape)
    return tensors, dict(header.metadata)


def _open_regular(path: Path) -> BufferedReader:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe of that name must not hang us
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ModelError(f"{path.name}: is no regular file")
    return os.fdopen(handle, "rb")


def read_header(file: BufferedReader, name: str) -> Header:
    """Read and check the header of an open file, which stands at its beginning.

    Args:
        file: The file.
        name: What it is called in messages.

    Raises:
        ModelError: The file is not as the format says.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    if len(start) < 8:
        raise ModelError(f"{name}: no safetensors file: it has {size} bytes, and the header's length alone takes 8")
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES or 8 + length > size:
        known = [text for begin, text in _FOREIGN.items() if start.startswith(begin)]
        found = known[0] if known else f"its header would have {length} bytes of the file's {size}"
        raise ModelError(f"{name}: no safetensors file, or a cut one: {found}")
    content = parse_json(file.read(length), f"{name}: the header")
    if not isinstance(content, dict):
        raise ModelError(f"{name}: the header must be a JSON object, got {type(content).__name__}")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelError(f"{name}: __metadata__ must be text by name")
    if len(content) > MAX_TENSORS:
        raise ModelError(f"{name}: must have at most {MAX_TENSORS} tensors, got {len(content)}")
    entries = sorted((_entry(name, *item) for item in content.items()), key=lambda e: (e.begin, e.end))
    place = 0
    for entry in entries:
        if entry.begin != place:
            how = "overlaps the tensor before it" if entry.begin < place else "leaves a gap before it"
            raise ModelError(f"{name}: {_shown(entry.name)} {how} (byte {entry.begin}, expected {place})")
        place = entry.end
    if 8 + length + place != size:
        raise ModelError(
            f"{name}: its tensors take {place} bytes, but {size - 8 - length} lie behind the header: "
            "the file is cut or has a tail"
        )
    return Header(tuple(entries), metadata, 8 + length)


def _entry(file_name: str, name: str, value: Any) -> Entry:
    where = f"{file_name}: {_shown(name)}"
    if not 1 <= len(name) <= MAX_NAME:
        raise ModelError(f"{where} must have a name of 1 to {MAX_NAME} characters")
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ModelError(f"{where} must have dtype, shape and data_offsets, and nothing else")
    word, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(word, str) or word not in DTYPES:
        raise ModelError(f"{where} must have one of the dtypes {', '.join(DTYPES)}, got {word!r:.40}")
    if not isinstance(shape, list) or len(shape) > MAX_RANK or not all(_is_size(n) for n in shape):
        raise ModelError(f"{where} must have a shape of at most {MAX_RANK} sizes of 0 or more")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(n) for n in offsets):
        raise ModelError(f"{where} must have data_offsets of two numbers of 0 or more")
    begin, end = offsets
    if prod(shape) * DTYPES[word].itemsize != end - begin:
        raise ModelError(f"{where} must take the bytes of {word} {shape}, got bytes {begin} to {end}")
    return Entry(name, DTYPES[word], tuple(shape), begin, end)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48


def _shown(name: str) -> str:
    return ascii(name[:60])


def parse_json(content: bytes | str, what: str) -> Any:
    """Read JSON strictly: UTF-8, no key twice, no NaN or Infinity.

    Args:
        content: The text.
        what: What it is, for messages.

    Raises:
        ModelError: It is no such JSON.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{what} must be JSON: {str(error).splitlines()[0][:200]}") from error
