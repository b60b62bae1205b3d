"""What an engine is: its file, the manifest beside it, and the check that both are whole and belong together.

An engine is machine code. It is given to TensorRT only after every byte of it has been held against its manifest, and the
manifest against itself and against this machine. That keeps out damaged, mixed-up, outdated and foreign engines; it does
not keep out somebody who can write both files, so take engines only from where you would take programs.

A file `NAME.engine` is a 4-byte little-endian length, so many bytes of JSON (what the model says of itself, and spaces), and the
library's plan, which begins at a multiple of 64 bytes; `NAME.engine.json` is the manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.runtime.engine_library import LIBRARIES

FORMAT = 1
DEFAULT_TARGET = (
    "SM80, SM86, SM89, SM120 and later (the library's default)"  # by NVIDIA's documentation of TensorRT-RTX
)
MAX_HEADER_BYTES = 16 << 20
MAX_MANIFEST_BYTES = 32 << 20
ALIGNMENT = 64  # of a plan in its file and in memory: libraries read wide words of it where they lie
Shape = tuple[int, ...]
Profile = tuple[Shape, Shape, Shape]  # min, opt, max


class EngineRefusedError(ModelError):
    """An engine is damaged, foreign, or made for something else; it has not been given to TensorRT."""


class ForeignEngineError(EngineRefusedError):
    """An engine that yolokkn did not write: it has no manifest."""


@dataclass(frozen=True)
class EngineRequest:
    """Everything that decides what an engine is; two equal requests give exchangeable engines.

    Attributes:
        model_sha256: Of the ONNX file that it is made from.
        library: "tensorrt" or "tensorrt_rtx".
        library_version: Its version.
        gpu: Name and compute capability of the GPU that it is built on; "" where it is built ahead of time.
        capabilities: Compute capabilities that it is built for ahead of time; none: the library's choice.
        precision: "fp32", "fp16" or "int8": what the graph was turned into.
        calibration_sha256: Of the calibration's pictures; "" without.
        profiles: Per input of free size the least, best and largest shape.
        flags: The builder's settings.
        producer: Version of yolokkn.
    """

    model_sha256: str
    library: str
    library_version: str
    gpu: str
    capabilities: tuple[str, ...]
    precision: str
    calibration_sha256: str
    profiles: Mapping[str, Profile]
    flags: Mapping[str, int | bool | None]
    producer: str

    @property
    def key(self) -> str:
        """SHA-256 of all of it, as hexadecimal digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def target(self) -> str:
        """For which GPUs it is, for people."""
        return self.gpu or ", ".join(self.capabilities) or DEFAULT_TARGET

    def changes_since(self, older: EngineRequest) -> list[str]:
        """Say what has changed since an older request, for people; empty where nothing has."""
        found = []
        if older.model_sha256 != self.model_sha256:
            found.append("the model changed")
        then, now = (f"{LIBRARIES.get(r.library, r.library)} {r.library_version}" for r in (older, self))
        if then != now:
            found.append(f"{then} -> {self.library_version if older.library == self.library else now}")
        if (older.gpu, older.capabilities) != (self.gpu, self.capabilities):
            found.append(f"it was for {older.target}, now for {self.target}")
        if older.precision != self.precision:
            found.append(f"the precision was {older.precision}, now {self.precision}")
        if older.calibration_sha256 != self.calibration_sha256 and older.precision == self.precision:
            found.append("the calibration's pictures changed")
        if older.profiles != self.profiles:
            found.append(f"the sizes were {profiles_text(older.profiles)}, now {profiles_text(self.profiles)}")
        for name in sorted({*older.flags, *self.flags}):
            if older.flags.get(name) != self.flags.get(name):
                then, now = (_flag_text(name, flags.get(name)) for flags in (older.flags, self.flags))
                found.append(f"{name.removesuffix('_mb').replace('_', ' ')} was {then}, now {now}")
        if older.producer != self.producer and older.precision == self.precision:
            found.append(_producer_change(older.producer, self.producer))
        return found


def _flag_text(name: str, value: int | bool | None) -> str:
    """Write a builder's setting for people."""
    if value is None:
        return "the library's own"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value} MB" if name.endswith("_mb") else str(value)


def _producer_change(older: str, newer: str) -> str:
    """Say which program that makes the graph is another; the first word is the version of yolokkn."""
    then, now = older.partition(" ")[0], newer.partition(" ")[0]
    return f"yolokkn was {then}, now {now}" if then != now else "what writes the precision into the graph is newer"


def profiles_text(profiles: Mapping[str, Profile]) -> str:
    """Write profiles as people do: images 1x3x64x64:4x3x64x64:8x3x64x64."""
    parts = (f"{name} " + ":".join("x".join(map(str, shape)) for shape in profiles[name]) for name in sorted(profiles))
    return ", ".join(parts) or "fixed"


@dataclass(frozen=True)
class EngineManifest:
    """What stands beside an engine.

    Attributes:
        request: What it was made for.
        name: Name of the model's file.
        graph_sha256: Of the ONNX that the library saw, in its final precision.
        metadata: What the model says of itself: layout, names ...
        op_types: Kinds of the graph's nodes.
        file_sha256: Of the whole engine file.
        file_bytes: Its size.
        plan_sha256: Of the library's part of it.
        build_s: Seconds that the build took.
        created: When, in UTC.
    """

    request: EngineRequest
    name: str
    graph_sha256: str
    metadata: Mapping[str, str]
    op_types: tuple[str, ...]
    file_sha256: str
    file_bytes: int
    plan_sha256: str
    build_s: float
    created: str

    def to_bytes(self) -> bytes:
        """Return the one way of writing it, with a hash of itself: what is read must be these very bytes."""
        values = {"format": FORMAT, **asdict(self)}
        values["manifest_sha256"] = hashlib.sha256(_canonical(values)).hexdigest()
        return _canonical(values)


def _canonical(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, sort_keys=True, indent=1) + "\n").encode("ascii")


@dataclass(frozen=True)
class Engine:
    """A verified engine.

    Attributes:
        manifest: What it is.
        content: The whole file; it lies at a multiple of `ALIGNMENT` in memory.
        plan: The library's part of it.
    """

    manifest: EngineManifest
    content: memoryview
    plan: memoryview


def manifest_path(path: Path) -> Path:
    """Return where an engine's manifest stands."""
    return path.with_name(path.name + ".json")


def seal(
    plan: bytes | memoryview,
    request: EngineRequest,
    *,
    name: str,
    graph_sha256: str,
    metadata: Mapping[str, str],
    op_types: tuple[str, ...],
    build_s: float,
    created: str,
) -> Engine:
    """Make an engine's file and manifest of a plan that the library gave."""
    header = json.dumps(dict(metadata), sort_keys=True).encode("ascii")
    if len(header) > MAX_HEADER_BYTES:
        raise ModelError(f"seal: metadata must have at most {MAX_HEADER_BYTES} bytes, got {len(header)}")
    header += b" " * (-(4 + len(header)) % ALIGNMENT)
    content = aligned(len(header).to_bytes(4, "little"), header, plan)
    manifest = EngineManifest(
        request, name, graph_sha256, dict(metadata), tuple(sorted(op_types)), hashlib.sha256(content).hexdigest(),
        len(content), hashlib.sha256(plan).hexdigest(), round(build_s, 3), created,
    )  # fmt: skip
    return Engine(manifest, content, content[4 + len(header) :])


def aligned(*parts: bytes | memoryview) -> memoryview:
    """Join parts into memory that begins at a multiple of `ALIGNMENT`; it cannot be changed."""
    memory: np.ndarray = np.empty(sum(map(len, parts)) + ALIGNMENT, np.uint8)
    place = -memory.ctypes.data % ALIGNMENT
    begin = place
    for part in parts:
        memory[place : place + len(part)] = np.frombuffer(part, np.uint8)
        place += len(part)
    return memory.data[begin:place].toreadonly()


def parse_manifest(data: bytes, name: str) -> EngineManifest:
    """Read a manifest.

    Raises:
        EngineRefusedError: It is not, byte for byte, what `EngineManifest.to_bytes` writes.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise EngineRefusedError(f"{name}: its manifest must have at most {MAX_MANIFEST_BYTES} bytes, got {len(data)}")
    try:
        values = json.loads(data.decode("ascii"))
        if values["format"] != FORMAT:
            raise EngineRefusedError(
                f"{name}: its manifest is of format {values['format']!r}, this version reads {FORMAT}"
            )
        manifest = _from_values(values)
        same = manifest.to_bytes() == data
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EngineRefusedError(f"{name}: its manifest is damaged") from error
    if not same:
        raise EngineRefusedError(f"{name}: its manifest is damaged or was changed by hand")
    return manifest


def _from_values(values: dict[str, Any]) -> EngineManifest:
    request = dict(values["request"])
    request["capabilities"] = tuple(request["capabilities"])
    request["profiles"] = {
        key: tuple(tuple(shape) for shape in profile) for key, profile in request["profiles"].items()
    }
    own = {field.name: values[field.name] for field in fields(EngineManifest)}
    return EngineManifest(**{**own, "request": EngineRequest(**request), "op_types": tuple(own["op_types"])})


def open_engine(path: Path) -> Engine:
    """Read an engine and its manifest, and hold every byte against it.

    Raises:
        FileNotFoundError: There is no such engine.
        EngineRefusedError: It has no manifest, or is not what its manifest says.
    """
    path = Path(path)
    try:
        content = aligned(path.read_bytes())
    except IsADirectoryError as error:
        raise ModelError(f"{path}: is a folder, not an engine") from error
    try:
        beside = manifest_path(path).read_bytes()
    except FileNotFoundError:
        raise ForeignEngineError(f"{path.name}: {_foreign(content)} no manifest {path.name}.json beside it") from None
    return verify(content, beside, path.name)


def verify(content: bytes | memoryview, manifest: bytes, name: str) -> Engine:
    """Hold an engine's bytes against its manifest's.

    Raises:
        EngineRefusedError: They do not belong together, or either is damaged.
    """
    said = parse_manifest(manifest, name)
    if len(content) != said.file_bytes:
        raise EngineRefusedError(f"{name}: must have {said.file_bytes} bytes by its manifest, got {len(content)}")
    if hashlib.sha256(content).hexdigest() != said.file_sha256:
        raise EngineRefusedError(f"{name}: is not the engine of its manifest (SHA-256 differs): damaged or replaced")
    content = memoryview(content)
    header, plan = split_header(content)
    if header != dict(said.metadata) or hashlib.sha256(plan).hexdigest() != said.plan_sha256:
        raise EngineRefusedError(f"{name}: its header or plan is not that of its manifest")
    return Engine(said, content, plan)


def split_header(content: bytes | memoryview) -> tuple[dict[str, Any] | None, memoryview]:
    """Take off the JSON in front of a plan, as Ultralytics and yolokkn write it; None where there is none."""
    view = memoryview(content)
    length = int.from_bytes(content[:4], "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, len(content) - 4) or content[4:5] != b"{":
        return None, view
    try:
        header = json.loads(bytes(view[4 : 4 + length]))
    except (ValueError, RecursionError):
        return None, view
    return (header, view[4 + length :]) if isinstance(header, dict) else (None, view)


def foreign_metadata(header: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what a foreign engine's header says as an ONNX file would: text values."""
    return {str(key): value if isinstance(value, str) else str(value) for key, value in (header or {}).items()}


def _foreign(content: bytes | memoryview) -> str:
    header, _ = split_header(content)
    if header is None:
        return "was not written by yolokkn, and has"
    author = header.get("author") or header.get("description")
    if isinstance(author, str):
        return f"is an engine of {author}, and has"
    return "where yolokkn wrote it, copy its manifest along: it has"
