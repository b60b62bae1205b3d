"""The small interface behind which a network runs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from yolokkn.layouts import TensorSpec


class Backend(ABC):
    """A loaded network. `run` may be called from several threads at once.

    Attributes:
        inputs: Inputs in the model's order.
        outputs: Outputs in the model's order; None where a size is free.
        metadata: What the model file says of itself.
        threads: Threads of all runs together; None takes every core.
        op_types: Kinds of the graph's nodes; None where they cannot be seen.
    """

    name: ClassVar[str]

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]
    op_types: frozenset[str] | None = None
    threads: int | None = None

    @abstractmethod
    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the network once.

        Args:
            feeds: Every input by name, of the dtype and shape that `inputs` says.

        Returns:
            Every output by name, in the network's own dtype.
        """

    def for_requests(self, num_requests: int) -> Backend:
        """Return the same network prepared for so many `run` calls at once; this one stays as it is."""
        return self


def available_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
