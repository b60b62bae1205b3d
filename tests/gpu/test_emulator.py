"""The emulated CUDA runtime refuses what NVIDIA's refuses: else a test that passes on it says little about a GPU."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("grid", "block", "shared_bytes", "status"),
    [
        ((1, 1, 1), (1024, 1, 1), 48 << 10, "cudaSuccess"),
        ((1, 1, 1), (16, 16, 4), 0, "cudaSuccess"),
        ((1, 1, 1), (1025, 1, 1), 0, "cudaErrorInvalidConfiguration"),
        ((1, 1, 1), (33, 32, 1), 0, "cudaErrorInvalidConfiguration"),
        ((1, 1, 1), (1, 1, 65), 0, "cudaErrorInvalidConfiguration"),
        ((1, 1, 1), (0, 1, 1), 0, "cudaErrorInvalidConfiguration"),
        ((0, 1, 1), (32, 1, 1), 0, "cudaErrorInvalidConfiguration"),
        ((1, 65536, 1), (32, 1, 1), 0, "cudaErrorInvalidConfiguration"),
        ((1, 1, 1), (32, 1, 1), (48 << 10) + 1, "cudaErrorInvalidValue"),
    ],
)
def test_a_launch_beyond_a_gpus_limits_is_refused(emulated_runtime, grid, block, shared_bytes, status):
    (given,) = emulated_runtime.launch_nothing(grid, block, shared_bytes)
    emulated_runtime.cudaGetLastError()
    assert given.name == status


def test_a_copy_wants_a_kind_not_a_number(emulated_runtime):
    # cuda-bindings 12.9 and 13.0 ask for kind.value, so that a number passes with 13.5 alone
    source, target = np.arange(4), np.zeros(4, int)
    where = target.ctypes.data, source.ctypes.data, source.nbytes
    with pytest.raises(TypeError):
        emulated_runtime.cudaMemcpyAsync(*where, 4, 0)
    (status,) = emulated_runtime.cudaMemcpyAsync(*where, emulated_runtime.cudaMemcpyKind.cudaMemcpyDefault, 0)
    assert status.name == "cudaSuccess" and target.tolist() == [0, 1, 2, 3]


def test_a_capture_wants_a_mode_not_a_number(emulated_runtime):
    _, stream = emulated_runtime.cudaStreamCreateWithFlags(1)
    with pytest.raises(TypeError):
        emulated_runtime.cudaStreamBeginCapture(stream, 1)
    emulated_runtime.cudaStreamDestroy(stream)
