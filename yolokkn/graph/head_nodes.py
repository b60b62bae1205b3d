"""Finds a detector's head: the last layers with weights, and the box arithmetic behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yolokkn.graph.dataflow import Dataflow

LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")  # operators with weights
_MIN_BINS = 8  # of a distribution over distances


@dataclass(frozen=True)
class Head:
    """Places of nodes in the graph.

    Attributes:
        layers: The last layers with weights before the outputs: those that give boxes, scores, coefficients, prototypes.
        after: What follows them up to the outputs: activations, softmax, the mean over a distribution, box arithmetic.
    """

    layers: frozenset[int]
    after: frozenset[int]

    @property
    def nodes(self) -> frozenset[int]:
        """Both."""
        return self.layers | self.after


def find_head(flow: Dataflow) -> Head:
    """Walk back from a graph's outputs to the first layer with weights on each way.

    A convolution or product whose weights only count the bins of a distribution (0, 1, 2 ...) is arithmetic, and the walk
    goes on before it. Shapes are not values: what only gives its shape is not reached.

    Args:
        flow: The graph's values.
    """
    nodes = flow.graph.node
    layers: set[int] = set()
    after: set[int] = set()
    waiting = [value.name for value in flow.graph.output]
    while waiting:
        place = flow.producers.get(waiting.pop())
        if place is None or place in layers or place in after:
            continue
        node = nodes[place]
        if _is_layer(flow, place):
            layers.add(place)
            continue
        after.add(place)
        if node.op_type not in ("Shape", "Size"):
            waiting.extend(name for name in node.input if name)
    return Head(frozenset(layers), frozenset(after))


def _is_layer(flow: Dataflow, place: int) -> bool:
    node = flow.graph.node[place]
    if node.domain or node.op_type not in LAYERS or len(node.input) < 2 or not flow.is_constant(node.input[1]):
        return False
    weights = flow.constant_array(node.input[1])
    return weights is None or not _counts_bins(node.op_type, weights)


def _counts_bins(op_type: str, weights: np.ndarray) -> bool:
    """Tell weights that take the mean of a distribution: one output, rising from bin to bin, which learned ones never do."""
    outputs = weights.shape[0] if op_type == "Conv" else 1 if weights.ndim == 1 else weights.shape[-1]
    return outputs == 1 and weights.size >= _MIN_BINS and bool((np.diff(weights.ravel().astype(np.float64)) > 0).all())
