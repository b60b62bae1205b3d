"""Builds the extensions of the package by calling CMake once; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CPU, CUDA = "yolokkn.ops._native", "yolokkn.ops._cuda"


def find_nvcc() -> str | None:
    """Return NVIDIA's compiler: what CUDACXX names, on the path, or where its installer puts it."""
    beside = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin" / "nvcc"
    return os.environ.get("CUDACXX") or shutil.which("nvcc") or (str(beside) if beside.is_file() else None)


def wants_cuda() -> bool:
    """Read the environment variable YOLOKKN_CUDA: on, off, or auto, which builds the CUDA kernels where nvcc is found."""
    choice = os.environ.get("YOLOKKN_CUDA", "auto")
    if choice not in ("auto", "on", "off"):
        raise SystemExit(f"YOLOKKN_CUDA must be auto, on or off, got {choice!r}")
    if choice == "on" and find_nvcc() is None:
        raise SystemExit("YOLOKKN_CUDA=on, but no nvcc was found; put it on the PATH, or name it by CUDACXX")
    return choice == "on" or (choice == "auto" and find_nvcc() is not None)


class CMakeBuild(build_ext):
    """Configures and builds CMakeLists.txt, leaving the extensions where setuptools looks for them."""

    def build_extensions(self) -> None:
        """Runs CMake; options come from the environment variable CMAKE_ARGS."""
        target = Path(self.get_ext_fullpath(CPU)).resolve()
        build_dir = Path(self.build_temp).resolve() / "cmake"
        build_dir.mkdir(parents=True, exist_ok=True)
        has_cuda = any(ext.name == CUDA for ext in self.extensions)
        configure = [
            "cmake", str(Path(__file__).parent.resolve()), "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            f"-DYOLOKKN_CUDA={'on' if has_cuda else 'off'}",
            *([f"-DCMAKE_CUDA_COMPILER={find_nvcc()}"] if has_cuda else []),
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]  # fmt: skip
        if ninja := shutil.which("ninja"):  # that of the last build may have gone with pip's temporary environment
            configure.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
        try:
            self._run_cmake(configure, build_dir)
        except subprocess.CalledProcessError:
            if not has_cuda or os.environ.get("YOLOKKN_CUDA") == "on":
                raise
            print("yolokkn: the CUDA kernels do not build here (above); the package is built without them")
            self.extensions = [ext for ext in self.extensions if ext.name != CUDA]
            Path(self.get_ext_fullpath(CUDA)).unlink(missing_ok=True)
            self.build_extensions()

    def _run_cmake(self, configure: list[str], build_dir: Path) -> None:
        if subprocess.run(configure, cwd=build_dir).returncode:
            (build_dir / "CMakeCache.txt").unlink(missing_ok=True)  # what it remembers may be gone: once more without
            shutil.rmtree(build_dir / "CMakeFiles", ignore_errors=True)
            subprocess.run(configure, cwd=build_dir, check=True)
        names = [ext.name.rpartition(".")[2] for ext in self.extensions]
        subprocess.run(["cmake", "--build", ".", "--target", *names], cwd=build_dir, check=True)


setup(
    ext_modules=[Extension(CPU, sources=[])] + ([Extension(CUDA, sources=[])] if wants_cuda() else []),
    cmdclass={"build_ext": CMakeBuild},
)
