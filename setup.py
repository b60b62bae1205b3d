"""Builds the one extension of the package by calling CMake once; everything else is in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CMakeBuild(build_ext):
    """Configures and builds CMakeLists.txt, leaving the extension where setuptools looks for it."""

    def build_extension(self, ext: Extension) -> None:
        """Runs CMake; options come from the environment variable CMAKE_ARGS."""
        target = Path(self.get_ext_fullpath(ext.name)).resolve()
        build_dir = Path(self.build_temp).resolve() / "cmake"
        build_dir.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake", str(Path(__file__).parent.resolve()), "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *os.environ.get("CMAKE_ARGS", "").split(),
        ]  # fmt: skip
        if ninja := shutil.which("ninja"):  # that of the last build may have gone with pip's temporary environment
            configure.append(f"-DCMAKE_MAKE_PROGRAM={ninja}")
        if subprocess.run(configure, cwd=build_dir).returncode:
            (build_dir / "CMakeCache.txt").unlink(missing_ok=True)  # what it remembers may be gone: once more without
            shutil.rmtree(build_dir / "CMakeFiles", ignore_errors=True)
            subprocess.run(configure, cwd=build_dir, check=True)
        subprocess.run(["cmake", "--build", ".", "--target", "_native"], cwd=build_dir, check=True)


setup(ext_modules=[Extension("yolokkn.ops._native", sources=[])], cmdclass={"build_ext": CMakeBuild})
