"""What TensorRT-RTX compiles on the GPU when an engine first runs, kept for the next start."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from yolokkn.errors import ModelError
from yolokkn.runtime.cuda_device import Gpu
from yolokkn.runtime.engine_cache import EngineCache
from yolokkn.runtime.engine_library import Library

_PAUSE = 20  # times what writing took, until the next writing


class Kernels:
    """What TensorRT-RTX compiles on this GPU when an engine first runs, kept in the cache; TensorRT has it in the engine.

    Attributes:
        config: What contexts are made with; None with TensorRT.
    """

    def __init__(self, library: Library, engine: Any, cache: EngineCache, gpu: Gpu) -> None:
        self.config: Any = None
        if library.name != "tensorrt_rtx":
            return
        self._store = cache
        self._name = f"kernels-{library.name}-{library.version}-{gpu.capability}"
        config = engine.create_runtime_config()
        # a captured graph keeps the kernels that it saw, so those for its shape must be there before
        strategies = library.trt.DynamicShapesKernelSpecializationStrategy
        config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        kernels = config.create_runtime_cache()
        kept = cache.load_blob(self._name)
        if kept is not None:
            kernels.deserialize(kept)  # says False where it does not fit, and stays empty
        config.set_runtime_cache(kernels)
        self.config, self._compiled, self._size = config, kernels, len(kept or b"")
        self._guard, self._is_due, self._not_before = threading.Lock(), False, 0.0

    def keep(self, is_new: bool) -> None:
        """Write what has been compiled since the last time; called after each run.

        Writing takes a twentieth of the time at most: what comes sooner after it is written by a later call.

        Args:
            is_new: The run was of a shape that may have been compiled for.
        """
        if self.config is None:
            return
        self._is_due |= is_new
        if not self._is_due or time.monotonic() < self._not_before or not self._guard.acquire(blocking=False):
            return
        try:
            started, self._is_due = time.monotonic(), False
            self._write()
            now = time.monotonic()
            self._not_before = now + _PAUSE * (now - started)
        finally:
            self._guard.release()

    def _write(self) -> None:
        content = bytes(memoryview(self._compiled.serialize()))
        if len(content) == self._size:
            return
        self._size = len(content)
        with contextlib.suppress(OSError, ModelError):  # without it the next start takes longer, nothing else
            self._store.store_blob(self._name, content)
