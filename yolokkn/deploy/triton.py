"""A model repository for NVIDIA Triton Inference Server: a model file where the server looks for it, and its `config.pbtxt`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yolokkn.errors import ConfigurationError
from yolokkn.files import refuse_existing, write_atomically
from yolokkn.graph import read_model
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.load import load

_TYPES = {
    "float32": "TYPE_FP32", "float16": "TYPE_FP16", "float64": "TYPE_FP64", "int8": "TYPE_INT8", "int16": "TYPE_INT16",
    "int32": "TYPE_INT32", "int64": "TYPE_INT64", "uint8": "TYPE_UINT8", "bool": "TYPE_BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class TritonModel:
    """What was written.

    Attributes:
        name: Under which the server offers the model.
        folder: Its folder in the repository.
        max_batch: Pictures that the server joins to a batch at most; 0: it joins none, the file's batch is fixed.
    """

    name: str
    folder: Path
    max_batch: int

    def text(self, repository: Path) -> str:
        """Return what to do with it, in lines."""
        joined = (
            f"joins up to {self.max_batch} pictures"
            if self.max_batch
            else "the file's batch is fixed: it joins no pictures"
        )
        return (
            f"saved {self.folder / 'config.pbtxt'} and {self.folder / '1' / 'model.onnx'} ({joined})\n"
            f"serve it: tritonserver --model-repository={repository.resolve()}"
        )


def write_repository(
    model: Path,
    repository: Path,
    *,
    name: str | None = None,
    max_batch: int = 8,
    delay_us: int = 5000,
    overwrite: bool = False,
) -> TritonModel:
    """Write an ONNX file of the YOLO family as a model of a Triton repository.

    The server's ONNX Runtime backend takes it as it is: pictures go in prepared (`Model.workspace().feeds`), raw outputs come
    back (`postprocess`). How they are to be prepared and read stands in the configuration's parameters, as this package finds it.

    Args:
        model: The `.onnx` file.
        repository: Folder of models; made if it is missing.
        name: Of the model; None: the file's, with what a name may not hold as `_`.
        max_batch: For files of free batch: the most that the server may join to one run.
        delay_us: How long it may wait for that, in microseconds.
        overwrite: Replace such a model.

    Raises:
        ModelError: The file is no model of the YOLO family.
        ConfigurationError: The name is none, or a tensor has a type that the server does not know.
        FileExistsError: There is such a model already.
    """
    content = read_model(model).to_bytes()
    loaded = load(model, backend="onnxruntime")
    name = name or re.sub(r"[^A-Za-z0-9_.-]", "_", model.stem)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", name):
        raise ConfigurationError(f"triton: a model's name must be letters, digits, _, - and ., got {name!r}")
    inputs, outputs = loaded.backend.inputs, loaded.backend.outputs
    is_free = all(spec.shape and spec.shape[0] is None for spec in (*inputs, *outputs))
    batch = max_batch if is_free else 0
    folder = repository / name
    targets = folder / "config.pbtxt", folder / "1" / "model.onnx"
    rule = loaded.layout.preprocess
    parameters = {
        "layout": loaded.layout.name,
        "task": loaded.layout.task,
        "input_hw": "{}x{}".format(*loaded.input_hw),
        "preprocess": str(rule),
        "class_names": json.dumps(list(loaded.class_names), ensure_ascii=False),
    }
    text = config_text(name, inputs, outputs, batch, delay_us, parameters)
    targets[1].parent.mkdir(parents=True, exist_ok=True)
    for target in targets:
        refuse_existing(target, overwrite, [model])
    write_atomically(targets[1], content)
    write_atomically(targets[0], text)
    return TritonModel(name, folder, batch)


def config_text(
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    max_batch: int,
    delay_us: int,
    parameters: dict[str, str],
) -> str:
    """Return a model's `config.pbtxt`: a ModelConfig of Triton in protobuf's text format.

    Args:
        name: Of the model.
        inputs: With their shapes; None where a side is free.
        outputs: Likewise.
        max_batch: 0, or the most that may be joined: then the first dimension is the batch and does not stand in `dims`.
        delay_us: How long pictures may wait for others.
        parameters: Kept beside it.
    """

    def tensor(spec: TensorSpec) -> str:
        if spec.dtype not in _TYPES:
            raise ConfigurationError(f"triton: {spec.name} has a type that the server does not know: {spec.dtype}")
        sides = spec.shape[1:] if max_batch else spec.shape
        dims = ", ".join("-1" if side is None else str(side) for side in sides)
        return f"  {{ name: {_quoted(spec.name)} data_type: {_TYPES[spec.dtype]} dims: [ {dims} ] }}"

    lines = [f"name: {_quoted(name)}", 'backend: "onnxruntime"', f"max_batch_size: {max_batch}"]
    for word, specs in (("input", inputs), ("output", outputs)):
        lines += [f"{word} [", ",\n".join(tensor(spec) for spec in specs), "]"]
    if max_batch:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}")
    lines.append("version_policy { latest { num_versions: 1 } }")
    lines += [
        f"parameters {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"
        for key, value in parameters.items()
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a string of protobuf's text format."""
    escaped = "".join(
        f"\\{byte:03o}" if byte < 32 or byte > 126 or byte in b'"\\' else chr(byte) for byte in text.encode()
    )
    return f'"{escaped}"'
