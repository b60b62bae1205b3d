"""What a comparison of models says: stages, backends, one table a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from yolokkn.runtime.agreement import Agreement
from yolokkn.runtime.differences import ArrayDifference, DetectionsDifference

STAGES = ("preprocess", "network", "decode", "nms", "masks", "keypoints", "detections")


@dataclass(frozen=True)
class StageResult:
    """What one stage of one backend gave.

    Attributes:
        stage: One of `STAGES`.
        agrees: None where the stage does not exist or cannot be compared.
        text: A few words for a table.
        detail: One line: what differs, where, by how much.
        numbers: The same as plain values.
    """

    stage: str
    agrees: bool | None
    text: str
    detail: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnResult:
    """What one backend gave, stage by stage, and how much of the reference's findings it shares.

    Attributes:
        name: The backend's.
        stages: One each of `STAGES`.
        agreement: None where it does not run.
    """

    name: str
    stages: tuple[StageResult, ...]
    agreement: Agreement | None = None

    @property
    def agrees(self) -> bool:
        """Whether no stage differs beyond the tolerances."""
        return self.first_difference is None

    @property
    def is_unsure(self) -> bool:
        """Whether no stage differs, but most detections have no partner: their scores lie near the threshold."""
        return self.agrees and any(s.agrees is None and s.detail for s in self.stages)

    @property
    def first_difference(self) -> StageResult | None:
        """The first stage that differs beyond the tolerances."""
        return next((s for s in self.stages if s.agrees is False), None)


@dataclass(frozen=True)
class PictureParity:
    """The comparison over one picture.

    Attributes:
        picture: Its name.
        image_hw: Its height and width.
        reference: What the reference is, in words.
        precision: Whose tolerances hold.
        asked_threshold: The score that detections were to have.
        score_threshold: The score from which on they were compared: lower where there would have been too few.
        num_detections: So many the reference has.
        columns: One a backend.
    """

    picture: str
    image_hw: tuple[int, int]
    reference: str
    precision: str
    asked_threshold: float
    score_threshold: float
    num_detections: int
    columns: tuple[ColumnResult, ...]

    @property
    def is_unsure(self) -> bool:
        """Whether some backend does not differ, but loses too much to say that it agrees."""
        return any(column.is_unsure for column in self.columns)

    @property
    def agrees(self) -> bool:
        """Whether no backend differs from the reference."""
        return all(column.agrees for column in self.columns)

    def numbers(self) -> dict[str, Any]:
        """Return the comparison as plain values, for JSON."""
        return {
            "picture": self.picture,
            "image_hw": list(self.image_hw),
            "reference": self.reference,
            "precision": self.precision,
            "asked_threshold": self.asked_threshold,
            "score_threshold": self.score_threshold,
            "num_detections": self.num_detections,
            "agrees": self.agrees,
            "backends": [
                {
                    "backend": column.name,
                    "agrees": None if column.is_unsure else column.agrees,
                    "first_difference": None if column.first_difference is None else column.first_difference.stage,
                    "stages": [
                        {"stage": s.stage, "agrees": s.agrees, "says": s.detail or s.text, "numbers": dict(s.numbers)}
                        for s in column.stages
                    ],
                }
                for column in self.columns
            ],
        }


def as_table(result: PictureParity) -> str:
    """Return the comparison for people: one row a stage, one column a backend, and what it means in the last lines."""
    h, w = result.image_hw
    rows = [["stage", *(c.name for c in result.columns)]]
    for number, stage in enumerate(STAGES):
        cells = [column.stages[number] for column in result.columns]
        if any(cell.agrees is not None or cell.detail for cell in cells):
            rows.append([stage, *(_cell(cell) for cell in cells)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    count = result.num_detections
    lowered = f" (lowered from {result.asked_threshold:g})" if result.score_threshold < result.asked_threshold else ""
    lines = [
        f"{result.picture}, {w} x {h}: {plural(count, 'detection')} with scores above {result.score_threshold:g}{lowered}",
        *("  ".join(f"{text:<{n}}" for text, n in zip(row, widths, strict=True)).rstrip() for row in rows),
        *verdict(result),
    ]
    return "\n".join(lines)


def as_line(result: PictureParity) -> str:
    """Return one line for a picture on which all agree."""
    h, w = result.image_hw
    count = plural(result.num_detections, "detection")
    word = "does not tell" if result.is_unsure else "ok"
    return f"{result.picture}, {w} x {h}: {word}, {count} with scores above {result.score_threshold:g}"


def verdict(result: PictureParity) -> list[str]:
    """Return what the comparison means, a line for each backend that differs, or one for all."""
    lines = [
        f"{column.name} DIFFERS, first at {first.stage}: {first.detail}"
        for column in result.columns
        if (first := column.first_difference) is not None
    ]
    lines += [
        f"{column.name}: this picture does not tell: most of the reference's detections have no partner, with scores near the "
        f"threshold: {column.stages[-1].detail}"
        for column in result.columns
        if column.is_unsure
    ]
    if lines:
        return lines
    names = " and ".join(column.name for column in result.columns)
    each = "agrees" if len(result.columns) == 1 else "agree"
    if result.precision == "int8":  # wide tolerances: all pictures together say whether that is enough
        what = "does not differ" if len(result.columns) == 1 else "do not differ"
        return [f"{names} {what} from {result.reference} beyond the tolerances of int8"]
    few = "" if result.num_detections else "; nothing was detected, so a picture with objects would say more"
    return [f"{names} {each} with {result.reference}, within the tolerances of {result.precision}{few}"]


def _cell(stage: StageResult) -> str:
    word = {True: "ok", False: "DIFFERS", None: "unsure" if stage.detail else ""}[stage.agrees]
    return f"{word} {stage.text}".strip()


def counted(compared: ArrayDifference, unit: str) -> str:
    """Say how many values of an array differ, by how much, and where."""
    unit = f" {unit}" if unit else ""
    if not compared.num_values:
        return "nothing to compare"
    at = f"largest difference {compared.largest:.3g}{unit}"
    if not compared.num_beyond:
        return f"{at} at {list(compared.where)}"
    return (
        f"{compared.num_beyond:,} of {compared.num_values:,} values beyond the tolerance, {at}; "
        f"furthest at {list(compared.where)}: {compared.found:.6g} against {compared.reference:.6g}"
    )


def matched(compared: DetectionsDifference) -> str:
    """Say how many detections have a partner, and how the pairs differ."""
    parts = [
        f"{compared.num_matched} of {compared.num_reference} matched",
        f"largest difference {compared.box_px:.3g} px of boxes, {compared.score:.3g} of scores",
    ]
    for count, what in (
        (compared.num_beyond, "beyond the tolerance"),
        (compared.num_missing, "missing"),
        (compared.num_extra, "too many"),
        (compared.num_at_threshold, "on one side of a threshold only"),
        (compared.num_class_changes, "of another class"),
        (compared.num_order_changes, "in another order"),
    ):
        parts += [f"{count} {what}"] if count else []
    return ", ".join(parts)


def plural(count: int, what: str) -> str:
    """Write a count and what is counted: 1 box, 3 boxes."""
    end = "es" if what.endswith("x") else "s"
    return f"{count:,} {what}" + ("" if count == 1 else end)


def sizes(shape: tuple[int, ...]) -> str:
    """Write sizes as people do: 3 x 416 x 416."""
    return " x ".join(str(n) for n in shape)


def outputs(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Write names and shapes of outputs."""
    return ", ".join(f"{name} ({sizes(shape)})" for name, shape in shapes.items())
