"""What a support person asks first: versions, the machine, its instruction set."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from yolokkn import ops
from yolokkn._version import __version__
from yolokkn.runtime.backends.base import available_cores

NEEDED = ("numpy", "onnxruntime", "opencv-python-headless", "av", "protobuf", "rich")
OPTIONAL = (
    "onnxruntime-gpu", "opencv-python", "openvino", "torch", "onnx", "tensorrt", "tensorrt-cu12", "tensorrt-cu13",
    "tensorrt-rtx", "cuda-python", "cuda-bindings", "cuda-core",
)  # fmt: skip
_DRIVER = Path("/proc/driver/nvidia/version")


def installation() -> dict[str, Any]:
    """Return what is installed on which machine, as plain values; nothing heavy is imported.

    Example:
        >>> sorted(installation())[:5]
        ['cores', 'cpu', 'cuda_kernels', 'environment', 'gpu_driver']
    """
    versions = {name: _version(name) for name in (*NEEDED, *OPTIONAL)}
    return {
        "yolokkn": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": available_cores(),
        "instruction_set": ops.instruction_set(),
        "gpu_driver": gpu_driver(),
        "cuda_kernels": ops.cuda.why_not() or "",
        "packages": {name: v for name, v in versions.items() if v is not None or name in NEEDED},
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith(("YOLOKKN_", "OMP_", "CUDA_"))},
    }


def as_lines(facts: dict[str, Any]) -> list[str]:
    """Return the facts for people, one a line."""
    packages = ", ".join(f"{name} {version or 'MISSING'}" for name, version in facts["packages"].items())
    lines = [
        f"yolokkn   {facts['yolokkn']}, kernels for {facts['instruction_set']}",
        f"python    {facts['python']}",
        f"machine   {facts['system']}; {facts['cpu']}, {facts['cores']} cores for this process",
        f"gpu       {facts['gpu_driver'] or 'no NVIDIA driver'}; CUDA kernels: {facts['cuda_kernels'] or 'ready'}",
        f"packages  {packages}",
    ]
    set_here = " ".join(f"{key}={value}" for key, value in facts["environment"].items())
    return [*lines, f"set       {set_here}"] if set_here else lines


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def driver_trouble() -> str:
    """Return what CUDA means where it calls the driver insufficient: there is none, or it is too old."""
    import ctypes.util

    if line := gpu_driver():
        return f"the NVIDIA driver is older than this CUDA wants ({line})"
    found = ctypes.util.find_library("cuda")  # WSL has no line
    return "the NVIDIA driver is older than this CUDA wants" if found else "no NVIDIA driver"


def gpu_driver() -> str:
    """Return the line of the NVIDIA driver of this Linux; empty where there is none, or it does not tell (WSL)."""
    try:
        return _DRIVER.read_text("utf-8", "replace").splitlines()[0].strip()
    except (OSError, IndexError):
        return ""
