"""Checkpoints: one safetensors file with the tensors, and in its header a manifest of JSON that says what they are.

What the names mean, for all who write and read them: tensors called `model/...` are the weights that detect (the averaged
ones where the training keeps an average), and the manifest's "model" is the `ModelSpec` that builds their network. Whatever
else a training needs to go on lies under other prefixes and keys; `pack_state` turns an optimizer's or a generator's state
into both.
"""

from __future__ import annotations

import json
import math
import platform
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor

from yolokkn._version import __version__
from yolokkn.errors import ModelError
from yolokkn.training.safetensors_file import parse_json, read_safetensors, write_safetensors

JSON = Union[None, bool, int, float, str, list[Any], dict[str, Any]]  # noqa: UP007 - a value at run time on 3.10

FORMAT = 1
MODEL = "model"
_KEY = "yolokkn"  # of the manifest in the file's metadata
_SAFE_TORCH = (2, 6)  # before it, weights_only=True could execute code: CVE-2025-32434


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        tensors: By name, on the CPU.
        manifest: The JSON that was saved with them; "format" and "versions" say who wrote it.
    """

    tensors: Mapping[str, Tensor]
    manifest: Mapping[str, JSON]

    def select(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix, named without it: `select("model")` takes "model/stem.weight" as "stem.weight"."""
        start = prefix + "/"
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], manifest: Mapping[str, JSON]) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one, never a part.

    Args:
        path: The `.safetensors` file; its folder must exist. What was there is replaced.
        tensors: By name, from any device; see the module's text for the prefixes.
        manifest: Plain JSON; "format" and "versions" are added.

    Raises:
        ValueError: The name ends otherwise, or the manifest is no JSON (NaN and infinity are none; see `pack_state`).
        TypeError: A tensor is none, or of a dtype that the format lacks.
        OSError: The disk is full or the folder read-only; the old file is then untouched.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "last.safetensors"
        ...     save_checkpoint(path, {"model/scale": torch.ones(2)}, {"epoch": 3})
        ...     checkpoint = load_checkpoint(path)
        >>> checkpoint.select("model"), checkpoint.manifest["epoch"]
        ({'scale': tensor([1., 1.])}, 3)
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"save_checkpoint: path must end in .safetensors, got {path.name}")
    versions = {"yolokkn": __version__, "torch": str(torch.__version__), "numpy": np.__version__}
    versions["python"] = platform.python_version()
    whole = {"versions": versions, **manifest, "format": FORMAT}
    try:
        text = json.dumps(whole, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"save_checkpoint: manifest must be plain JSON, got {error}; pack_state turns other values into JSON"
        ) from error
    if not _has_text_keys(whole):
        raise ValueError("save_checkpoint: manifest must have text for keys")
    write_safetensors(path, tensors, {"format": "pt", _KEY: text})


def load_checkpoint(path: Path, *, allow_pt: bool = False) -> Checkpoint:
    """Read a checkpoint, checking all of it before a tensor is touched.

    Args:
        path: A `.safetensors` file that `save_checkpoint` wrote.
        allow_pt: Also take a `.pt` or `.pth` file of weights, read with weights_only=True, for those whom you trust.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: The file is damaged, of another program, of a newer version, or of a kind that can execute code.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".pt", ".pth") and allow_pt:
        return Checkpoint(_load_pt(path), {})
    if suffix in (".pt", ".pth", ".pt2", ".ckpt", ".pkl", ".pickle", ".bin"):
        hint = (
            "; --allow-pt (allow_pt=True) takes the weights of one that you trust" if suffix in (".pt", ".pth") else ""
        )
        raise ModelError(f"{path.name}: {suffix} files are not read, for loading one can execute code{hint}")
    if suffix != ".safetensors":
        raise ModelError(f"{path.name}: a checkpoint must be a .safetensors file")
    tensors, metadata = read_safetensors(path)
    if _KEY not in metadata:
        raise ModelError(f"{path.name}: no checkpoint of yolokkn: its metadata has no key {_KEY!r}")
    manifest = parse_json(metadata[_KEY], f"{path.name}: the manifest")
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise ModelError(f"{path.name}: the manifest must be a JSON object with its format's number")
    if manifest["format"] != FORMAT:
        raise ModelError(
            f"{path.name}: the checkpoint has format {manifest['format']}, and yolokkn {__version__} reads {FORMAT}"
        )
    return Checkpoint(tensors, manifest)


def _load_pt(path: Path) -> dict[str, Tensor]:
    version = tuple(int(n) for n in re.findall(r"\d+", str(torch.__version__))[:2])
    if version < _SAFE_TORCH:
        raise ModelError(f"{path.name}: .pt files are read with torch 2.6 or later only (CVE-2025-32434)")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:
        raise ModelError(
            f"{path.name}: holds more than weights, or is damaged, and is not loaded: {str(error).strip().splitlines()[0][:160]}"
        ) from error
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path.name}: must hold tensors by name, got {type(content).__name__}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{path.name}: must hold tensors by name, got {type(value).__name__} as {name!r:.60}")
    return {f"{MODEL}/{name}": value.detach().clone() for name, value in content.items()}


def _check_archive(path: Path) -> None:
    """Refuse archives that are programs, or that unpack to more than they are."""
    try:
        if not zipfile.is_zipfile(path):
            return  # the older format: one pickle after the other, which weights_only reads
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path.name}: is a damaged archive: {error}") from error
    names = [entry.filename for entry in entries]
    if any(n.endswith(("constants.pkl", "archive_format")) or "/code/" in n or "aotinductor" in n for n in names):
        raise ModelError(f"{path.name}: is a program (TorchScript or .pt2), not weights, and is not loaded")
    packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
    if packed or sum(e.file_size for e in entries) > path.stat().st_size:
        raise ModelError(f"{path.name}: is an archive that unpacks to more than it is, which torch.save never writes")


def pack_state(prefix: str, state: Any) -> tuple[dict[str, Tensor], JSON]:
    """Split a state (an optimizer's `state_dict()`, a generator's state) into tensors and JSON.

    Args:
        prefix: What the tensors' names begin with.
        state: None, numbers, text, tensors, NumPy numbers, and lists, tuples and dictionaries of these.

    Returns:
        The tensors by name, and the rest as JSON that names them; `unpack_state` joins them to the same state.

    Raises:
        TypeError: The state holds something else.

    Example:
        >>> tensors, rest = pack_state("optimizer", {"lr": 0.1, "state": {0: {"step": torch.tensor(3)}}})
        >>> list(tensors)
        ['optimizer/0']
        >>> unpack_state(tensors, rest)
        {'lr': 0.1, 'state': {0: {'step': tensor(3)}}}
    """
    tensors: dict[str, Tensor] = {}

    def pack(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"{prefix}/{len(tensors)}"
            tensors[name] = value
            return {"$tensor": name}
        if isinstance(value, np.ndarray):
            return {"$array": pack(torch.from_numpy(value.copy()))}
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return {"$float": str(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, tuple):
            return {"$tuple": [pack(v) for v in value]}
        if isinstance(value, list):
            return [pack(v) for v in value]
        if isinstance(value, Mapping):
            if all(isinstance(k, str) and not k.startswith("$") for k in value):
                return {k: pack(v) for k, v in value.items()}
            return {"$items": [[pack(k), pack(v)] for k, v in value.items()]}
        raise TypeError(f"pack_state: state must be numbers, text, tensors and containers, got {type(value).__name__}")

    return tensors, pack(state)


def unpack_state(tensors: Mapping[str, Tensor], rest: JSON) -> Any:
    """Join what `pack_state` split.

    Args:
        tensors: All tensors of the checkpoint, by their full names.
        rest: The JSON part.

    Raises:
        ModelError: The JSON names a tensor that is not there, or is not what `pack_state` writes.
    """
    if isinstance(rest, list):
        return [unpack_state(tensors, v) for v in rest]
    if not isinstance(rest, dict):
        return rest
    marks = [key for key in rest if key.startswith("$")]
    if not marks:
        return {key: unpack_state(tensors, value) for key, value in rest.items()}
    try:
        ((mark, value),) = rest.items()
        if mark == "$tensor":
            return tensors[value]
        if mark == "$array":
            return unpack_state(tensors, value).numpy()
        if mark == "$float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value]
        if mark == "$tuple":
            return tuple(unpack_state(tensors, v) for v in value)
        if mark == "$items":
            return {unpack_state(tensors, k): unpack_state(tensors, v) for k, v in value}
        raise KeyError(mark)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"checkpoint: a packed state must be as pack_state writes it, got {str(rest)[:80]}") from error


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _has_text_keys(v) for k, v in value.items())
    return all(map(_has_text_keys, value)) if isinstance(value, (list, tuple)) else True
