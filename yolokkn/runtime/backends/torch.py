"""A PyTorch module given by the caller. The only runtime file that imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.runtime.backends.base import Backend


class TorchBackend(Backend):
    """A `torch.nn.Module` that takes (B, 3, H, W) float32 and gives a tensor, or a tuple, list or dict of tensors.

    Args:
        module: The module; it is put into evaluation mode.
        input_hw: Height and width to run it at.
        device: A torch device, such as "cpu" or "cuda".
        output_names: Names for the outputs in order; "output0", "output1" ... by default. Ignored for a dict.
        metadata: What a model file would say: layout, task, names ... as strings.

    Raises:
        ModelError: The module gives something else than tensors.
    """

    name = "torch"

    def __init__(
        self,
        module: Any,
        *,
        input_hw: tuple[int, int],
        device: str = "cpu",
        output_names: tuple[str, ...] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        import torch

        self._torch = torch
        self._device = torch.device(device)
        self._module = module.eval().to(self._device)
        self._given_names = output_names
        self.metadata = dict(metadata or {})
        self.inputs = (TensorSpec("images", "float32", (None, 3, *input_hw)),)
        probe = self.run({"images": np.zeros((1, 3, *input_hw), np.float32)})
        self.outputs = tuple(TensorSpec(k, str(v.dtype), (None, *v.shape[1:])) for k, v in probe.items())

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the module without gradients; outputs come back to the CPU."""
        torch = self._torch
        with torch.inference_mode():
            result = self._module(torch.from_numpy(feeds["images"].copy()).to(self._device))
        if isinstance(result, torch.Tensor):
            result = (result,)
        if isinstance(result, Mapping):
            named = dict(result)
        elif isinstance(result, (tuple, list)):
            names = self._given_names or tuple(f"output{i}" for i in range(len(result)))
            if len(names) != len(result):
                raise ModelError(f"torch module: gives {len(result)} outputs, but {len(names)} names were given")
            named = dict(zip(names, result, strict=True))
        else:
            named = {"": result}
        for key, value in named.items():
            if not isinstance(value, torch.Tensor):
                raise ModelError(f"torch module: must give tensors, got {type(value).__name__} as output {key!r}")
        return {str(k): v.float().cpu().contiguous().numpy() for k, v in named.items()}
