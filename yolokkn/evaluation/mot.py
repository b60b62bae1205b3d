"""Multi-object tracking: HOTA, CLEAR MOT and identity metrics of a tracker's results, by MOTChallenge's rules.

Equal to TrackEval in every figure, but for sequences without truth or without results, of which it leaves most of CLEAR's
figures at 0. A sequence is a few array operations instead of a loop over its frames.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yolokkn.evaluation.mot_clear import Clear, join_clear, measure_clear
from yolokkn.evaluation.mot_hota import ALPHAS, Hota, join_hota, measure_hota
from yolokkn.evaluation.mot_identity import Identity, join_identity, measure_identity
from yolokkn.evaluation.mot_matches import SequenceMatches
from yolokkn.evaluation.mot_tables import (
    RULES,
    MotTable,
    apply_rules,
    find_results,
    find_sequences,
    read_table,
    refuse_frames_beyond,
    sequence_length,
)

__all__ = ["ALPHAS", "RULES", "MotFigures", "MotMetrics", "MotTable", "evaluate_mot", "measure_sequence", "read_table"]

_COLUMNS = (
    "HOTA",
    "DetA",
    "AssA",
    "LocA",
    "MOTA",
    "IDF1",
    "IDP",
    "IDR",
    "IDSW",
    "Frag",
    "MT",
    "ML",
    "CLR_FP",
    "CLR_FN",
)
_COUNTS = ("IDSW", "Frag", "MT", "PT", "ML", "CLR_TP", "CLR_FP", "CLR_FN", "IDTP", "IDFN", "IDFP")


@dataclass(frozen=True)
class MotFigures:
    """What was measured of a sequence, or of several together.

    Attributes:
        hota: Its parts at each threshold.
        clear: The counts of CLEAR MOT.
        identity: The counts of the identity metrics.
        num_truths: Boxes of the ground truth.
        num_results: Boxes of the results.
    """

    hota: Hota
    clear: Clear
    identity: Identity
    num_truths: int
    num_results: int

    def figures(self) -> dict[str, float]:
        """Return every metric under its usual name; shares from 0 to 1, counts as numbers."""
        return {**self.hota.figures(), **self.clear.figures(), **self.identity.figures()}

    @classmethod
    def join(cls, parts: Sequence[MotFigures]) -> MotFigures:
        """Return the figures of several sequences together."""
        return cls(
            join_hota([p.hota for p in parts]),
            join_clear([p.clear for p in parts]),
            join_identity([p.identity for p in parts]),
            sum(p.num_truths for p in parts),
            sum(p.num_results for p in parts),
        )


@dataclass(frozen=True)
class MotMetrics:
    """The figures of each sequence and of all together."""

    sequences: dict[str, MotFigures]
    combined: MotFigures

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, fit for JSON; HOTA's parts also by threshold."""
        rows = {**self.sequences, "COMBINED": self.combined}
        return {
            "alphas": [round(float(a), 2) for a in ALPHAS],
            "sequences": {name: _plain(row) for name, row in rows.items()},
        }

    def table(self) -> str:
        """Return a table: a line for each sequence and one for all; shares in percent."""
        rows = {**self.sequences, "COMBINED": self.combined} if len(self.sequences) > 1 else self.sequences
        width = max(map(len, (*rows, "sequence")))
        lines = ["sequence".ljust(width) + "".join(f"{name.removeprefix('CLR_'):>8}" for name in _COLUMNS)]
        for name, row in rows.items():
            figures = row.figures()
            cells = (f"{figures[c]:8.0f}" if c in _COUNTS else f"{100 * figures[c]:8.2f}" for c in _COLUMNS)
            lines.append(name.ljust(width) + "".join(cells))
        return "\n".join(lines)


def measure_sequence(truth: MotTable, results: MotTable, *, rules: str = "mot17", num_frames: int = 0) -> MotFigures:
    """Compare the results of one sequence with its ground truth.

    Args:
        truth: As `read_table` gives it.
        results: As `read_table` gives it.
        rules: One of `RULES`: which classes count, and which may be found without being false.
        num_frames: Length of the sequence; by default up to the last box.
    """
    last = max((int(t.frames[-1]) for t in (truth, results) if len(t)), default=0)
    truth, results = apply_rules(truth, results, rules)
    matches = SequenceMatches.of(truth, results)
    return MotFigures(
        measure_hota(matches),
        measure_clear(matches, num_frames or last),
        measure_identity(matches),
        len(truth),
        len(results),
    )


def evaluate_mot(truth: str | os.PathLike[str], results: str | os.PathLike[str], *, rules: str = "mot17") -> MotMetrics:
    """Measure a tracker's results on a folder of sequences.

    Args:
        truth: A folder of SEQUENCE/gt/gt.txt (with seqinfo.ini beside `gt`, where there is one) or of SEQUENCE.txt; or
            one sequence's folder or file.
        results: A folder of SEQUENCE.txt, or with a folder `data` of them; or one file, for one sequence.
        rules: One of `RULES`.

    Raises:
        FileNotFoundError: There is no ground truth, or a sequence has no results.
        DataError: A file is malformed.
        ValueError: There are no such rules.

    Example:
        >>> evaluate_mot("MOT17/train", "results/").table()  # doctest: +SKIP
    """
    truths = find_sequences(truth)
    found = find_results(results, list(truths))
    rows = {}
    for name, path in truths.items():
        length = sequence_length(path)
        tables = (read_table(path, is_truth=True), read_table(found[name]))
        for table, source in zip(tables, (path, found[name]), strict=True):
            refuse_frames_beyond(table, length, source)
        rows[name] = measure_sequence(*tables, rules=rules, num_frames=length)
    return MotMetrics(rows, MotFigures.join(list(rows.values())))


def _plain(row: MotFigures) -> dict[str, Any]:
    hota = row.hota
    curves = {
        "HOTA": hota.hota, "DetA": hota.det_a, "AssA": hota.ass_a, "DetRe": hota.det_re, "DetPr": hota.det_pr,
        "AssRe": hota.ass_re, "AssPr": hota.ass_pr, "LocA": hota.loc_a,
    }  # fmt: skip
    by_alpha = {name: [float(v) for v in curve] for name, curve in curves.items()}
    return {**row.figures(), "boxes": row.num_truths, "found": row.num_results, "by_alpha": by_alpha}
