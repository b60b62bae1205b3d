"""What two networks give for one and the same input: every number, how their cells lie to each other, or their finished rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from yolokkn import ops
from yolokkn.layouts import DecodeOptions, Layout
from yolokkn.runtime.agreement import CellAgreement, agree_cells
from yolokkn.runtime.differences import compare_arrays, compare_detections
from yolokkn.runtime.parity_report import StageResult, counted, matched, outputs
from yolokkn.runtime.tolerances import SPARE_CELL_SCORE, Tolerance
from yolokkn.types import Detections

_ALL = 10**6  # rows or cells


@dataclass(frozen=True)
class NetworkRun:
    """What one network gave, and what that means.

    Attributes:
        layout: The meaning.
        raw: By output, one picture's, float32 (ids may be integers).
    """

    layout: Layout
    raw: dict[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by output."""
        return {name: value.shape for name, value in self.raw.items()}


def compare_networks(
    wanted: NetworkRun, found: NetworkRun, options: DecodeOptions, input_hw: tuple[int, int], tolerance: Tolerance
) -> StageResult:
    """Compare what two networks gave for the same input.

    Args:
        wanted: What is right.
        found: What came.
        options: Thresholds, for finished rows.
        input_hw: Height and width of the input.
        tolerance: What is noise.
    """
    if not wanted.layout.needs_nms and not found.layout.needs_nms:
        return _finished_rows(wanted, found, options, input_hw, tolerance)
    found = _renamed(wanted, found)
    if wanted.shapes == found.shapes:
        return _raw_values(wanted, found, options, input_hw, tolerance)
    said = f"outputs {outputs(found.shapes)} against {outputs(wanted.shapes)}"
    if type(wanted.layout) is type(found.layout):
        return StageResult("network", False, "other outputs", f"{said}: cells or classes are missing, or too many")
    return StageResult("network", None, "other outputs", f"{said}: see the detections")


def _renamed(wanted: NetworkRun, found: NetworkRun) -> NetworkRun:
    """Give outputs the reference's names where their shapes are the same, one by one: names are the exporter's matter."""
    if type(wanted.layout) is not type(found.layout) or list(wanted.shapes.values()) != list(found.shapes.values()):
        return found
    if set(wanted.raw) == set(found.raw):
        return found
    return NetworkRun(wanted.layout, dict(zip(wanted.raw, found.raw.values(), strict=True)))


def _raw_values(
    wanted: NetworkRun, found: NetworkRun, options: DecodeOptions, input_hw: tuple[int, int], tolerance: Tolerance
) -> StageResult:
    t = tolerance
    compared = {k: compare_arrays(v, found.raw[k], t.absolute, t.relative) for k, v in wanted.raw.items()}
    name, worst = max(compared.items(), key=lambda item: (item[1].share, item[1].largest))
    agrees = all(c.share <= t.share for c in compared.values())
    text = f"{worst.largest:.2g}" + (f", {worst.num_beyond:,} of {worst.num_values:,}" if worst.num_beyond else "")
    detail, numbers = f"output {name}: {counted(worst, '')}", {k: c.numbers() for k, c in compared.items()}
    if type(wanted.layout) is not type(found.layout):
        return StageResult("network", agrees, text, detail, numbers)
    cells = _compare_cells(wanted, found, options, input_hw)
    said = _cells_differ(cells, t)
    if t.share:  # where some values may differ, how many do says little
        text += f", r {cells.correlation:.3f}"
    if said:
        detail = f"{said}; {detail}" if agrees else f"{detail}; {said}"
    return StageResult("network", agrees and not said, text, detail, numbers | {"cells": asdict(cells)})


def _compare_cells(
    wanted: NetworkRun, found: NetworkRun, options: DecodeOptions, input_hw: tuple[int, int]
) -> CellAgreement:
    every = replace(options, score_threshold=0.0, max_candidates=_ALL, multi_label=False, classes=None)
    layout = replace(wanted.layout, kernels=ops)
    cells = [layout.decode(run.raw, 0, input_hw, every) for run in (wanted, found)]
    return agree_cells(cells[0], cells[1])


def _cells_differ(cells: CellAgreement, tolerance: Tolerance) -> str:
    """Say how the cells differ beyond the tolerance; nothing where they do not."""
    found = []
    if cells.total and 1 - cells.correlation > tolerance.cells:  # where nothing is seen, noise alone has an order
        least = 1 - tolerance.cells
        found.append(f"scores of cells correlate by {cells.correlation:.3f}, {least:g} at least are wanted")
    least = 1 - tolerance.unshared
    if cells.shared < least * cells.total - SPARE_CELL_SCORE:
        share = cells.shared / cells.total
        found.append(f"cells share {share:.0%} of their scores, {least:.0%} at least are wanted (same class, IoU 0.5)")
    return "; ".join(found)


def _finished_rows(
    wanted: NetworkRun, found: NetworkRun, options: DecodeOptions, input_hw: tuple[int, int], tolerance: Tolerance
) -> StageResult:
    """Compare finished boxes as a set: in which order a network lists rows of equal scores is noise."""
    every = replace(options, max_detections=_ALL)
    sides = []
    for run in (wanted, found):
        rows = run.layout.decode(run.raw, 0, input_hw, every)
        best_first = np.argsort(-rows.scores, kind="stable")
        sides.append(Detections(rows.boxes, rows.scores, rows.class_ids)[best_first])
    compared = compare_detections(
        sides[0],
        sides[1],
        tolerance,
        score_threshold=options.score_threshold,
        max_detections=options.max_detections,
    )
    text = f"{compared.num_matched} of {compared.num_reference} rows"
    return StageResult("network", compared.is_noise, text, matched(compared), compared.numbers())
