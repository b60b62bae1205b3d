"""What TensorRT-RTX compiles on the GPU when an engine first runs, kept for the next start."""

from __future__ import annotations

import contextlib
from typing import Any

from yolokkn.errors import ModelError
from yolokkn.runtime.cuda_device import Gpu
from yolokkn.runtime.engine_cache import EngineCache
from yolokkn.runtime.engine_library import Library


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

    def keep(self) -> None:
        """Write the cache where it has grown."""
        if self.config is None:
            return
        content = bytes(memoryview(self._compiled.serialize()))
        if len(content) != self._size:
            self._size = len(content)
            with contextlib.suppress(
                OSError, ModelError
            ):  # without a cache it takes time at the next start, nothing else
                self._store.store_blob(self._name, content)
