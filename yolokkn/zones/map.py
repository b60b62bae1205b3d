"""Zones and lines as a YAML file describes them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from yolokkn.configuration import build, read_yaml
from yolokkn.errors import ConfigurationError, did_you_mean

Anchor = Literal["bottom", "centre"]
Point = tuple[float, float]
_MOST_POINTS = 1000


@dataclass(frozen=True)
class Zone:
    """A polygon.

    Attributes:
        points: Its corners x, y, three or more; it closes itself. Where it crosses itself, what lies inside an even number of
            times lies outside.
        classes: Names or ids of the classes that count; None: all.
        anchor: Where a track is: "bottom" (the middle of its box's lower edge) or "centre".
    """

    points: tuple[Point, ...]
    classes: tuple[str | int, ...] | None = None
    anchor: Anchor = "bottom"

    def __post_init__(self) -> None:
        _check_points(self.points, 3, "a zone's points must be three or more")
        area = sum(
            a[0] * b[1] - a[1] * b[0] for a, b in zip(self.points, (*self.points[1:], self.points[0]), strict=True)
        )
        if area == 0 and len(set(self.points)) < 3:
            raise ValueError("a zone's points must not lie on one another")


@dataclass(frozen=True)
class Line:
    """A line from its first point to its second.

    Attributes:
        points: Both ends x, y.
        classes: Names or ids of the classes that count; None: all.
        anchor: Where a track is: "bottom" or "centre".
    """

    points: tuple[Point, Point]
    classes: tuple[str | int, ...] | None = None
    anchor: Anchor = "bottom"

    def __post_init__(self) -> None:
        _check_points(self.points, 2, "a line's points must be two")
        if self.points[0] == self.points[1]:
            raise ValueError("a line's points must differ")


@dataclass(frozen=True)
class ZoneMap:
    """Zones and lines of a view.

    Attributes:
        zones: By name.
        lines: By name.
        size: Width and height of the picture that the points were drawn on; frames of another size are scaled. None: points
            are pixels of the frame.
        margin: How far a track must go beyond a border for it to count, in the same pixels.
        forget_s: A track that is not seen for so many seconds has vanished.
    """

    zones: dict[str, Zone] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    margin: float = 4.0
    forget_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.zones and not self.lines:
            raise ValueError("zones or lines must be given")
        if both := set(self.zones) & set(self.lines):
            raise ValueError(f"a zone and a line must not both be named {min(both)!r}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be width and height in pixels, got {self.size}")
        if not self.margin >= 0:
            raise ValueError(f"margin must be 0 or more, got {self.margin}")
        if not self.forget_s > 0:
            raise ValueError(f"forget_s must be above 0, got {self.forget_s}")

    @property
    def places(self) -> dict[str, Zone | Line]:
        """Zones, then lines, by name."""
        return {**self.zones, **self.lines}

    def class_ids(self, class_names: tuple[str, ...]) -> dict[str, frozenset[int] | None]:
        """Return the class ids that count at each place; None: all.

        Raises:
            ConfigurationError: There is no such class.
        """
        found: dict[str, frozenset[int] | None] = {}
        for name, place in self.places.items():
            if place.classes is None:
                found[name] = None
                continue
            ids = set()
            for asked in place.classes:
                if isinstance(asked, str) and asked not in class_names:
                    hint = did_you_mean(asked, class_names)
                    raise ConfigurationError(f"zones: {name}: the model has no class {asked!r}{hint}")
                ids.add(class_names.index(asked) if isinstance(asked, str) else asked)
            found[name] = frozenset(ids)
        return found


def _check_points(points: tuple[Point, ...], least: int, text: str) -> None:
    if not least <= len(points) <= _MOST_POINTS:
        raise ValueError(f"{text}, got {len(points)}")
    if not all(math.isfinite(value) and abs(value) < 1e6 for point in points for value in point):
        raise ValueError("points must be pixels of a picture")


def read_zones(path: str | Path) -> ZoneMap:
    """Read zones and lines from a YAML file.

    Raises:
        ConfigurationError: The file is no such file, with the line where it is not.
        FileNotFoundError: There is none.

    Example:
        A file:

            size: [768, 576]
            zones:
              crossing: {points: [[300, 250], [500, 250], [520, 400], [280, 400]], classes: [person]}
            lines:
              door: {points: [[100, 500], [300, 500]]}
    """
    return build(ZoneMap, read_yaml(path), str(path))
