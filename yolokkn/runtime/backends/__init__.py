"""Backends: what runs the network. Each is imported only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from yolokkn.errors import did_you_mean
from yolokkn.runtime.backends.base import Backend

BACKENDS = ("onnxruntime", "openvino")

__all__ = ["BACKENDS", "Backend", "open_backend"]


def open_backend(
    name: str, model: str | Path | bytes, *, device: str = "cpu", threads: int | None = None, num_requests: int = 1
) -> Backend:
    """Load a model file into a backend.

    Args:
        name: "onnxruntime" or "openvino".
        model: A path, or the bytes of an ONNX file.
        device: Where to run: "cpu", or what the backend offers.
        threads: Threads of all runs together; None takes every core.
        num_requests: Runs at once among which the threads are shared.

    Raises:
        ValueError: There is no such backend.
        ModelError: The model cannot be loaded.
        MissingDependencyError: The backend's package is not installed.
    """
    if name == "onnxruntime":
        from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model, device=device, threads=threads, num_requests=num_requests)
    if name == "openvino":
        from yolokkn.runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, device=device, threads=threads, num_requests=num_requests)
    raise ValueError(f"backend: must be one of {', '.join(BACKENDS)}, got {name!r}{did_you_mean(name, BACKENDS)}")
