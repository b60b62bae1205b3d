"""Tests that want a GPU: skipped without one, unless YOLOKKN_REQUIRE_CUDA=1 makes that a failure."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from tests.gpu import emulation
from tests.gpu.cuda_facade import CudaOps
from yolokkn import ops
from yolokkn.errors import DeviceError, MissingDependencyError
from yolokkn.ops.cuda import CudaKernels
from yolokkn.runtime import cuda_device
from yolokkn.runtime.cuda_device import Gpu, find_gpu
from yolokkn.runtime.engine_library import Library, find_library


def absent(reason: str) -> None:
    """Skip, or fail where a GPU is required."""
    if os.environ.get("YOLOKKN_REQUIRE_CUDA") == "1":
        pytest.fail(f"YOLOKKN_REQUIRE_CUDA=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """The first GPU."""
    try:
        return find_gpu(0)
    except (DeviceError, MissingDependencyError) as error:
        absent(str(error))
        raise


def usable_library(name: str, gpu: Gpu) -> Library | str:
    """Return a library that has engines for this GPU, or why it is none."""
    try:
        found = find_library(name)
    except MissingDependencyError as error:
        return str(error)
    if found.capabilities and gpu.capability not in found.capabilities:
        return f"{found.title} {found.version} has no engines for {gpu}"
    return found


@pytest.fixture(scope="session", params=["tensorrt", "tensorrt_rtx"])
def library(request: pytest.FixtureRequest, gpu: Gpu) -> Library:
    """Each library in turn; one of them is enough, none is an absence."""
    found = {name: usable_library(name, gpu) for name in ("tensorrt", "tensorrt_rtx")}
    chosen = found[request.param]
    if isinstance(chosen, Library):
        return chosen
    if not any(isinstance(one, Library) for one in found.values()):
        absent("; ".join(map(str, found.values())))
    pytest.skip(chosen)


@pytest.fixture(scope="session")
def emulated_runtime() -> SimpleNamespace:
    """The CUDA kernels and a CUDA runtime on the host, built from csrc/cuda and csrc/emulator."""
    return emulation.build()


@pytest.fixture(params=["emulated", "cuda"])
def cuda_op(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CudaOps:
    """The CUDA kernels as ops of NumPy arrays: run by the host in a shuffled order, and by a GPU where there is one."""
    if request.param == "cuda":
        request.getfixturevalue("gpu")
        if not ops.cuda.is_built():
            absent("the package was built without nvcc")
        return CudaOps(ops.cuda.kernels())
    runtime = request.getfixturevalue("emulated_runtime")
    monkeypatch.setattr(cuda_device, "_runtime", lambda: runtime)
    runtime.set_order(int.from_bytes(request.node.name.encode()[-8:], "little"))
    return CudaOps(CudaKernels(runtime))
