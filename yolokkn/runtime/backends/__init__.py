"""Backends: what runs the network. Each is imported only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from yolokkn.errors import did_you_mean
from yolokkn.runtime.backends.base import Backend

CPU_BACKENDS = ("onnxruntime", "openvino")
BACKENDS = (*CPU_BACKENDS, "tensorrt")
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")

__all__ = ["BACKENDS", "CPU_BACKENDS", "ENGINE_SUFFIXES", "Backend", "open_backend"]


def open_backend(
    name: str,
    model: str | Path | bytes,
    *,
    device: str | None = None,
    threads: int | None = None,
    num_requests: int = 1,
    trust_engine: bool = False,
    imgsz: tuple[int, int] | None = None,
) -> Backend:
    """Load a model file into a backend.

    Args:
        name: "onnxruntime", "openvino" or "tensorrt".
        model: A path, or the bytes of an ONNX file; an engine for tensorrt alone.
        device: Where to run: what the backend offers; None: the GPU for tensorrt, else the CPU.
        threads: Threads of all runs together; None takes every core.
        num_requests: Runs at once among which the threads are shared.
        trust_engine: Run an engine that has no manifest of ours; see `TensorRtBackend`.
        imgsz: Largest height and width, where tensorrt builds an engine for a model of free size.

    Raises:
        ValueError: There is no such backend.
        ModelError: The model cannot be loaded.
        MissingDependencyError: The backend's package is not installed.
    """
    if name == "tensorrt":
        from yolokkn.runtime.backends.tensorrt import TensorRtBackend

        return TensorRtBackend(
            model,
            device=device or "cuda",
            threads=threads,
            num_requests=num_requests,
            trust_engine=trust_engine,
            imgsz=imgsz,
        )
    device = device or "cpu"
    if name == "onnxruntime":
        from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model, device=device, threads=threads, num_requests=num_requests)
    if name == "openvino":
        from yolokkn.runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, device=device, threads=threads, num_requests=num_requests)
    raise ValueError(f"backend: must be one of {', '.join(BACKENDS)}, got {name!r}{did_you_mean(name, BACKENDS)}")
