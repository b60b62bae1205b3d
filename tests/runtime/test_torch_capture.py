"""How a torch module is captured, told by a torch that only notes it: the real one captures on a GPU alone."""

from __future__ import annotations

import contextlib
import gc
from types import SimpleNamespace

import numpy as np

from yolokkn.runtime import cuda_device
from yolokkn.runtime.backends.torch import CapturedModule


class Tensor:
    dtype, shape, device = "torch.float32", (1, 3, 8, 8), SimpleNamespace(index=1)

    def data_ptr(self):
        return 4096

    def float(self):
        return self

    contiguous = float


def noting_torch(seen):
    @contextlib.contextmanager
    def graph(graph, stream, capture_error_mode):
        seen.append((gc.isenabled(), cuda_device._one_at_a_time.locked(), capture_error_mode))
        yield

    stream = SimpleNamespace(wait_stream=lambda other: None)
    cuda = SimpleNamespace(
        Stream=lambda device: stream, current_stream=lambda device: stream, CUDAGraph=object, graph=graph,
        stream=lambda s: contextlib.nullcontext(), synchronize=lambda device: None,
    )  # fmt: skip
    return SimpleNamespace(
        zeros=lambda shape, dtype, device: Tensor(),
        float32="f",
        float16="h",
        cuda=cuda,
        inference_mode=contextlib.nullcontext,
    )


def test_the_capture_stands_behind_the_lock_and_without_the_collector():
    seen = []
    network = CapturedModule(noting_torch(seen), lambda x: x, lambda out: {"out": out}, (8, 8), "cuda:1")
    assert seen == [(False, True, "thread_local")]
    assert gc.isenabled() and not cuda_device._one_at_a_time.locked()
    assert network.gpu_index == 1
    assert network.picture.__dlpack_device__() == network.outputs["out"].__dlpack_device__() == (2, 1)
    assert network.picture.dtype == np.float32
