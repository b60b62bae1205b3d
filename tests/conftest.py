"""Fixtures that every test may use."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from yolokkn import ops

SHARED_DATA = Path(os.environ.get("YOLOKKN_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images, clips and weights; it does not travel with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA} (set YOLOKKN_DATA)")
    return SHARED_DATA


@pytest.fixture(params=["reference", "cpu"])
def op(request: pytest.FixtureRequest):
    """Each implementation of the ops in turn: a module or package with the doors' names."""
    return ops.reference if request.param == "reference" else ops


@pytest.fixture
def little_memory():
    """Allow 1 GiB of memory more than there is now: a giant allocation is a MemoryError, which no test accepts."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
