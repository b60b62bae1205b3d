"""What is known of an engine without giving it to a library: from its manifest, its header, and a look at every byte."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolokkn.errors import ModelError
from yolokkn.layouts import ModelFacts, read_facts
from yolokkn.layouts.metadata import parse_value
from yolokkn.runtime.engine_manifest import (
    MAX_MANIFEST_BYTES,
    EngineManifest,
    EngineRefusedError,
    ForeignEngineError,
    foreign_metadata,
    manifest_path,
    open_engine,
    parse_manifest,
    split_header,
)


@dataclass(frozen=True)
class EngineFacts:
    """An engine file, whoever wrote it.

    Attributes:
        path: The file.
        num_bytes: Its size.
        manifest: What stands beside it, where that is whole: the file need not be what it says.
        metadata: What the model says of itself, by the manifest or else the file's header.
        problem: Why it is refused; None where every byte is as the manifest says.
        stated: "fp32", "fp16" or "int8", as the manifest or the header says; "" where neither does.
        precision: Likewise: whose tolerances hold for it.
        precision_reason: How that is known.
        plan_sha256: Of what the library would get.
    """

    path: Path
    num_bytes: int
    manifest: EngineManifest | None
    metadata: Mapping[str, str]
    problem: EngineRefusedError | None
    stated: str
    precision: str
    precision_reason: str
    plan_sha256: str

    @property
    def is_foreign(self) -> bool:
        """Whether it has no manifest: the one problem that --trust-engine overlooks."""
        return isinstance(self.problem, ForeignEngineError)

    def model_facts(self) -> ModelFacts:
        """Return what the metadata says; nothing where it contradicts itself."""
        try:
            return read_facts(self.metadata)
        except ModelError:
            return ModelFacts()

    def made_of(self, *contents: bytes) -> bool | None:
        """Tell whether one of these ONNX files is the one that the engine was made of; None where nobody knows."""
        if self.manifest is None:
            return None
        known = {self.manifest.request.model_sha256, self.manifest.graph_sha256}
        return any(hashlib.sha256(content).hexdigest() in known for content in contents)


def engine_facts(path: Path) -> EngineFacts:
    """Read an engine and what stands beside it; nothing of it is run.

    Raises:
        FileNotFoundError: There is no such file.
        ModelError: It is a folder.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"model: no such file: {path}")
    try:
        engine = open_engine(path)
    except EngineRefusedError as error:
        return _of_refused(path, error)
    manifest = engine.manifest
    precision, reason = _manifest_precision(manifest)
    return EngineFacts(
        path, manifest.file_bytes, manifest, manifest.metadata, None, manifest.request.precision, precision, reason,
        manifest.plan_sha256,
    )  # fmt: skip


def _of_refused(path: Path, problem: EngineRefusedError) -> EngineFacts:
    content = path.read_bytes()
    header, plan = split_header(content)
    manifest = None if isinstance(problem, ForeignEngineError) else _whole_manifest(path)
    metadata = dict(manifest.metadata) if manifest else foreign_metadata(header)
    if manifest:
        stated, (precision, reason) = manifest.request.precision, _manifest_precision(manifest)
    else:
        stated, precision, reason = _header_precision(metadata)
    digest = hashlib.sha256(plan).hexdigest()
    return EngineFacts(path, len(content), manifest, metadata, problem, stated, precision, reason, digest)


def _whole_manifest(path: Path) -> EngineManifest | None:
    try:
        with manifest_path(path).open("rb") as file:
            return parse_manifest(file.read(MAX_MANIFEST_BYTES + 1), path.name)
    except (OSError, EngineRefusedError):
        return None


def _manifest_precision(manifest: EngineManifest) -> tuple[str, str]:
    request = manifest.request
    if request.precision == "fp32" and request.flags.get("tf32"):
        return "fp16", "with TF32, so that float16's tolerances hold"
    return request.precision, "its manifest says so"


def _header_precision(metadata: Mapping[str, str]) -> tuple[str, str, str]:
    """Read which precision the header's export arguments state, and whose tolerances hold.

    TensorRT computes in TF32 by default, so that float32 is held to float16's tolerances, and so is what nobody states.
    """
    args: Any = parse_value("args", metadata.get("args", "")[:10_000])
    if not isinstance(args, Mapping):
        return "", "fp16", "its file does not tell it; held to float16's tolerances"
    if args.get("int8"):
        return "int8", "int8", "its header says so"
    if args.get("half"):
        return "fp16", "fp16", "its header says so"
    return "fp32", "fp16", "its header says so; held to float16's tolerances, for it may use TF32"
