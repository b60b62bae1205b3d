"""Proof that an exported file gives its network's numbers: both are run, and what differs by more than rounding is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from yolokkn.errors import ModelError
from yolokkn.models import Deployable
from yolokkn.models.finished import BestClassTable
from yolokkn.runtime.backends.onnxruntime import OnnxRuntimeBackend
from yolokkn.runtime.load import load

TOLERANCE = 1e-4  # of a channel's largest value, or of 1: what the order of float32 sums can explain
INPUT = "images"

Trace = Callable[[nn.Module, torch.Tensor], bytes]
"""Turns a module and an example of its input into an ONNX file, batch and size free as in the file that is verified."""


def verify_export(
    content: bytes, deployable: Deployable, trace: Trace, sizes: list[tuple[int, int]], counts: list[int]
) -> dict[str, float]:
    """Run a file beside its network.

    Tables of finished boxes cannot be compared number by number, for a rounding may turn the order of two boxes: there the
    decoded head is compared, the table is compared on crowded boxes, and then the file with the one behind the other.

    Args:
        content: The ONNX file.
        deployable: What it was traced from.
        trace: How.
        sizes: Heights and widths to run at.
        counts: Numbers of pictures to run.

    Returns:
        The largest difference by output (of the decoded head, for tables).

    Raises:
        ModelError: They differ by more than the order of sums explains, or the file is read as another layout.
    """
    backend = OnnxRuntimeBackend(content, threads=1)
    body = deployable.without_finish()
    plain = (
        backend if body is deployable else OnnxRuntimeBackend(trace(body, pictures(counts[-1], sizes[0])), threads=1)
    )
    differences = dict.fromkeys(body.output_names, 0.0)
    for hw in sizes:
        for count in counts:
            images = pictures(count, hw)
            wanted, got = run(body, images), _run_file(plain, images)
            for name, difference in largest(wanted, got).items():
                differences[name] = max(differences[name], difference)
                if not _agree(wanted[name], got[name]):
                    raise ModelError(
                        f"export_onnx: output {name} must equal the network's within {TOLERANCE:g} of each channel's largest "
                        f"value, got a difference of {difference:.2g} for {count} pictures of {hw[0]} x {hw[1]}"
                    )
            if deployable.finish is not None:
                _compare_tables(deployable, got["detections"], _run_file(backend, images))
    if deployable.finish is not None:
        _verify_table(deployable, trace, counts[-1])
    found = load(content, threads=1).layout.name
    if found != deployable.layout:
        raise ModelError(f"export_onnx: the file must be read as layout {deployable.layout}, got {found}")
    return differences


def run(deployable: Deployable, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Run the network: every output by name."""
    with torch.inference_mode():
        return {n: v.numpy() for n, v in zip(deployable.output_names, deployable(images), strict=True)}


def _run_file(backend: OnnxRuntimeBackend, images: torch.Tensor) -> dict[str, np.ndarray]:
    try:
        return backend.run({INPUT: images.numpy()})
    except Exception as error:
        sides = " x ".join(str(n) for n in images.shape[2:])
        raise ModelError(
            f"export_onnx: the file does not run on {len(images)} pictures of {sides}: {str(error).strip()[:300]}"
        ) from error


def pictures(count: int, size: tuple[int, int]) -> torch.Tensor:
    """Return (count, 3, height, width) of noise, the same each time."""
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0))


def largest(wanted: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the largest absolute difference of each output; infinite where shapes differ or a value is NaN."""
    found = {}
    for name, value in wanted.items():
        other = got[name]
        difference = np.abs(value - other).max(initial=0) if value.shape == other.shape else np.inf
        found[name] = float(np.nan_to_num(difference, nan=np.inf))
    return found


def _agree(wanted: np.ndarray, got: np.ndarray) -> bool:
    """Compare channel by channel: scores must agree better than boxes in pixels."""
    if wanted.shape != got.shape:
        return False
    others = tuple(i for i in range(wanted.ndim) if i != 1)
    scale = np.maximum(np.abs(wanted).max(others, keepdims=True, initial=0), 1)
    return bool((np.abs(wanted - got) <= TOLERANCE * scale).all())


def _verify_table(deployable: Deployable, trace: Trace, count: int) -> None:
    """Compare the table alone on boxes that cover each other, with scores on both sides of every threshold."""
    table = deployable.finish
    if table is None:
        return
    generator = torch.Generator().manual_seed(1)
    num_scores, num_anchors = deployable.head.num_classes, 500
    centres = torch.randint(1, 5, (count, 2, num_anchors), generator=generator) * 50.0
    centres = centres + torch.randn(centres.shape, generator=generator) * 4
    sides = 20 + 30 * torch.rand(count, 2, num_anchors, generator=generator)
    rest = torch.rand(count, num_scores + deployable.head.num_extras, num_anchors, generator=generator)
    decoded = torch.cat((centres, sides, rest), 1)
    backend = OnnxRuntimeBackend(trace(table, decoded), threads=1)
    _compare_tables(deployable, decoded.numpy(), _run_file(backend, decoded), may_tie=False)


def _compare_tables(
    deployable: Deployable, decoded: np.ndarray, got: Mapping[str, np.ndarray], may_tie: bool = True
) -> None:
    """Hold a file's tables against those that `finish` makes of a decoded head; classes may tie on noise."""
    table = deployable.finish
    if table is None:
        return
    with torch.inference_mode():
        wanted = table(torch.from_numpy(decoded))
    given = [got[name] for name in deployable.output_names if name != "prototypes"]
    for one, other in zip(_detections(list(wanted)), _detections(given), strict=True):
        if isinstance(table, BestClassTable):
            same = one.shape == other.shape and np.allclose(one[:, :5], other[:, :5], rtol=TOLERANCE, atol=TOLERANCE)
            same = same and (may_tie or np.array_equal(one[:, 5], other[:, 5]))
            lost = 0 if same else len(one)
        else:
            lost = _unmatched(one, other, deployable.suppression.score_threshold)
        if lost:
            raise ModelError(
                f"export_onnx: the tables of layout {deployable.export_layout} must hold the network's detections, got "
                f"{lost} others of {len(one)}"
            )


def _detections(tables: list[np.ndarray] | list[torch.Tensor]) -> list[np.ndarray]:
    """Return (N, 6 + extras) rows for each picture, of one table or of EfficientNMS's four."""
    arrays = [np.asarray(table) for table in tables]
    joined = arrays[0] if len(arrays) == 1 else np.dstack(arrays[1:]).astype(np.float32)
    return [rows[rows[:, 4] > 0] for rows in joined]


def _unmatched(wanted: np.ndarray, got: np.ndarray, threshold: float) -> int:
    """Count rows of either side that the other lacks; those whose score lies at the threshold may be on one side alone."""
    free: np.ndarray = np.ones(len(got), bool)
    lost = 0
    for row in wanted:
        near = np.abs(got - row) <= TOLERANCE * np.maximum(np.abs(row), 1)
        place = np.flatnonzero(near.all(1) & free)[:1]
        free[place] = False
        lost += int(not place.size and row[4] > threshold + TOLERANCE)
    return lost + int((free & (got[:, 4] > threshold + TOLERANCE)).sum())
