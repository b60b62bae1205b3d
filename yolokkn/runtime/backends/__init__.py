"""Backends: what runs the network. Each is imported only when it is asked for."""

from __future__ import annotations

from pathlib import Path

from yolokkn.errors import did_you_mean
from yolokkn.runtime.backends.base import Backend, DeviceNetwork

CPU_BACKENDS = ("onnxruntime", "openvino")
BACKENDS = (*CPU_BACKENDS, "tensorrt")
ENGINE_SUFFIXES = (".engine", ".plan", ".trt")

__all__ = ["BACKENDS", "CPU_BACKENDS", "ENGINE_SUFFIXES", "Backend", "DeviceNetwork", "open_backend"]


def open_backend(
    name: str,
    model: str | Path | bytes,
    *,
    device: str | None = None,
    threads: int | None = None,
    num_requests: int = 1,
    trust_engine: bool = False,
    imgsz: tuple[int, int] | None = None,
    precision: str | None = None,
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
        precision: "fp32", "fp16" or "int8", where tensorrt builds an engine; None: float16 but for the head, or what the file
            has if that is not float32. Other backends compute as the file does and take none.

    Raises:
        ValueError: There is no such backend, or it does not take this device or precision.
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
            precision=precision,
        )
    if precision is not None and name in BACKENDS:
        raise ValueError(
            f"precision: must be left out for {name}, which computes as the file does, got {precision!r}; "
            "yolokkn quantize writes fp16 and int8 files"
        )
    device = device or "cpu"
    if name == "onnxruntime":
        from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(model, device=device, threads=threads, num_requests=num_requests)
    if name == "openvino":
        from yolokkn.runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, device=device, threads=threads, num_requests=num_requests)
    raise ValueError(f"backend: must be one of {', '.join(BACKENDS)}, got {name!r}{did_you_mean(name, BACKENDS)}")
