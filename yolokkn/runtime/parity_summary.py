"""What a comparison over several pictures says: how many agree, what survives of the detections, and whether that is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from yolokkn.runtime.agreement import Agreement, sum_agreements
from yolokkn.runtime.parity_report import STAGES, PictureParity, plural
from yolokkn.runtime.tolerances import TOLERANCES, TOTAL_SPARE_SCORE

_SPARE_TURNS = 2
_FEW = 3  # of fewer detections nothing can be said in int8
_ENOUGH = 50  # detections of the reference, for a judgement over all pictures
_ADVICE = (
    "int8 wants a calibration on pictures prepared as the model takes them, and float32 for last layers and depthwise "
    "convolutions: yolokkn quantize does so"
)


@dataclass(frozen=True)
class ColumnSummary:
    """One backend over all pictures.

    Attributes:
        name: The backend's.
        num_pictures: How many there are.
        num_agree: How many of them agree.
        first_stages: At which stage the others differ first, and how many.
        agreement: Of all pictures together.
        shortfalls: Why all together are not enough, for people; empty where they are.
        num_unsure: How many of those that agree lose most detections, with scores near the threshold.
        doubt: Why int8 cannot be judged by these pictures, for people; "" where it can.
    """

    name: str
    num_pictures: int
    num_agree: int
    first_stages: dict[str, int]
    agreement: Agreement
    shortfalls: tuple[str, ...]
    num_unsure: int = 0
    doubt: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every picture agrees, and all of them together, and that is enough to say so."""
        return not self.differs and not self.doubt

    @property
    def differs(self) -> bool:
        """Whether a picture differs, or all of them together."""
        return self.num_agree < self.num_pictures or bool(self.shortfalls)

    def numbers(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "backend": self.name,
            "agrees": None if self.doubt and not self.differs else self.agrees,
            "doubt": self.doubt,
            "num_unsure": self.num_unsure,
            "num_pictures": self.num_pictures,
            "num_agree": self.num_agree,
            "first_stages": self.first_stages,
            "shortfalls": list(self.shortfalls),
            **self.agreement.numbers(),
        }


def summarize(results: Sequence[PictureParity]) -> tuple[ColumnSummary, ...]:
    """Sum a comparison up, backend by backend.

    Args:
        results: Of one model, a picture each; one at least.
    """
    return tuple(_summarize(results, place) for place in range(len(results[0].columns)))


def _summarize(results: Sequence[PictureParity], place: int) -> ColumnSummary:
    columns = [result.columns[place] for result in results]
    firsts = Counter(c.first_difference.stage for c in columns if c.first_difference is not None)
    together = sum_agreements(c.agreement for c in columns if c.agreement is not None)
    num_agree = sum(c.agrees for c in columns)
    stages = {stage: firsts[stage] for stage in STAGES if firsts[stage]}
    shortfalls = _shortfalls(together, results[0].precision)
    doubt = _doubt(together) if results[0].precision == "int8" else ""
    num_unsure = sum(c.is_unsure for c in columns)
    return ColumnSummary(columns[0].name, len(columns), num_agree, stages, together, shortfalls, num_unsure, doubt)


def _doubt(together: Agreement) -> str:
    """Say why a file in int8 that does not differ cannot be said to agree."""
    count, kept = together.num_reference, together.num_kept
    if count < _FEW:
        return f"{plural(count, 'detection')} are too few to judge int8 by" if count != 1 else "1 detection is too few"
    return f"most detections are lost, {kept} of {count} are kept" if 2 * kept < count else ""


def _shortfalls(together: Agreement, precision: str) -> tuple[str, ...]:
    tolerance, found = TOLERANCES[precision], []
    if together.num_reference < _ENOUGH:
        return ()
    if not together.is_enough(tolerance.all_unshared, TOTAL_SPARE_SCORE):
        least = 1 - tolerance.all_unshared
        found.append(f"{together.share:.1%} of the scores are shared, {least:.1%} at least are wanted")
    allowed = ceil(tolerance.all_turned * together.num_ordered) + _SPARE_TURNS
    if together.num_turned > allowed:
        found.append(f"{plural(together.num_turned, 'couple')} of detections in another order, {allowed} are allowed")
    return tuple(found)


def summary_table(results: Sequence[PictureParity]) -> str:
    """Return the summary for people: one row a quantity, one column a backend, and what it means in the last lines."""
    summaries = summarize(results)
    first, count = results[0], summaries[0].agreement.num_reference
    rows = [("", *(s.name for s in summaries))]
    if len(results) > 1:
        rows.append(("pictures that agree", *(f"{s.num_agree} of {s.num_pictures}" for s in summaries)))
        if any(s.num_unsure for s in summaries):
            rows.append(("of them, unsure", *(str(s.num_unsure) for s in summaries)))
        if any(s.first_stages for s in summaries):
            rows.append(("first difference", *(_stages(s) for s in summaries)))
    if count or any(s.agreement.num_found for s in summaries):
        rows += [(label, *(text(s.agreement) for s in summaries)) for label, text in _ROWS.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(f"{text:<{n}}" for text, n in zip(row, widths, strict=True)).rstrip() for row in rows]
    said = f"{plural(count, 'detection')} with scores above {first.asked_threshold:g} by {first.reference}"
    if len(results) == 1:
        head, verdict = said, _doubts(summaries) + _advice(summaries, first)
    else:
        head, verdict = f"{plural(len(results), 'picture')}, {said}", _verdict(summaries, first)
    return "\n".join([head, *(lines if len(rows) > 1 else []), *verdict])


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.1%})" if whole else "")


def _shift(agreement: Agreement) -> str:
    numbers = agreement.numbers()
    return f"{numbers['shift_median']:+.2g}, of 95% within {numbers['shift_95']:.2g}" if agreement.shifts else "-"


_ROWS = {
    "kept, class and IoU 0.5": lambda a: _share(a.num_kept, a.num_reference),
    "kept, class and IoU 0.75": lambda a: _share(a.num_kept_tightly, a.num_reference),
    "found besides": lambda a: _share(a.num_found - a.num_kept, a.num_found),
    "score, median change": _shift,
    "couples in another order": lambda a: _share(a.num_turned, a.num_ordered),
    "scores shared": lambda a: f"{a.share:.1%}",
}


def _stages(summary: ColumnSummary) -> str:
    return ", ".join(f"{stage} {count}" for stage, count in summary.first_stages.items()) or "-"


def _verdict(summaries: Sequence[ColumnSummary], result: PictureParity) -> list[str]:
    lines = []
    for summary in summaries:
        reasons = list(summary.shortfalls)
        if summary.num_agree < summary.num_pictures:
            reasons.insert(
                0, f"on {summary.num_pictures - summary.num_agree} of {plural(summary.num_pictures, 'picture')}"
            )
        if reasons:
            lines.append(f"{summary.name} DIFFERS from {result.reference}: {'; '.join(reasons)}")
    lines += _doubts(summaries)
    if lines:
        return lines + _advice(summaries, result)
    names = " and ".join(s.name for s in summaries)
    each = "agrees" if len(summaries) == 1 else "agree"
    where = "on each and over all of them"
    few = ""
    if summaries[0].agreement.num_reference < _ENOUGH:
        where, few = "on each of them", f"; over all, {_ENOUGH} detections at least would say more"
    return [f"{names} {each} with {result.reference} {where}, within the tolerances of {result.precision}{few}"]


def _doubts(summaries: Sequence[ColumnSummary]) -> list[str]:
    """Return a line for each backend that neither differs nor can be said to agree."""
    return [
        f"{s.name} was NOT judged: {s.doubt}; give more pictures with objects: 100 of the kind that the model is for"
        for s in summaries
        if s.doubt and not s.differs
    ]


def _advice(summaries: Sequence[ColumnSummary], result: PictureParity) -> list[str]:
    return [_ADVICE] if result.precision == "int8" and any(s.differs for s in summaries) else []
