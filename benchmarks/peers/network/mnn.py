"""MNN, from the ONNX file by the converter of the same environment."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ENVIRONMENT = "mnn"


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import MNN

    with tempfile.TemporaryDirectory() as folder:
        target = str(Path(folder) / "model.mnn")
        tool = str(Path(sys.executable).with_name("mnnconvert"))
        command = [tool, "-f", "ONNX", "--modelFile", facts["model"], "--MNNModel", target, "--bizCode", "x"]
        subprocess.run(command, check=True, capture_output=True)
        settings = ({"backend": "CPU", "numThread": facts["threads"], "precision": "high"},)
        runtime = MNN.nn.create_runtime_manager(settings)
        net = MNN.nn.load_module_from_file(target, [facts["input"]], list(facts["outputs"]), runtime_manager=runtime)

    def run(value: Mapping[str, np.ndarray]) -> Any:
        picture = MNN.expr.placeholder(list(facts["input_shape"]), MNN.expr.NCHW)
        picture.write(np.ascontiguousarray(value[facts["input"]]))
        found = net.forward([picture])
        return {name: np.array(one.read()) for name, one in zip(facts["outputs"], found, strict=True)}

    return run


WAYS = {"": make}
