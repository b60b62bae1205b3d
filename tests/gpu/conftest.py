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


@pytest.fixture(scope="session", params=["tensorrt", "tensorrt_rtx"])
def library(request: pytest.FixtureRequest, gpu: Gpu) -> Library:
    """Each library in turn; one of them is enough."""
    try:
        found = find_library(request.param)
    except MissingDependencyError as error:
        other = "tensorrt" if request.param == "tensorrt_rtx" else "tensorrt_rtx"
        try:
            find_library(other)
        except MissingDependencyError:
            absent(str(error))
        pytest.skip(str(error))
    if found.capabilities and gpu.capability not in found.capabilities:
        pytest.skip(f"{found.title} {found.version} has no engines for {gpu}")
    return found
