"""Fixtures that every test may use."""

from __future__ import annotations

import os
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
