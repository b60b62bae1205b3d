"""A fast runtime for anybody's YOLO-family models: load a model, detect, track.

The heavy parts are imported when they are first used: `import yolokkn` loads neither OpenCV, ONNX Runtime, PyAV nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yolokkn._version import __version__

if TYPE_CHECKING:
    from yolokkn.runtime.load import load
    from yolokkn.runtime.model import Model
    from yolokkn.runtime.timing import LatencyLedger
    from yolokkn.runtime.track import predict, track
    from yolokkn.runtime.track_streams import track_streams
    from yolokkn.types import Detections, Frame, Masks, Tracks

_HOMES = {
    "Model": "yolokkn.runtime.model",
    "load": "yolokkn.runtime.load",
    "LatencyLedger": "yolokkn.runtime.timing",
    "predict": "yolokkn.runtime.track",
    "track": "yolokkn.runtime.track",
    "track_streams": "yolokkn.runtime.track_streams",
    "Detections": "yolokkn.types",
    "Frame": "yolokkn.types",
    "Masks": "yolokkn.types",
    "Tracks": "yolokkn.types",
}

__all__ = [
    "Detections",
    "Frame",
    "LatencyLedger",
    "Masks",
    "Model",
    "Tracks",
    "__version__",
    "load",
    "predict",
    "track",
    "track_streams",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'yolokkn' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
