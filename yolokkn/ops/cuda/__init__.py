"""CUDA kernels: the twins of `yolokkn.ops` on arrays of the GPU, where the package was built with nvcc."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

from yolokkn.errors import DeviceError, MissingDependencyError
from yolokkn.ops.cuda.arrays import (
    AnchorExtras,
    CandidateBuffers,
    DetectionBuffers,
    DeviceArray,
    ExtraLevel,
    Memory,
    Selection,
)
from yolokkn.ops.cuda.kernels import CudaKernels

MOST_DETECTIONS = 1024  # that the kernels keep of a frame

__all__ = [
    "MOST_DETECTIONS",
    "AnchorExtras",
    "CandidateBuffers",
    "CudaKernels",
    "DetectionBuffers",
    "DeviceArray",
    "ExtraLevel",
    "Memory",
    "Selection",
    "is_built",
    "kernels",
    "why_not",
]


def is_built() -> bool:
    """Return whether this build has CUDA kernels; a GPU to run them on is another question."""
    return importlib.util.find_spec("yolokkn.ops._cuda") is not None


def why_not() -> str | None:
    """Return why the kernels cannot run on this thread's GPU; None where they can.

    Asking begins to use that GPU, if the process has not yet.
    """
    if not is_built():
        return "this build has no CUDA kernels (no nvcc was found when it was made)"
    try:
        if not kernels().count_devices():
            return "no NVIDIA GPU"
        kernels().check_image()
        return None
    except (DeviceError, MissingDependencyError) as error:
        said = str(error)
        is_driver = "InsufficientDriver" in said  # CUDA says so, too, where there is none
        return "no NVIDIA driver, or one older than the CUDA of this build" if is_driver else said


@cache
def kernels() -> CudaKernels:
    """Return the kernels.

    Raises:
        MissingDependencyError: The package was built without nvcc.
    """
    try:
        native = importlib.import_module("yolokkn.ops._cuda")
    except ImportError as error:
        raise MissingDependencyError(
            "ops.cuda: this build has no CUDA kernels; build it where nvcc 12 or later is found: pip install --no-binary "
            "yolokkn yolokkn, or from its source folder: pip install ."
        ) from error
    return CudaKernels(native)
