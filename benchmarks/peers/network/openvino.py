"""OpenVINO as its own users call it: one request, latency."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ENVIRONMENT = "openvino"


def make(facts: Mapping[str, Any]) -> Callable[[Mapping[str, np.ndarray]], Any]:
    import openvino as ov

    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": facts["threads"],
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = ov.Core().compile_model(facts["model"], "CPU", options)
    request = compiled.create_infer_request()
    names = [port.get_any_name() for port in compiled.outputs]

    def run(value: Mapping[str, np.ndarray]) -> Any:
        request.infer(dict(value), share_inputs=True)
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(names)}

    return run


WAYS = {"": make}
