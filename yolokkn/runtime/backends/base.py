"""The small interface behind which a network runs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from yolokkn.layouts import TensorSpec

if TYPE_CHECKING:
    from yolokkn.ops.cuda import DeviceArray
    from yolokkn.runtime.cuda_device import Stream


class DeviceNetwork(Protocol):
    """A network whose input and outputs stay on the GPU, in places that never change.

    Attributes:
        picture: (1, 3, h, w) float32 or float16: its input.
        outputs: Its outputs by name, batch first.
        can_be_captured: Whether `enqueue` may stand in a CUDA graph.
        gpu_index: The GPU's number.
    """

    picture: DeviceArray
    outputs: Mapping[str, DeviceArray]
    can_be_captured: bool
    gpu_index: int

    def enqueue(self, stream: Stream) -> None:
        """Queue one run."""


class Backend(ABC):
    """A loaded network. `run` may be called from several threads at once.

    Attributes:
        inputs: Inputs in the model's order.
        outputs: Outputs in the model's order; None where a size is free.
        metadata: What the model file says of itself.
        threads: Threads of all runs together; None takes every core.
        op_types: Kinds of the graph's nodes; None where they cannot be seen.
        has_device_network: Whether `device_network` may give one.
        gpu_index: The number of the GPU that it is on; without meaning elsewhere.
        choice: Why this backend runs the model, where it was left to be chosen.
    """

    name: ClassVar[str]
    has_device_network: bool = False
    gpu_index: int = 0

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]
    op_types: frozenset[str] | None = None
    threads: int | None = None
    choice: str = ""

    @abstractmethod
    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once.

        Args:
            feeds: Every input by name, of the dtype and shape that `inputs` says.

        Returns:
            Every output by name, in the network's own dtype.
        """

    def device_network(self, input_hw: tuple[int, int]) -> DeviceNetwork | None:
        """Return the network for one picture at a time, its input and outputs on the GPU; None where it has no such way.

        Args:
            input_hw: Height and width of the input.
        """
        return None

    def has_run(self, is_new: bool) -> None:  # noqa: B027 - most have nothing to do then
        """Take note that a device network has run and was waited for; nothing is being captured.

        Args:
            is_new: It was the network's first run.
        """

    def for_requests(self, num_requests: int) -> Backend:
        """Return the same network prepared for so many `run` calls at once; this one stays as it is."""
        return self


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
