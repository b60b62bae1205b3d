"""The cases of the suite `startup`: from a cold process to the import, and to the first result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import yolokkn
from yolokkn.benchmark.case import Case, Run, Timed
from yolokkn.errors import YolokknError
from yolokkn.runtime.differences import compare_detections
from yolokkn.runtime.model import Model
from yolokkn.runtime.parity_report import matched
from yolokkn.runtime.tolerances import TOLERANCES
from yolokkn.types import Detections

SUITE = "startup"
_TIMEOUT_S = 120.0
_IMPORT = "import yolokkn"
_BARE = """
import sys, numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
node = session.get_inputs()[0]
shape = [n if isinstance(n, int) else int(s) for n, s in zip(node.shape, sys.argv[3].split("x"))]
session.run(None, {node.name: numpy.full(shape, 0.45, numpy.float32)})
"""
_FIRST = """
import sys, json, numpy, yolokkn
model = yolokkn.load(sys.argv[1], threads=int(sys.argv[2]), **json.loads(sys.argv[5]))
found = model(numpy.load(sys.argv[4]))
print(json.dumps([found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist()]))
"""


def startup_cases(
    model: Model, path: Path, image: np.ndarray, *, threads: int, options: Mapping[str, Any] | None = None
) -> list[Case]:
    """Return the cases; every call is a process of its own, timed from its start to its end.

    Args:
        model: The model as `yolokkn.load(path, threads=threads, **options)` gives it: its detections are what the cold process
            must find.
        path: Its file.
        image: (H, W, 3) uint8 BGR.
        threads: Threads of the network.
        options: As `yolokkn.load` takes them; plain values.
    """
    facts = {"stage": "startup"}
    size = "x".join(str(n) for n in (model.batch, 3, *model.letterbox_for(image.shape[:2]).input_hw))
    inputs = [(str(path), threads, size, image, json.dumps(dict(options or {})))]
    cases = [
        Case("python alone", SUITE, lambda: _process("pass"), inputs, None, self_timed=True, facts=facts),
        Case("import yolokkn", SUITE, lambda: _process(_IMPORT), inputs, None, self_timed=True, facts=facts),
        Case(
            "first detections of a cold process", SUITE, lambda: _process(_FIRST), inputs, _check(model, inputs[0]),
            threads=threads, self_timed=True, facts=facts,
        ),
    ]  # fmt: skip
    if path.suffix.lower() == ".onnx" and model.picture.dtype == "float32" and len(model.backend.inputs) == 1:
        name = "ONNX Runtime alone: import, session, one run"
        bare = Case(name, SUITE, lambda: _process(_BARE), inputs, None, threads=threads, self_timed=True, facts=facts)
        cases.append(bare)
    return cases


def _process(code: str) -> Run:
    """Return a run that executes code in a fresh Python; what it prints as JSON is the output."""
    root = str(Path(yolokkn.__file__).parents[1])
    paths = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)

    def run(value: tuple[str, int, str, np.ndarray, str]) -> Timed:
        path, threads, size, image, options = value
        with tempfile.TemporaryDirectory() as folder:
            picture = Path(folder) / "image.npy"
            np.save(picture, image)
            command = [sys.executable, "-c", code, path, str(threads), size, str(picture), options]
            begin = time.perf_counter()
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_TIMEOUT_S, env={**os.environ, "PYTHONPATH": paths}
            )
            taken = time.perf_counter() - begin
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise YolokknError(f"benchmark startup: a fresh Python failed: {lines[-1][:300]}")
        return Timed([taken * 1e3], json.loads(done.stdout) if done.stdout.strip() else None)

    return run


def _check(model: Model, value: Any) -> Callable[[Run], str]:
    def check(run: Run) -> str:
        boxes, scores, class_ids = run(value).output
        found = Detections(
            np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.array(class_ids, np.int32)
        )
        compared = compare_detections(model(value[3]), found, TOLERANCES["fp32"])
        return "" if compared.is_noise else matched(compared)

    return check
