"""Tests that want a GPU: skipped without one, unless YOLOKKN_REQUIRE_CUDA=1 makes that a failure."""

from __future__ import annotations

import os

import pytest

from yolokkn.errors import DeviceError, MissingDependencyError
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
