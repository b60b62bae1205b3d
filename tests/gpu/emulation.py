"""Builds csrc/cuda for the host: every thread of a block a fiber, memory and streams emulated; see csrc/emulator."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


def build() -> SimpleNamespace:
    """Return what `cuda.bindings.runtime` and `yolokkn.ops._cuda` hold, emulated; skips where it cannot be built."""
    if not (ROOT / "csrc" / "emulator").is_dir():
        pytest.skip("no source of the kernels beside the tests")
    pybind11 = pytest.importorskip("pybind11")
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("no cmake to build the emulated kernels with")
    folder = ROOT / "build" / "emulated"
    options = [
        "-DYOLOKKN_CUDA=emulated", "-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}", f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={folder}",
    ]  # fmt: skip
    if ninja := shutil.which("ninja"):
        options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    _run([cmake, "-S", str(ROOT), "-B", str(folder), *options])
    _run([cmake, "--build", str(folder), "--target", "_cuda_emulated", "--parallel", "2"])
    return _load(folder / f"_cuda_emulated{sysconfig.get_config_var('EXT_SUFFIX')}")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")


def _load(path: Path) -> SimpleNamespace:
    spec = importlib.util.spec_from_file_location("_cuda_emulated", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return SimpleNamespace(**vars(module))
