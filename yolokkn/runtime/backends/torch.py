"""A PyTorch module given by the caller. The only runtime file that imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.layouts import TensorSpec
from yolokkn.ops.cuda import DeviceArray
from yolokkn.runtime.backends.base import Backend, DeviceNetwork
from yolokkn.runtime.cuda_device import capturing

if TYPE_CHECKING:
    from yolokkn.runtime.cuda_device import Stream


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
        self.has_device_network = self._device.type == "cuda"
        if self.has_device_network:
            if self._device.index is None:  # "cuda" is whichever is torch's own at this time
                self._device = torch.device("cuda", torch.cuda.current_device())
            self.gpu_index = self._device.index
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
            named = self._named(self._module(torch.from_numpy(feeds["images"].copy()).to(self._device)))
        return {key: value.float().cpu().contiguous().numpy() for key, value in named.items()}

    def _named(self, result: Any) -> dict[str, Any]:
        """Give the tensors of a result their names."""
        torch = self._torch
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
        return {str(key): value for key, value in named.items()}

    def device_network(self, input_hw: tuple[int, int]) -> DeviceNetwork | None:
        """Return the module captured into a CUDA graph of torch's own; None on a CPU.

        Args:
            input_hw: Height and width of the input.
        """
        if not self.has_device_network:
            return None
        return CapturedModule(self._torch, self._module, self._named, input_hw, self._device)


class CapturedModule:
    """A torch module in a CUDA graph, between tensors that stay where they are; see `DeviceNetwork`.

    Its graph cannot stand in another one, so that a frame takes three launches instead of one.
    """

    can_be_captured = False

    def __init__(
        self,
        torch: Any,
        module: Any,
        named: Callable[[Any], dict[str, Any]],
        input_hw: tuple[int, int],
        device: Any,
    ) -> None:
        self._torch, self._device = torch, device
        picture = torch.zeros((1, 3, *input_hw), dtype=torch.float32, device=device)
        self.gpu_index = picture.device.index

        def run() -> dict[str, Any]:
            outputs = named(module(picture))
            return {
                key: (value if value.dtype == torch.float16 else value.float()).contiguous()
                for key, value in outputs.items()
            }

        warm = torch.cuda.Stream(device)
        warm.wait_stream(torch.cuda.current_stream(device))
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            with torch.cuda.stream(warm):
                for _ in range(3):  # what is done once is done here: plans, workspaces, the allocator's pool
                    run()
            torch.cuda.synchronize(device)
            with capturing(), torch.cuda.graph(self._graph, stream=warm, capture_error_mode="thread_local"):
                tensors = run()
        self.picture = _device_array(picture)
        self.outputs: Mapping[str, DeviceArray] = {key: _device_array(value) for key, value in tensors.items()}

    def enqueue(self, stream: Stream) -> None:
        """Queue one run."""
        torch = self._torch
        with torch.cuda.stream(torch.cuda.ExternalStream(stream.number, self._device)):
            self._graph.replay()


def _device_array(tensor: Any) -> DeviceArray:
    dtype: np.dtype[Any] = np.dtype(str(tensor.dtype).removeprefix("torch."))
    return DeviceArray(tensor.data_ptr(), tuple(tensor.shape), dtype, tensor, tensor.device.index)
