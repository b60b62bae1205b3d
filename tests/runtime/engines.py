"""Small graphs and sealed engines for the tests of engines."""

from __future__ import annotations

import numpy as np

from yolokkn.graph import GraphBuilder
from yolokkn.runtime.engine_manifest import Engine, EngineRequest, seal


def convolution(batch: int | str = 1, side: int | str = 32, op: str = "Relu", depth: int = 1) -> bytes:
    """An ONNX file with so many convolutions, of which all but the last may be turned to float16, and an operator behind."""
    builder = GraphBuilder("small", opset=17)
    sides = (side, side) if isinstance(side, int) else ("height", "width")
    x = builder.input("images", "float32", (batch, 3, *sides))
    for layer in range(depth - 1):
        kernel = builder.initializer(f"w{layer}", np.full((3, 3, 1, 1), 0.3, np.float32))
        x = builder.node("Conv", [x, kernel], output=f"x{layer}")
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    y = builder.node("Conv", [x, builder.initializer("w", weights)], output="c", pads=[1, 1, 1, 1])
    builder.output(builder.node(op, [y], output="y"), "float32", (batch, 4, *sides))
    builder.metadata({"names": '["person"]', "stride": "32", "imgsz": "[64, 64]"})
    return builder.to_bytes()


def request(**changes) -> EngineRequest:
    """A request of which the test changes what it is about."""
    values = {
        "model_sha256": "ab" * 32, "library": "tensorrt_rtx", "library_version": "1.7.0", "gpu": "",
        "capabilities": ("SM86",), "precision": "fp32", "calibration_sha256": "",
        "profiles": {"images": ((1, 3, 64, 64), (4, 3, 64, 64), (8, 3, 64, 64))},
        "flags": {"tf32": False, "workspace_mb": None}, "producer": "1.0",
    }  # fmt: skip
    return EngineRequest(**{**values, **changes})


def sealed(wanted: EngineRequest, name: str = "a.onnx", plan: bytes = b"ptrt" + bytes(range(256)) * 4) -> Engine:
    """An engine whose plan no library has seen."""
    return seal(
        plan, wanted, name=name, graph_sha256="cd" * 32, metadata={"names": '["café", "car"]', "stride": "32"},
        op_types=("Conv", "Relu"), build_s=0.5, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
