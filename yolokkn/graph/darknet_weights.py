"""Reader of darknet .weights files: the header, then the numbers of each convolution in the cfg's order."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from yolokkn.errors import ModelError
from yolokkn.graph.darknet_network import Convolution, Network

# Added to the variance of a batch normalization. OpenCV's importer takes this; the darknet forks have 1e-5 (moves the
# logits of Yolo-Fastest by 0.01) or add 1e-6 to the standard deviation instead.
EPSILON = 1e-6


@dataclass(frozen=True)
class RawConvolution:
    """What the file says of one convolution.

    Attributes:
        biases: (filters,) float32; added after the batch normalization where there is one.
        weights: (filters, channels / groups, size, size) float32.
        scales: (filters,) float32 of the batch normalization; None without one.
        means: (filters,) float32; None without.
        variances: (filters,) float32, 0 or more; None without.
    """

    biases: np.ndarray
    weights: np.ndarray
    scales: np.ndarray | None = None
    means: np.ndarray | None = None
    variances: np.ndarray | None = None

    @property
    def in_file_order(self) -> tuple[np.ndarray, ...]:
        """The arrays that there are, as they follow one another in the file."""
        arrays = (self.biases, self.scales, self.means, self.variances, self.weights)
        return tuple(array for array in arrays if array is not None)


def read_weights(path: str | os.PathLike[str], network: Network) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Read the weights of every convolution, batch normalization folded in.

    Args:
        path: The .weights file. Its size must be what the network needs, to the byte; nothing is allocated before.
        network: From `plan_network`.

    Returns:
        By index of the layer: weights (filters, channels / groups, size, size) and biases (filters,), float32.

    Raises:
        ModelError: There is no such file, its header or size is wrong, or a number in it is no weight.
    """
    return {i: _fold(raw, f"{Path(path)}: layer {i}") for i, raw in read_convolutions(path, network)}


def read_convolutions(path: str | os.PathLike[str], network: Network) -> Iterator[tuple[int, RawConvolution]]:
    """Read the numbers of every convolution as the file has them, one layer at a time.

    Args:
        path: The .weights file. Its size must be what the network needs, to the byte; nothing is allocated before.
        network: From `plan_network`.

    Yields:
        The layer's index and its numbers.

    Raises:
        ModelError: There is no such file, its header or size is wrong, or a number in it is no weight.
    """
    file = Path(path)
    wanted = sum(layer.settings.num_floats for layer in network.layers if layer.kind == "convolutional")
    try:
        if not file.is_file():
            raise ModelError(f"darknet_to_onnx: weights_path must name a file, got no such file: {os.fspath(path)!r}")
        with file.open("rb") as stream:
            _check_size(file, stream, wanted)
            for i, layer in enumerate(network.layers):
                if layer.kind == "convolutional":
                    yield i, _read_convolution(stream, layer.settings, f"{file}: layer {i}")
    except (OSError, ValueError) as error:
        raise ModelError(f"darknet_to_onnx: weights_path {os.fspath(path)!r} cannot be read: {error}") from error


def weights_bytes(convolutions: Iterable[RawConvolution], num_images: int = 0) -> bytes:
    """Return the content of a .weights file of version 0.2.

    Args:
        convolutions: In the cfg's order.
        num_images: How many pictures the network was trained on; it stands in the header.
    """
    numbers = [np.ascontiguousarray(a, "<f4").tobytes() for raw in convolutions for a in raw.in_file_order]
    return struct.pack("<3iq", 0, 2, 0, num_images) + b"".join(numbers)


def _check_size(file: Path, stream: BinaryIO, wanted: int) -> None:
    size = os.fstat(stream.fileno()).st_size
    head = stream.read(12)
    if len(head) < 12:
        raise ModelError(f"darknet_to_onnx: {file} must begin with a header of 16 or 20 bytes, got {size} bytes")
    major, minor, _ = struct.unpack("<3i", head)
    if not (0 <= major < 1000 and 0 <= minor < 1000):
        raise ModelError(f"darknet_to_onnx: {file} must be darknet weights, got version {major}.{minor} in its header")
    # number of images seen: 64 bits since version 0.2
    stream.read(8 if major * 10 + minor >= 2 else 4)
    found = size - stream.tell()
    if found != 4 * wanted:
        extra = f" and {found % 4} bytes" if found % 4 else ""
        raise ModelError(
            f"darknet_to_onnx: {file} must hold the {wanted} floats that the cfg describes, got {found // 4}{extra}; "
            "is it the weights file of this cfg?"
        )


def _read_convolution(stream: BinaryIO, conv: Convolution, what: str) -> RawConvolution:
    data = stream.read(4 * conv.num_floats)
    if len(data) != 4 * conv.num_floats:
        raise ModelError(f"darknet_to_onnx: {what} must hold {conv.num_floats} floats, got {len(data) // 4}")
    numbers = np.frombuffer(data, "<f4")
    if not np.isfinite(numbers).all():
        raise ModelError(f"darknet_to_onnx: {what} must hold finite numbers, got NaN or infinity")
    n = conv.filters
    biases, weights = numbers[:n], numbers[-int(np.prod(conv.weight_shape)) :].reshape(conv.weight_shape)
    biases, weights = biases.astype(np.float32), weights.astype(np.float32)
    if not conv.batch_normalize:
        return RawConvolution(biases, weights)
    scales, means, variances = numbers[n : 4 * n].astype(np.float32).reshape(3, n)
    if (variances < 0).any():
        raise ModelError(f"darknet_to_onnx: {what} must have variances of 0 or more, got {variances.min():g}")
    return RawConvolution(biases, weights, scales, means, variances)


def _fold(raw: RawConvolution, what: str) -> tuple[np.ndarray, np.ndarray]:
    if raw.scales is None or raw.means is None or raw.variances is None:
        return raw.weights, raw.biases
    gains = raw.scales.astype(np.float64) / np.sqrt(raw.variances.astype(np.float64) + EPSILON)
    with np.errstate(over="ignore"):
        folded = (raw.weights * gains[:, None, None, None]).astype(np.float32)
        shifts = (raw.biases - raw.means.astype(np.float64) * gains).astype(np.float32)
    if not (np.isfinite(folded).all() and np.isfinite(shifts).all()):
        raise ModelError(f"darknet_to_onnx: {what} must hold weights in the range of float32, got larger ones")
    return folded, shifts
