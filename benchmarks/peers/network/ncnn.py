"""ncnn, from the ONNX file by pnnx of the same environment, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ENVIRONMENT = "ncnn"


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import ncnn

    folder = Path(tempfile.mkdtemp())
    shutil.copy(facts["model"], folder / "model.onnx")
    tool = Path(sys.executable).with_name("pnnx")
    shape = "[" + ",".join(str(n) for n in facts["input_shape"]) + "]"
    subprocess.run(
        [str(tool), "model.onnx", f"inputshape={shape}", "fp16=0"], cwd=folder, check=True, capture_output=True
    )
    net = ncnn.Net()
    net.opt.num_threads = facts["threads"]
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    files = [str(folder / f"model.ncnn.{part}") for part in ("param", "bin")]
    if net.load_param(files[0]) != 0 or net.load_model(files[1]) != 0:
        raise ValueError("pnnx wrote a layer that ncnn does not have (YOLOX's strided slices are such)")
    shutil.rmtree(folder)
    inputs, outputs = net.input_names(), net.output_names()

    def run(value: Mapping[str, np.ndarray]) -> Any:
        with net.create_extractor() as extractor:
            extractor.input(inputs[0], ncnn.Mat(value[facts["input"]][0]))
            found = [np.array(extractor.extract(name)[1]) for name in outputs]
        return {name: array[None] for name, array in zip(facts["outputs"], found, strict=True)}

    return run


WAYS = {"": make}
